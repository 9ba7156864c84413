package gateway

import (
	"context"
	"errors"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/runner"
)

// AuthMode is an endpoint's `authMode`.
type AuthMode string

// The modes an endpoint can have; AADToken is for managed ones only.
const (
	Key      AuthMode = "Key"
	AMLToken AuthMode = "AMLToken"
	AADToken AuthMode = "AADToken"
)

// Endpoint is what the front door knows of an online endpoint.
type Endpoint struct {
	// ID is the ARM id: the scope of AAD authorization.
	ID       string
	Name     string
	AuthMode AuthMode
	// Private says that the endpoint is reached from its workspace's private
	// network only, which nobody here is in.
	Private bool
	// Keys are the primary and secondary key, for AuthMode Key.
	Keys [2]string
	// Traffic maps deployment names, in any case, to weights.
	Traffic map[string]int
	// Mirror maps the one deployment that is sent copies to the percentage of
	// requests copied, 50 at most.
	Mirror      map[string]int
	Deployments []Deployment
}

// Deployment is one of an endpoint's deployments.
type Deployment struct {
	// ID is what Targets knows it by.
	ID   string
	Name string
	// RequestTimeout bounds a request, waiting included; 0 means 5 s.
	RequestTimeout time.Duration
	// MaxConcurrent is max_concurrent_requests_per_instance, Instances the
	// instance count; 0 means 1.
	MaxConcurrent, Instances int
	// Script says that the inference server runs the user's script; else
	// the user brought a server.
	Script bool
}

// Endpoints finds endpoints by canonical host names.
type Endpoints interface {
	// Endpoint finds a managed endpoint, which has a host of its own.
	Endpoint(ctx context.Context, host string) (Endpoint, bool)
	// Behind finds a Kubernetes endpoint by its cluster's host name and its
	// own name, in any case.
	Behind(ctx context.Context, host, name string) (Endpoint, bool)
}

// Targets lists a deployment's ready instances; runner.Manager does.
type Targets interface {
	Targets(deploymentID string) []runner.Target
}

// AMLTokens verifies the tokens that the endpoint's `token` action issues.
type AMLTokens interface {
	VerifyAMLToken(ctx context.Context, endpointID, raw string) error
}

// Deps are what the gateway needs.
type Deps struct {
	Endpoints  Endpoints
	Targets    Targets
	Tokens     azure.TokenVerifier
	Authorizer azure.Authorizer
	Clock      clock.Clock
	Audit      *audit.Log
	// AMLTokens may be nil: no token of that kind is then valid.
	AMLTokens AMLTokens
	// DeniedStatus answers a valid token without the score action; 0 means
	// 401, as Microsoft's status table says. 403 is conceivable.
	DeniedStatus int
	// Pick draws a number below n; nil draws at random.
	Pick func(n int) int
	// DialContext reaches instances; nil: by the network. A back end may know a
	// shorter way than the address it gives.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Rates are what each managed endpoint takes; zero fields are no limits.
	Rates Rates
	// ErrorLog receives the proxy's complaints; nil: log's default.
	ErrorLog *log.Logger
}

// Service is the front door of all endpoints.
type Service struct {
	deps      Deps
	handler   http.Handler
	plane     *httpx.Plane
	admission *admission
	rates     *rates
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	direct    *direct
	mirrors   *mirrors
	byMode    map[AuthMode]*httpx.Operation
}

// New makes a gateway.
func New(deps Deps) (*Service, error) {
	if deps.Endpoints == nil || deps.Targets == nil || deps.Tokens == nil || deps.Authorizer == nil || deps.Clock == nil || deps.Audit == nil {
		return nil, errors.New("gateway: Endpoints, Targets, Tokens, Authorizer, Clock and Audit are required")
	}
	if deps.Pick == nil {
		deps.Pick = rand.IntN
	}
	if deps.DialContext == nil {
		deps.DialContext = (&net.Dialer{}).DialContext
	}
	if deps.DeniedStatus == 0 {
		deps.DeniedStatus = http.StatusUnauthorized
	}
	s := &Service{deps: deps, admission: newAdmission(deps.Targets.Targets), transport: newTransport(deps.DialContext), byMode: map[AuthMode]*httpx.Operation{}}
	s.direct = &direct{pool: newInstancePool(deps.DialContext), buffers: &bufferPool{}}
	s.rates = newRates(deps.Rates, deps.Clock)
	s.proxy = s.newProxy()
	s.mirrors = newMirrors(s)
	s.handler = httpx.FullDuplex(http.HandlerFunc(s.serve))
	s.plane = &httpx.Plane{
		Name: "scoring", Clock: deps.Clock, Audit: deps.Audit, Authorizer: deps.Authorizer,
		Authenticate: s.authenticate,
		Deny: func(_ *http.Request, d azure.Decision) error {
			return errScoreDenied(deps.DeniedStatus, d)
		},
		Encode:          encode,
		RequestIDHeader: headerRequestID,
	}
	ops := s.Operations()
	for i, mode := range []AuthMode{Key, AMLToken, AADToken} {
		s.byMode[mode] = &ops[i]
	}
	return s, nil
}

// ServeHTTP answers a request to the endpoint whose name is the Host.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", serverName)
	id := sanitizeClientRequestID(r.Header.Get(headerClientRequestID))
	if id != "" {
		w.Header().Set(headerClientRequestID, id)
	}
	host := azure.CanonicalHost(r.Host)
	endpoint, ok := s.deps.Endpoints.Endpoint(r.Context(), host)
	if !ok {
		s.plane.Refuse(w, r, errNoEndpoint(host))
		return
	}
	if endpoint.Private {
		s.plane.Refuse(w, r, errPrivate())
		return
	}
	op, ok := s.byMode[endpoint.AuthMode]
	if !ok {
		s.plane.Refuse(w, r, errUnknownMode(endpoint.AuthMode))
		return
	}
	s.plane.Serve(w, r.WithContext(withCall(r.Context(), &call{endpoint: endpoint, clientRequestID: id})), op)
}

// Quiet waits until a deployment has no request under way, neither waiting nor
// at work; with targets, until none is at work there. It is for whoever ends
// instances that get no new requests.
func (s *Service) Quiet(ctx context.Context, deploymentID string, targets []runner.Target) error {
	return s.admission.quiet(ctx, deploymentID, targets)
}

// Close breaks off the mirrored copies under way and drops the connections to
// instances that are kept for reuse.
func (s *Service) Close() error {
	s.mirrors.close()
	s.transport.CloseIdleConnections()
	s.direct.pool.close()
	return nil
}

// call is what the gateway knows of the request it serves.
type call struct {
	endpoint Endpoint
	// router says that the call came through a cluster's router; script that
	// the chosen deployment is a scoring script.
	router, script bool
	target         *url.URL
	// entry is where the outcome is recorded; requestID goes to the instance.
	entry     *audit.Entry
	requestID string
	// clientRequestID is the caller's own id, as far as it may be repeated.
	clientRequestID string
	// err is why the proxied request failed.
	err error
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }
