package arm

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// Problem is the ARM error object, as stored with a failed operation and as
// served: {"error": Problem}.
type Problem struct {
	Code           string     `json:"code"`
	Message        string     `json:"message"`
	Target         string     `json:"target,omitempty"`
	Details        []Problem  `json:"details,omitempty"`
	AdditionalInfo []Document `json:"additionalInfo,omitempty"`
}

// ProblemOf is the public half of an error.
func ProblemOf(e *httpx.Error) Problem {
	p := Problem{Code: e.Code, Message: e.Message, Target: e.Target}
	for i := range e.Details {
		p.Details = append(p.Details, ProblemOf(&e.Details[i]))
	}
	return p
}

// encodeError writes the ARM envelope. It sends no Retry-After: azure-core
// would retry any status that carries one.
func encodeError(w http.ResponseWriter, _ *http.Request, e *httpx.Error) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("x-ms-failure-cause", "gateway")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]Problem{"error": ProblemOf(e)})
}

// BadRequest is a 400 with a code of the provider's.
func BadRequest(code, format string, args ...any) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, code, format, args...)
}

// Conflict is a 409 with a code of the provider's.
func Conflict(code, format string, args ...any) *httpx.Error {
	return httpx.Errorf(http.StatusConflict, code, format, args...)
}

// NotFound is ARM's 404 for a resource that does not exist.
func NotFound(id azure.ResourceID) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ResourceNotFound",
		"The Resource '%s/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
		id.Type(), id.Name(), id.ResourceGroup())
}

// ParentNotFound is ARM's 404 for a child whose parent does not exist.
func ParentNotFound(parent azure.ResourceID) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ParentResourceNotFound",
		"Failed to perform 'write' on resource(s) of type '%s', because the parent resource '%s' could not be found.",
		parent.Type(), parent)
}

func errSubscriptionNotFound(id string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", id)
}

func errGroupNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
}

func errGroupDeleting(name string) *httpx.Error {
	return Conflict("ResourceGroupBeingDeleted",
		"The resource group '%s' is in deprovisioning state and cannot perform this operation.", name)
}

// LocationConflict is ARM's 409 for a PUT that would move a resource.
func LocationConflict(id azure.ResourceID, have, want string) *httpx.Error {
	return Conflict("InvalidResourceLocation",
		"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
		id.Name(), have, id.ResourceGroup(), want)
}

// LocationRequired is ARM's 400 for a tracked resource without a location.
func LocationRequired() *httpx.Error {
	return BadRequest("LocationRequired", "The location property is required for this definition.")
}

func errFilter(filter, reason string) *httpx.Error {
	return BadRequest("InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string. %s.", filter, reason)
}

func errUnknownNamespace(ns string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "InvalidResourceNamespace",
		"The resource namespace '%s' is invalid.", ns)
}

func errUnknownType(typeName, version string) *httpx.Error {
	ns, rest, _ := strings.Cut(typeName, "/")
	return httpx.Errorf(http.StatusNotFound, "InvalidResourceType",
		"The resource type '%s' could not be found in the namespace '%s' for api version '%s'. amlocal does not emulate it.", rest, ns, version)
}

func errMethod(method, typeName string) *httpx.Error {
	return httpx.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed",
		"The HTTP method '%s' is not supported for the resource type '%s'.", method, typeName)
}

func errBadPath(escaped string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "InvalidRequestUri", "The request path '%s' is not a resource id.", escaped)
}

func errNoVersion() *httpx.Error {
	return BadRequest("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
}

func errBody(err error) *httpx.Error {
	return BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: '%s'", err).Because(err)
}

// errDenied is the sentence every Azure client shows for a missing role.
// Azure names service principals by their application id.
func errDenied(_ *http.Request, d azure.Decision) error {
	name := d.Principal.Name
	if d.Principal.AppID != "" {
		name = d.Principal.AppID
	}
	return httpx.Errorf(http.StatusForbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		name, d.Principal.ObjectID, d.Check.Action, d.Check.Scope)
}

func errUnauthenticated(tenant, code, message string) *httpx.Error {
	e := httpx.Errorf(http.StatusUnauthorized, code, "%s", message)
	e.Header = http.Header{"Www-Authenticate": {
		`Bearer authorization_uri="https://login.windows.net/` + tenant + `", error="invalid_token", error_description="` + message + `"`}}
	return e
}
