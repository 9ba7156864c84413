package graph

import (
	"encoding/json"
	"net/http"

	"github.com/amlocal/amlocal/internal/httpx"
)

// encodeError writes Graph's error envelope.
func (s *Service) encodeError(w http.ResponseWriter, r *http.Request, e *httpx.Error) {
	inner := map[string]any{
		"date":              s.deps.Clock.Now().UTC().Format("2006-01-02T15:04:05"),
		"request-id":        httpx.RequestID(r.Context()),
		"client-request-id": r.Header.Get("client-request-id"),
	}
	code := e.Code
	if e.Status == http.StatusInternalServerError {
		code = "generalException"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": e.Message, "innerError": inner}})
}

func errUnauthenticated(message string) *httpx.Error {
	e := httpx.Errorf(http.StatusUnauthorized, "InvalidAuthenticationToken", "%s", message)
	e.Header = http.Header{"Www-Authenticate": {`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`}}
	return e
}

func errDenied() *httpx.Error {
	return httpx.Errorf(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

func errNotFound(id string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func errBadRequest(format string, args ...any) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "Request_BadRequest", format, args...)
}

func errFilter(filter string) *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified: %s", filter)
}

// errNotDelegated is Graph's answer to an application that asks who it is.
func errNotDelegated() *httpx.Error {
	return httpx.Errorf(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
}

// unrouted is for calls that Graph knows and we do not.
func unrouted(r *http.Request) error {
	return httpx.Errorf(http.StatusNotImplemented, "NotImplemented", "amlocal does not emulate this part of Microsoft Graph: %s %s", r.Method, r.URL.Path)
}
