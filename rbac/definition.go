package rbac

import (
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// DefinitionType is the `type` of a role definition's properties.
type DefinitionType string

// The two kinds of role definitions.
const (
	BuiltInRole DefinitionType = "BuiltInRole"
	CustomRole  DefinitionType = "CustomRole"
)

// Permission is one permission set of a role. Its exclusions and its condition
// govern this set alone.
type Permission struct {
	Actions          []string `json:"actions"`
	NotActions       []string `json:"notActions"`
	DataActions      []string `json:"dataActions"`
	NotDataActions   []string `json:"notDataActions"`
	Condition        string   `json:"condition,omitempty"`
	ConditionVersion string   `json:"conditionVersion,omitempty"`
}

// Definition is a role.
type Definition struct {
	// ID is the role's GUID in lower case; its ARM id is made of a scope and it.
	ID          string
	Name        string
	Description string
	Type        DefinitionType
	Permissions []Permission
	// AssignableScopes are the scopes at or below which the role may be
	// assigned. The evaluator does not look at them: Azure checks them when an
	// assignment is made (see Definition.AssignableAt).
	AssignableScopes []string
}

// AssignableAt reports whether an assignment of the role may be made at scope.
func (d Definition) AssignableAt(scope string) bool {
	return slices.ContainsFunc(d.AssignableScopes, func(s string) bool { return ScopeContains(s, scope) })
}

// clone copies d so that neither side can change the other's lists, and makes
// every list non-nil, for clients expect `[]` and never `null`.
func (d Definition) clone() Definition {
	perms := make([]Permission, len(d.Permissions))
	for i, p := range d.Permissions {
		p.Actions = cloneList(p.Actions)
		p.NotActions = cloneList(p.NotActions)
		p.DataActions = cloneList(p.DataActions)
		p.NotDataActions = cloneList(p.NotDataActions)
		perms[i] = p
	}
	d.Permissions = perms
	d.AssignableScopes = cloneList(d.AssignableScopes)
	return d
}

func cloneList(in []string) []string {
	return append(make([]string, 0, len(in)), in...)
}

// Assignment gives a role to a principal at a scope.
type Assignment struct {
	// ID is the full ARM id of the assignment.
	ID string
	// RoleDefinitionID is the role's GUID; a full ARM id is accepted too.
	RoleDefinitionID string
	// PrincipalID is the object id of a user, group or service principal.
	PrincipalID   string
	PrincipalType azure.PrincipalType
	Scope         string
	// Condition narrows the assignment; see the package comment for what of it
	// is evaluated.
	Condition        string
	ConditionVersion string
}

// RoleGUID reduces a role definition's ARM id, or its bare GUID, to the GUID in
// lower case.
func RoleGUID(id string) string {
	id = strings.TrimRight(id, "/")
	return strings.ToLower(id[strings.LastIndexByte(id, '/')+1:])
}
