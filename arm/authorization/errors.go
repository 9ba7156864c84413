package authorization

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// bare is a GUID as these messages spell it: without dashes.
func bare(guid string) string { return strings.ReplaceAll(guid, "-", "") }

func errAssignmentName(name string) *httpx.Error {
	return arm.BadRequest("InvalidRoleAssignmentId",
		"The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", name)
}

func errAssignmentBody(name, missing string) *httpx.Error { // code unverified
	return arm.BadRequest("InvalidCreateRoleAssignmentRequest",
		"The request to create role assignment '%s' is not valid. Role assignment creation requires %s.", name, missing)
}

func errPrincipalID(id string) *httpx.Error {
	return arm.BadRequest("InvalidPrincipalId", "The Principal ID '%s' is not valid. Principal ID must be a GUID.", id)
}

func errPrincipalType(word string) *httpx.Error { // unverified
	return arm.BadRequest("InvalidPrincipalType",
		"The principal type '%s' is not valid. Use User, Group, ServicePrincipal, ForeignGroup or Device.", word)
}

func errPrincipalNotFound(objectID, tenant string) *httpx.Error {
	return arm.BadRequest("PrincipalNotFound",
		"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
		bare(objectID), tenant)
}

// The misspelling is Azure's.
func errUnmatchedType(p azure.Principal, asked string) *httpx.Error {
	return arm.BadRequest("UnmatchedPrincipalType",
		"The PrincipalId '%s' has type '%s' , which is different from specified PrinciaplType '%s'.", bare(p.ObjectID), p.Type, asked)
}

func errAssignmentExists(id string) *httpx.Error {
	return arm.Conflict("RoleAssignmentExists",
		"The role assignment already exists. The ID of the conflicting role assignment is %s.", bare(id[strings.LastIndexByte(id, '/')+1:]))
}

func errAssignmentLimit(n int) *httpx.Error {
	return arm.BadRequest("RoleAssignmentLimitExceeded", "No more role assignments can be created: the subscription has %d, the most it can have.", n)
}

func errAssignmentUpdate() *httpx.Error {
	return arm.BadRequest("RoleAssignmentUpdateNotPermitted",
		"Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
}

func errAssignmentNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", name)
}

func errNotAssignable(role, scope string) *httpx.Error { // code unverified
	return arm.BadRequest("RoleDefinitionNotAssignableAtScope",
		"The role definition '%s' cannot be assigned at the scope '%s': the scope is not at or below one of the role's assignable scopes.", role, scope)
}

func errCondition(reason string) *httpx.Error {
	return arm.BadRequest("InvalidCondition", "The role assignment condition is not supported by amlocal: %s.", reason)
}

func errDefinitionMissing(id string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "RoleDefinitionDoesNotExist",
		"The specified role definition with ID '%s' does not exist.", id)
}

func errDefinitionID(id string) *httpx.Error { // unverified
	return arm.BadRequest("InvalidRoleDefinitionId",
		"The role definition ID '%s' is not valid. The role definition ID must be a GUID.", id)
}

func errDefinitionBody(format string, args ...any) *httpx.Error { // unverified
	return arm.BadRequest("InvalidRoleDefinition", format, args...)
}

func errAssignableScope(scope, reason string) *httpx.Error { // unverified
	return arm.BadRequest("InvalidAssignableScope", "The assignable scope '%s' is not valid: %s.", scope, reason)
}

func errDefinitionNameTaken(name string) *httpx.Error {
	return arm.Conflict("RoleDefinitionWithSameNameExists",
		"A custom role with the same name '%s' already exists in this directory. Use a different name.", name)
}

func errBuiltInRole(name string) *httpx.Error { // unverified
	return arm.BadRequest("BuiltInRoleDefinitionUpdateNotPermitted", "The built-in role '%s' cannot be changed or deleted.", name)
}

func errDefinitionInUse() *httpx.Error {
	return arm.BadRequest("RoleDefinitionHasAssignments", "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)")
}
