package intercept

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// AdminPrefix is the path below which the emulator's own API lives.
const AdminPrefix = "/_amlocal/"

// openAdminPaths need no token: the public root, a sign of life, and the page
// that finishes a sign-in by device code, which asks for a user's password.
var openAdminPaths = []string{AdminPrefix + "ca.pem", AdminPrefix + "healthz", AdminPrefix + "device"}

// Guard stands before the admin API. Host must be a loopback name or one of
// allowedHosts (without port), so that a page whose name was rebound to
// 127.0.0.1 is refused; a page of any other origin is refused; and all but
// openAdminPaths need `Authorization: Bearer <adminToken>`. It refuses by
// default: whatever path reaches it is protected.
func Guard(adminToken string, allowedHosts ...string) func(http.Handler) http.Handler {
	want := sha256.Sum256([]byte(adminToken))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host := azure.CanonicalHost(r.Host)
			if !isOwnName(host) && !slices.Contains(allowedHosts, host) {
				encode(w, r, httpx.Errorf(http.StatusForbidden, "HostNotAllowed", "the admin API does not answer as %q.", r.Host))
				return
			}
			if !sameOrigin(r) {
				encode(w, r, httpx.Errorf(http.StatusForbidden, "CrossOrigin", "the admin API does not answer pages of other origins."))
				return
			}
			if !slices.Contains(openAdminPaths, r.URL.Path) && !hasToken(r, adminToken, want) {
				e := httpx.Errorf(http.StatusUnauthorized, "AdminTokenRequired",
					"the admin API needs the token of this state folder: Authorization: Bearer <token>.")
				w.Header().Set("WWW-Authenticate", `Bearer realm="amlocal"`)
				encode(w, r, e)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// isOwnName is stricter than isLoopback: no subdomain of localhost.
func isOwnName(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func hasToken(r *http.Request, adminToken string, want [32]byte) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(token)) // equal lengths for the comparison
	return adminToken != "" && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// sameOrigin is true for programs, which send neither field, for addresses
// typed by hand, and for pages we served ourselves.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return err == nil && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}
