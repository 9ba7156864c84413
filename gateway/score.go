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

func (d Deployment) timeout() time.Duration {
	if d.RequestTimeout <= 0 {
		return defaultTimeout
	}
	return d.RequestTimeout
}

// score passes an authorized request to an instance.
func (s *Service) score(w http.ResponseWriter, r *http.Request) error {
	c := callOf(r.Context())
	deployment, refusal := s.choose(c.endpoint, r.Header.Get(headerDeployment))
	if refusal != nil {
		return refusal
	}
	entry := httpx.Entry(r.Context())
	c.entry, c.requestID, c.script = entry, entry.RequestID, deployment.Script
	if entry.Instance == "" {
		entry.Instance = c.endpoint.Name + "/" + deployment.Name
	}
	w.Header().Set(headerDeployment, deployment.Name)
	if deployment.Script && !c.router { // absent for custom containers, as recorded
		w.Header().Set(headerSession, deployment.Name)
	}
	if r.Header.Get("Upgrade") != "" {
		return errUpgrade()
	}

	ctx, cancel := context.WithTimeout(r.Context(), deployment.timeout())
	defer cancel()
	if httpx.Reads(ctx) {
		defer stopReadingAt(ctx)()
	}
	if s.rates != nil {
		var leave func()
		if w, r, leave, refusal = s.rates.enter(ctx, w, r); refusal != nil {
			return refusal
		}
		defer leave()
	}
	target, leave, err := s.admission.enter(ctx, deployment, asked)
	if err != nil {
		return s.failure(ctx, r, err)
	}
	defer leave()
	if c.target, err = url.Parse(target.URL); err != nil {
		return fmt.Errorf("instance %s: %w", target.Instance, err)
	}

	out := r.WithContext(ctx)
	defer s.mirrors.watch(out, deployment)()
	if s.direct.takes(out, c.target.Scheme) {
		if err := s.direct.serve(ctx, w, out); err != nil {
			return s.failure(ctx, r, err)
		}
		return nil
	}
	final := &finalWriter{ResponseWriter: w, front: w.Header().Clone()}
	s.proxy.ServeHTTP(final, out)
	if c.err != nil {
		final.restore()
		return s.failure(ctx, r, c.err)
	}
	return nil
}

// stopReadingAt stops reading the body when ctx ends: the proxy waits for its
// reader, which a caller who sends nothing would hold up beyond the request's
// time. What it returns is to be called before the handler returns.
func stopReadingAt(ctx context.Context) (done func()) {
	stopped := make(chan struct{})
	reading := context.AfterFunc(ctx, func() {
		defer close(stopped)
		httpx.StopReading(ctx)
	})
	return func() {
		if !reading() {
			<-stopped // not during the connection's next request
		}
	}
}

// finalWriter keeps the instance's informational answers (100, 103) from the
// caller: the proxy forgets the front door's headers over them, and the server
// itself tells a caller to continue.
type finalWriter struct {
	http.ResponseWriter
	front http.Header
}

// WriteHeader passes final answers on.
func (w *finalWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.restore()
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w *finalWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *finalWriter) restore() {
	for name, values := range w.front {
		if _, ok := w.Header()[name]; !ok {
			w.Header()[name] = values
		}
	}
}

// failure turns a failed request into the answer the front door gives.
func (s *Service) failure(ctx context.Context, r *http.Request, err error) error {
	// Stopping the body's reader for the timeout ends the request's own context
	// too, so the first end counts: the caller's would make ctx Canceled.
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return failureAt(r, context.DeadlineExceeded)
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client left
	}
	return failureAt(r, err)
}

// failureAt is a failure in the words of the front the call came through.
func failureAt(r *http.Request, err error) *httpx.Error {
	if callOf(r.Context()).router {
		return routerFailure(err)
	}
	return failureOf(err)
}

func failureOf(err error) *httpx.Error {
	switch {
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
		BufferPool:     s.direct.buffers,
		ErrorLog:       s.deps.ErrorLog,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			callOf(r.Context()).err = err
		},
	}
}

// rewrite makes the request the instance sees.
func rewrite(pr *httputil.ProxyRequest) {
	c := callOf(pr.In.Context())
	target := c.target
	pr.Out.URL.Scheme, pr.Out.URL.Host = target.Scheme, target.Host
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as sent, however odd
	if c.router {
		strip(pr.Out.URL)
	}
	pr.Out.Host = pr.In.Host
	// Assumed: the credential is the front door's and stays there.
	pr.Out.Header.Del("Authorization")
	pr.Out.Header.Set(headerRequestID, c.requestID)
	pr.Out.Header.Del(headerClientRequestID)
	if c.clientRequestID != "" {
		pr.Out.Header.Set(headerClientRequestID, c.clientRequestID)
	}
}

// modifyResponse makes the answer the client sees. Anything but 200 becomes
// 424; the code of the real proxy tests for exactly that.
func modifyResponse(resp *http.Response) error {
	for _, name := range []string{headerRequestID, "Server", headerDeployment, headerSession} {
		resp.Header.Del(name) // the front door's own value is set already
	}
	c := callOf(resp.Request.Context())
	if c.clientRequestID != "" {
		resp.Header.Del(headerClientRequestID)
	}
	if c.router {
		passOn(resp)
		return nil
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	setReason(resp.Header, reasonModelError)
	resp.Header.Set(headerModelStatus, fmt.Sprint(resp.StatusCode))
	c.entry.Code = reasonModelError
	c.entry.Cause = fmt.Sprintf("the deployment answered %d", resp.StatusCode)
	resp.StatusCode = http.StatusFailedDependency
	return nil
}

// newTransport is tuned for many requests to few addresses; the defaults
// redial under load and halve the throughput (wire/runner.md section 4).
func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		Proxy:               nil, // never the environment's: instances are local
		DialContext:         dial,
		IdleConnTimeout:     keepIdle,
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
