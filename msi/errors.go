package msi

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/internal/httpx"
)

const invalidRequest = "invalid_request"

// plainText is the Error.Extra entry that replaces the JSON body.
const plainText = "text"

// errSecret is for a missing, wrong or another deployment's secret. The text
// of the strict form is the real one (a compute instance's, reported by users
// of the .NET SDK); its status 401 is inferred.
func (s *Service) errSecret(message string) *httpx.Error {
	e := httpx.Errorf(http.StatusUnauthorized, "invalid_client", "%s", message)
	if s.deps.Strict {
		e.Extra = map[string]string{plainText: "Invalid secret token header: ."}
	}
	return e
}

func errMethod(method string) *httpx.Error {
	e := httpx.Errorf(http.StatusMethodNotAllowed, "method_not_allowed",
		"The identity endpoint answers GET requests only, not %s.", method)
	e.Header = http.Header{"Allow": {http.MethodGet}}
	return e
}

func errNotFound(path string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "not_found", "There is nothing at %s.", path)
}

func errQuery(cause error) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "The request's parameters cannot be read.").Because(cause)
}

func errNoResource() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "The required parameter 'resource' is missing.")
}

func errRepeated(name string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "The parameter '%s' occurs more than once with different values.", name)
}

func errParameter(name, instead string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "The parameter '%s' is not supported; use '%s'.", name, instead)
}

func errSeveralSelectors(names []string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest,
		"The parameters %s each name an identity; send only one of them.", strings.Join(names, ", "))
}

func errCloudShellSelector(name string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest,
		"A request without a secret cannot choose an identity; '%s' is not supported.", name)
}

func errNoIdentity() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "No managed identity is assigned to this endpoint.")
}

func errAmbiguous(a Assigned) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest,
		"The endpoint has several user-assigned identities and no system-assigned one; name one by its client id: %s.", clientIDs(a))
}

func errNotAttached(sel selector, a Assigned) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest,
		"No managed identity with %s '%s' is assigned to this endpoint. Assigned client ids: %s.", sel.param, sel.value, clientIDs(a))
}

func clientIDs(a Assigned) string {
	var ids []string
	if a.System != nil {
		ids = append(ids, a.System.AppID)
	}
	for _, p := range a.User {
		ids = append(ids, p.AppID)
	}
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}

// The errors of IMDS, whose codes and texts are documented.

func errIMDSHeader() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "bad_request_102", "Required metadata header not specified")
}

func errIMDSVersion() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "bad_request_101", "Required query variable 'api-version' is missing")
}

func errIMDSResource() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "bad_request_101", "Required query variable 'resource' is missing")
}

func errIMDSIdentity() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "Identity not found")
}

func errIMDSAmbiguous() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, invalidRequest, "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")
}
