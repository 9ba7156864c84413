package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// Router is the inference router of Kubernetes clusters (azureml-fe): one host
// name a cluster, an endpoint at /api/v1/endpoint/<name>, or at the other
// documented spelling, /api/v1/service/<name>.
//
// What differs from the managed front door: the instance's status is passed on;
// 502 for a script that raises and for an instance that breaks off, 503 where
// no instance can take the request, 504 for one that took too long (Microsoft's
// table of status codes). aad_token is not supported. Texts are ours.
func (s *Service) Router() http.Handler {
	return httpx.FullDuplex(http.HandlerFunc(s.serveRouter))
}

func (s *Service) serveRouter(w http.ResponseWriter, r *http.Request) {
	id := sanitizeClientRequestID(r.Header.Get(headerClientRequestID))
	if id != "" {
		w.Header().Set(headerClientRequestID, id)
	}
	host := azure.CanonicalHost(r.Host)
	name, _, ok := routerPath(r.URL.EscapedPath())
	if !ok {
		s.plane.Refuse(w, r, errNoRouterPath(r.URL.Path))
		return
	}
	endpoint, ok := s.deps.Endpoints.Behind(r.Context(), host, name)
	if !ok {
		s.plane.Refuse(w, r, errNoEndpointBehind(host, name))
		return
	}
	op, ok := s.byMode[endpoint.AuthMode]
	switch {
	case !ok:
		s.plane.Refuse(w, r, errUnknownMode(endpoint.AuthMode))
	case endpoint.AuthMode == AADToken:
		s.plane.Refuse(w, r, errTokenDenied(errAADOnKubernetes))
	default:
		s.plane.Serve(w, r.WithContext(withCall(r.Context(), &call{endpoint: endpoint, router: true, clientRequestID: id})), op)
	}
}

var errAADOnKubernetes = errors.New("aad_token is not supported by Kubernetes online endpoints")

// routerPath takes a path apart: the endpoint's name, and the escaped path its
// instances see.
func routerPath(escaped string) (name, rest string, ok bool) {
	steps := strings.SplitN(strings.TrimPrefix(escaped, "/"), "/", 5)
	if len(steps) < 4 || steps[0] != "api" || steps[1] != "v1" || steps[2] != "endpoint" && steps[2] != "service" {
		return "", "", false
	}
	name, err := url.PathUnescape(steps[3])
	if err != nil || name == "" || strings.ContainsAny(name, "/?#") {
		return "", "", false
	}
	if len(steps) == 5 {
		rest = steps[4]
	}
	return name, "/" + rest, true
}

// strip takes the router's part off the address an instance sees.
func strip(u *url.URL) {
	_, rest, ok := routerPath(u.EscapedPath())
	if !ok {
		return // routed requests have one
	}
	plain, err := url.PathUnescape(rest)
	if err != nil {
		return
	}
	u.Path, u.RawPath = plain, rest
}

// passOn is modifyResponse for Kubernetes: statuses are the instance's own, but
// for a script that raised.
func passOn(resp *http.Response) {
	c := callOf(resp.Request.Context())
	switch {
	case c.script && resp.StatusCode == http.StatusInternalServerError:
		c.entry.Code, c.entry.Cause = codeScript, "the scoring script raised"
		resp.StatusCode = http.StatusBadGateway
	case resp.StatusCode == http.StatusNotFound && resp.Request.URL.Path == "/swagger.json":
		// The documented answer where an endpoint has no Swagger document.
		_ = resp.Body.Close()
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(noSwagger)), int64(len(noSwagger))
		resp.Header.Set("Content-Type", "text/plain")
		resp.Header.Set("Content-Length", strconv.Itoa(len(noSwagger)))
		resp.Header.Del("Content-Encoding")
	}
}

const noSwagger = "Swagger not found"

// codeScript is how the audit log calls a script's exception.
const codeScript = "script_error"

// routerFailure is failureOf for Kubernetes.
func routerFailure(err error) *httpx.Error {
	switch {
	case errors.Is(err, errQueueFull), errors.Is(err, errNoInstance):
		return httpx.Errorf(http.StatusServiceUnavailable, "unavailable", "No replica of the deployment can take the request.\n").Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return httpx.Errorf(http.StatusGatewayTimeout, "timeout", "The request timed out.\n")
	default:
		return httpx.Errorf(http.StatusBadGateway, "bad_gateway", "The replica broke off the request.\n").Because(err)
	}
}

func errNoRouterPath(path string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "unknown_path", "No endpoint has the path %s; the endpoints of a cluster are at /api/v1/endpoint/<name>/.\n", path)
}

func errNoEndpointBehind(host, name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "unknown_endpoint", "No online endpoint '%s' is behind %s.\n", name, host)
}
