package intercept

import (
	"net/http"
	"net/http/httputil"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// forward answers absolute-form requests: plain HTTP through the proxy.
func (s *Server) forward(w http.ResponseWriter, r *http.Request) {
	if r.URL.Scheme != "http" {
		s.plane.Refuse(w, r, errScheme(r.URL.Scheme))
		return
	}
	host, port := azure.CanonicalHost(r.URL.Host), r.URL.Port()
	if port == "" {
		port = "80"
	}
	switch {
	case host == metadataHost:
		s.answer(w, originForm(r), host)
		return
	case s.isOurs(host, port):
		s.plane.Refuse(w, r, errLoop(r.URL.Host))
		return
	case isLoopback(host):
		s.pass(w, r)
		return
	}
	if _, verdict := s.deps.Route(host); verdict.Kind != Passed {
		s.answer(w, originForm(r), host)
		return
	}
	if s.deps.Offline {
		s.plane.Refuse(w, r, errOffline(host))
		return
	}
	s.pass(w, r)
}

// pass sends a request on to the network, unchanged but for hop-by-hop fields.
func (s *Server) pass(w http.ResponseWriter, r *http.Request) {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as sent, however odd
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, ok := pr.In.Header[name]; ok {
					pr.Out.Header[name] = values
				}
			}
		},
		Transport: s.transport,
		ErrorLog:  s.deps.ErrorLog,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				panic(http.ErrAbortHandler) // the client left
			}
			s.plane.Refuse(w, r, errUnreachable(r.URL.Host, err))
		},
	}
	httpx.FullDuplex(proxy).ServeHTTP(w, r)
}
