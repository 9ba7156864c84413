package amlocal

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/msi"
)

// identityPath is where instances on this machine find the managed identity
// endpoint: the path recorded from a real managed deployment.
const identityPath = "/v1/token/msi/xds"

// local serves requests to the emulator's own address: the admin API, the
// managed identity endpoint of plain child processes, the custom cloud, and
// path-style blobs.
func (e *Emulator) local() http.Handler {
	admin := intercept.Guard(e.secrets.AdminToken)(e.admin())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.ToLower(r.URL.Path); {
		case strings.HasPrefix(path, intercept.AdminPrefix):
			admin.ServeHTTP(w, r)
		case isIdentityPath(path):
			e.msi.ServeHTTP(w, r)
		case r.TLS != nil && e.cloudHandler(path) != nil:
			e.cloudHandler(path).ServeHTTP(w, r)
		default:
			e.blobs.ServeHTTP(w, r)
		}
	})
}

func isIdentityPath(path string) bool {
	switch strings.TrimRight(path, "/") {
	case identityPath, "/msi/token", "/msi/auth":
		return true
	}
	return false
}

// metadata serves 169.254.169.254 to deployments' instances and shells with
// identities, which the proxy tells apart by their password. Everyone else on the machine gets a 404: the
// emulator is no virtual machine.
func (e *Emulator) metadata() http.Handler {
	imds := e.msi.IMDS()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := httpx.Instance(r.Context())
		if !strings.HasPrefix(id, shellOwner) {
			var err error
			if id, err = e.deploymentID(id); err != nil {
				adminError(w, http.StatusNotFound, "there is no instance metadata service outside deployments; `amlocal env --identity` gives a shell managed identities")
				return
			}
		}
		imds.ServeHTTP(w, r.WithContext(msi.WithOwner(r.Context(), id)))
	})
}
