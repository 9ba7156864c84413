package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/httpx"
)

// defaultTimeout is request_timeout_ms where a deployment says nothing.
const defaultTimeout = 5 * time.Second

// score passes an authorized request to an instance.
func (s *Service) score(w http.ResponseWriter, r *http.Request) error {
	c := callOf(r.Context())
	deployment, refusal := s.choose(c.endpoint, r.Header.Get(headerDeployment))
	if refusal != nil {
		return refusal
	}
	entry := httpx.Entry(r.Context())
	if entry.Instance == "" {
		entry.Instance = c.endpoint.Name + "/" + deployment.Name
	}
	w.Header().Set(headerDeployment, deployment.Name)
	if deployment.Script { // absent for custom containers, as recorded
		w.Header().Set(headerSession, deployment.Name)
	}
	if r.Header.Get("Upgrade") != "" {
		return errUpgrade()
	}

	timeout := deployment.RequestTimeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	target, leave, err := s.admission.enter(ctx, deployment)
	if err != nil {
		return s.failure(r, err)
	}
	defer leave()
	if c.target, err = url.Parse(target.URL); err != nil {
		return fmt.Errorf("instance %s: %w", target.Instance, err)
	}

	s.proxy.ServeHTTP(w, r.WithContext(ctx))
	if c.err != nil {
		return s.failure(r, c.err)
	}
	return nil
}

// failure turns a failed request into the answer the front door gives.
func (s *Service) failure(r *http.Request, err error) error {
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client left
	case errors.Is(err, errQueueFull):
		return errTooManyPending()
	case errors.Is(err, errNoInstance):
		return errNoHealthyUpstream()
	case errors.Is(err, context.DeadlineExceeded):
		return errTimeout()
	default:
		return errUpstream(err, !isDialError(err))
	}
}

// isDialError tells a refused connection from one that broke.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func (s *Service) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		ModifyResponse: modifyResponse,
		Transport:      s.transport,
		BufferPool:     &bufferPool{},
		ErrorLog:       s.deps.ErrorLog,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			callOf(r.Context()).err = err
		},
	}
}

// rewrite makes the request the instance sees.
func rewrite(pr *httputil.ProxyRequest) {
	target := callOf(pr.In.Context()).target
	pr.Out.URL.Scheme, pr.Out.URL.Host = target.Scheme, target.Host
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as sent, however odd
	pr.Out.Host = pr.In.Host
	// Assumed: the credential is the front door's and stays there.
	pr.Out.Header.Del("Authorization")
	pr.Out.Header.Set(headerRequestID, httpx.RequestID(pr.In.Context()))
	if id := pr.In.Header.Get(headerClientRequestID); id != "" {
		pr.Out.Header.Del(headerClientRequestID)
		if id = sanitizeClientRequestID(id); id != "" {
			pr.Out.Header.Set(headerClientRequestID, id)
		}
	}
}

// modifyResponse makes the answer the client sees. Anything but 200 becomes
// 424; the code of the real proxy tests for exactly that.
func modifyResponse(resp *http.Response) error {
	ctx := resp.Request.Context()
	for _, name := range []string{headerRequestID, "Server", headerDeployment, headerSession} {
		resp.Header.Del(name) // the front door's own value is set already
	}
	if resp.Request.Header.Get(headerClientRequestID) != "" {
		resp.Header.Del(headerClientRequestID)
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	setReason(resp.Header, reasonModelError)
	resp.Header.Set(headerModelStatus, fmt.Sprint(resp.StatusCode))
	if entry := httpx.Entry(ctx); entry != nil {
		entry.Code = reasonModelError
		entry.Cause = fmt.Sprintf("the deployment answered %d", resp.StatusCode)
	}
	resp.StatusCode = http.StatusFailedDependency
	return nil
}

// newTransport is tuned for many requests to few addresses; the defaults
// redial under load and halve the throughput (wire/runner.md section 4).
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:       nil, // never the environment's: instances are local
		DialContext: (&net.Dialer{}).DialContext,
		// Servers drop idle connections on their own (gunicorn after 2 s), and a
		// POST sent in that moment cannot be repeated. Let go first.
		IdleConnTimeout:     time.Second,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 512,
		DisableCompression:  true,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
	}
}

// bufferPool lends the buffers answers are copied with.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 64 << 10

// Get lends a buffer.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

// Put takes it back.
func (p *bufferPool) Put(b []byte) {
	if len(b) == bufferSize {
		p.pool.Put((*[bufferSize]byte)(b))
	}
}
