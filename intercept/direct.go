package intercept

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/amlocal/amlocal/azure"
)

// Direct connections come from instances whose DNS leads every name to us: they
// dial port 443 of what they take for Azure. Nothing of the proxy is there for
// them: no CONNECT, no admin API, no way out.

// ServeDirect accepts an instance's connections to port 443 until ctx ends,
// Close is called or the listener fails, as Serve does. It closes the listener.
// instance is what httpx.Instance answers in their handlers.
func (s *Server) ServeDirect(ctx context.Context, ln net.Listener, instance string) error {
	if !s.addListener(ln) {
		return errors.Join(http.ErrServerClosed, ln.Close())
	}
	defer s.dropListener(ln)
	return s.accept(ctx, ln, func(c net.Conn) { s.ServeDirectConn(c, instance) })
}

// ServeDirectConn serves one such connection and returns at once. The name is
// taken from the client's TLS hello; what is not TLS is closed.
func (s *Server) ServeDirectConn(c net.Conn, instance string) {
	d := newConn(c)
	d.instance, d.direct = instance, true
	s.start(d)
}

// serveDirect answers a request on a direct connection.
func (s *Server) serveDirect(w http.ResponseWriter, r *http.Request) {
	host := azure.CanonicalHost(r.Host)
	if r.Method == http.MethodConnect {
		s.plane.Refuse(w, r, errNestedTunnel(host))
		return
	}
	if r.TLS != nil && r.TLS.ServerName != "" {
		if name := azure.CanonicalHost(r.TLS.ServerName); name != host {
			s.plane.Refuse(w, r, errMisdirected(host, name))
			return
		}
	}
	if host == metadataHost || s.isLocal(host) {
		s.plane.Refuse(w, r, errNotHere(host))
		return
	}
	s.answer(w, originForm(r), host)
}
