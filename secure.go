package amlocal

import (
	"net/http"

	"github.com/amlocal/amlocal/azure"
)

// tlsOnly are the services Azure offers over TLS alone. The blob store is not
// among them: it takes signatures over plain HTTP, and refuses bearer tokens
// there by itself.
var tlsOnly = map[azure.HostService]bool{
	azure.ServiceEntra: true, azure.ServiceARM: true, azure.ServiceGraph: true, azure.ServiceScoring: true,
	azure.ServiceVault:  true,
	azure.ServiceRouter: true, // a cluster's default: allowInsecureConnections=False
}

// overTLS refuses requests that came in the clear: a client that would send its
// token so must not get away with it here. Status and text are ours, unverified.
func overTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			adminError(w, http.StatusForbidden, "this service is reached over https only")
			return
		}
		next.ServeHTTP(w, r)
	})
}
