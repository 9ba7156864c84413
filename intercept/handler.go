package intercept

import (
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

const metadataHost = "169.254.169.254"

// ServeHTTP takes every request of every connection: proxy requests on the
// outside, requests to one host inside tunnels and TLS.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := connOf(r.Context())
	if r.TLS == nil {
		r.TLS = c.state
	}
	instance := c.instance
	if instance == "" {
		instance = s.instanceOf(r.Header.Get("Proxy-Authorization"))
	}
	if instance != "" {
		r = r.WithContext(httpx.WithInstance(r.Context(), instance))
	}
	r.Header.Del("Proxy-Authorization")
	r.Header.Del("Proxy-Connection")

	if c.direct {
		s.serveDirect(w, r)
		return
	}
	inside := s.connHost(r, c)
	switch {
	case r.Method == http.MethodConnect && inside == "":
		s.connect(w, r, instance)
	case r.Method == http.MethodConnect:
		s.plane.Refuse(w, r, errNestedTunnel(inside))
	case r.URL.IsAbs() && inside == "":
		s.forward(w, r)
	default:
		host := azure.CanonicalHost(r.Host)
		if inside != "" && host != inside {
			s.plane.Refuse(w, r, errMisdirected(host, inside))
			return
		}
		s.answer(w, originForm(r), host)
	}
}

// connHost is the one host a connection belongs to; empty for connections to
// the emulator's own address.
func (s *Server) connHost(r *http.Request, c *conn) string {
	host := c.host
	if r.TLS != nil && r.TLS.ServerName != "" {
		host = azure.CanonicalHost(r.TLS.ServerName)
	}
	if s.isLocal(host) {
		return ""
	}
	return host
}

// answer serves an origin-form request to host.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, host string) {
	switch {
	case host == metadataHost:
		s.deps.IMDS.ServeHTTP(w, r)
		return
	case s.isLocal(host):
		s.deps.Local.ServeHTTP(w, r)
		return
	}
	handler, verdict := s.deps.Route(host)
	switch verdict.Kind {
	case Emulated:
		handler.ServeHTTP(w, r)
	case NoSuchHost:
		s.plane.Refuse(w, r, errNoSuchHost(verdict))
	case Refused:
		s.refuse(w, r, host, verdict)
	default:
		// A name that is not ours on our own address: a mistake, or a page
		// that had its name rebound to 127.0.0.1.
		s.plane.Refuse(w, r, errNotHere(host))
	}
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, host string, v Verdict) {
	if v.Quiet {
		encode(w, r, errRefused(host, v))
		return
	}
	s.plane.Refuse(w, r, errRefused(host, v))
}

// instanceOf reads `Basic base64(instance:secret)`. A wrong secret is no
// error: anyone on this machine may use the proxy, attribution is what the
// secret is for.
func (s *Server) instanceOf(proxyAuthorization string) string {
	if s.deps.Instance == nil || proxyAuthorization == "" {
		return ""
	}
	secret, ok := parseProxySecret(proxyAuthorization)
	if !ok {
		return ""
	}
	name, ok := s.deps.Instance(secret)
	if !ok {
		return ""
	}
	return name
}

func parseProxySecret(header string) (secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", false
	}
	_, secret, ok = strings.Cut(string(raw), ":")
	return secret, ok && secret != ""
}

// isLocal reports whether a canonical host name means the emulator itself when
// it is asked directly.
func (s *Server) isLocal(host string) bool {
	return isLoopback(host) || slices.Contains(s.deps.LocalHosts, host)
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// originForm is r as a server that is no proxy would have received it.
func originForm(r *http.Request) *http.Request {
	if !r.URL.IsAbs() {
		return r
	}
	out := r.WithContext(r.Context())
	u := *r.URL
	u.Scheme, u.Host, u.User = "", "", nil
	out.URL = &u
	out.RequestURI = u.RequestURI()
	return out
}
