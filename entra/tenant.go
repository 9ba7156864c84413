package entra

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/internal/httpx"
)

// publicHost is what issuers and error links name, whichever alias was asked.
const publicHost = "login.microsoftonline.com"

// stsHost issues v1 tokens; it is an alias that never appears in endpoints.
const stsHost = "sts.windows.net"

// tenant is the tenant segment of a request path.
type tenant struct {
	// segment is what endpoints in answers name: the tenant's GUID also when
	// the client asked by domain, for clients take the GUID from there.
	segment string
	// shared is set for the multi-tenant names (common, organizations).
	shared bool
}

func (s *Service) tenant(r *http.Request) (tenant, bool) {
	return s.tenantNamed(httpx.Var(r, "tenant"))
}

func (s *Service) tenantNamed(name string) (tenant, bool) {
	switch name = strings.ToLower(name); {
	case name == "common" || name == "organizations":
		return tenant{segment: name, shared: true}, true
	case name == strings.ToLower(s.deps.TenantID),
		s.deps.TenantDomain != "" && name == strings.ToLower(s.deps.TenantDomain):
		return tenant{segment: s.deps.TenantID}, true
	}
	return tenant{}, false
}

// issuerV1 is the `iss` of every token we sign; the slash belongs to it.
func (s *Service) issuerV1() string { return "https://" + stsHost + "/" + s.deps.TenantID + "/" }

func (s *Service) issuerV2() string { return "https://" + publicHost + "/" + s.deps.TenantID + "/v2.0" }

// authorityHost is the host that endpoints in an answer name: the one asked,
// so that a private authority (https://localhost:4390) leads back to itself.
func authorityHost(r *http.Request) string {
	if r.Host == "" || strings.EqualFold(r.Host, stsHost) {
		return publicHost
	}
	return r.Host
}
