package entra

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/internal/httpx"
)

// maxForm is more than any token request needs.
const maxForm = 64 << 10

// Operations is the service's table.
func (s *Service) Operations() []httpx.Operation {
	return []httpx.Operation{
		{Name: "entra.InstanceDiscovery", Method: http.MethodGet, Pattern: "/common/discovery/instance", Handler: s.instanceDiscovery},
		{Name: "entra.OpenIDConfiguration", Method: http.MethodGet, Pattern: "/{tenant}/v2.0/.well-known/openid-configuration", Handler: s.openIDConfigurationV2},
		{Name: "entra.OpenIDConfigurationV1", Method: http.MethodGet, Pattern: "/{tenant}/.well-known/openid-configuration", Handler: s.openIDConfigurationV1},
		{Name: "entra.Keys", Method: http.MethodGet, Pattern: "/{tenant}/discovery/v2.0/keys", Handler: s.jwksV2},
		{Name: "entra.KeysV1", Method: http.MethodGet, Pattern: "/{tenant}/discovery/keys", Handler: s.jwksV1},
		{Name: "entra.UserRealm", Method: http.MethodGet, Pattern: "/{tenant}/{realm:(?i:userrealm)}/{user}", Handler: s.userRealm},
		{Name: "entra.Authorize", Method: http.MethodGet, Pattern: "/{tenant}/oauth2/v2.0/authorize", Handler: s.authorize},
		{Name: "entra.SignIn", Method: http.MethodPost, Pattern: "/{tenant}/oauth2/v2.0/authorize", MaxBody: maxForm, Handler: s.authorize},
		{Name: "entra.DeviceCode", Method: http.MethodPost, Pattern: "/{tenant}/oauth2/v2.0/devicecode", MaxBody: maxForm, Handler: s.deviceCodeV2},
		{Name: "entra.DeviceCodeV1", Method: http.MethodPost, Pattern: "/{tenant}/oauth2/devicecode", MaxBody: maxForm, Handler: s.deviceCodeV1},
		{Name: "entra.Token", Method: http.MethodPost, Pattern: "/{tenant}/oauth2/v2.0/token", MaxBody: maxForm, Handler: s.tokenV2},
		{Name: "entra.TokenV1", Method: http.MethodPost, Pattern: "/{tenant}/oauth2/token", MaxBody: maxForm, Handler: s.tokenV1},
	}
}

// tokenPath tells a token endpoint asked with the wrong method from a path
// nobody knows.
func tokenPath(path string) bool {
	_, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return ok && (rest == "oauth2/token" || rest == "oauth2/v2.0/token")
}
