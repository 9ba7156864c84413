package gateway

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
)

// Rates are what a managed endpoint takes, as the page on quotas has it: 500
// requests a second, 500 connections, and 5 MBPS, beyond which traffic is
// delayed. A zero field is no limit. Kubernetes endpoints have none.
type Rates struct {
	// RequestsPerSecond count in each second of the emulator's clock.
	RequestsPerSecond int
	// Connections are those with a request under way. Whether Azure counts idle
	// ones too is unverified.
	Connections int
	// BytesPerSecond are bodies of both directions together (unverified).
	BytesPerSecond int
}

// rates keeps every endpoint within the limits; nil where there are none.
type rates struct {
	limits  Rates
	clock   clock.Clock // by which requests are counted
	machine clock.Clock // by which bytes are delayed: a wait takes real time

	mu        sync.Mutex
	endpoints map[string]*usage // by id, of all that were asked
}

// usage is what an endpoint is being asked.
type usage struct {
	second      time.Time // the one that is counted, from its begin
	requests    int
	connections map[string]int // requests under way by the caller's address
	free        time.Time      // when the next byte may pass
}

func newRates(limits Rates, c clock.Clock) *rates {
	if limits == (Rates{}) {
		return nil
	}
	return &rates{limits: limits, clock: c, machine: clock.System{}, endpoints: map[string]*usage{}}
}

// enter counts a request in and slows its bodies down. leave must be called once
// it was answered. ctx ends the waiting.
func (l *rates) enter(ctx context.Context, w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, _ *http.Request, leave func(), refusal *httpx.Error) {
	c := callOf(r.Context())
	if c.router {
		return w, r, func() {}, nil
	}
	endpoint, from := c.endpoint.ID, r.RemoteAddr
	if refusal := l.count(endpoint, from); refusal != nil {
		return w, r, nil, refusal
	}
	leave = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		under := l.endpoints[endpoint].connections
		if under[from]--; under[from] == 0 {
			delete(under, from)
		}
	}
	if l.limits.BytesPerSecond > 0 {
		pass := func(n int) error { return l.wait(ctx, endpoint, n) }
		w = &slowWriter{w, pass}
		if r.Body != nil && r.Body != http.NoBody {
			r = r.WithContext(r.Context()) // a body of its own
			r.Body = &slowBody{r.Body, pass}
		}
	}
	return w, r, leave, nil
}

// count admits a request or says why not.
func (l *rates) count(endpoint, from string) *httpx.Error {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.endpoints[endpoint]
	if u == nil {
		u = &usage{connections: map[string]int{}}
		l.endpoints[endpoint] = u
	}
	if age := now.Sub(u.second); age < 0 || age >= time.Second {
		u.second, u.requests = now, 0
	}
	if n := l.limits.RequestsPerSecond; n > 0 && u.requests >= n {
		return errOverRate("requests per second", n)
	}
	if n := l.limits.Connections; n > 0 && u.connections[from] == 0 && len(u.connections) >= n {
		return errOverRate("connections", n)
	}
	u.requests++
	u.connections[from]++
	return nil
}

// delay takes n bytes' time and says how long to wait for it.
func (l *rates) delay(endpoint string, n int) time.Duration {
	now := l.machine.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.endpoints[endpoint]
	if u.free.Before(now) {
		u.free = now
	}
	u.free = u.free.Add(time.Duration(float64(n) / float64(l.limits.BytesPerSecond) * float64(time.Second)))
	return u.free.Sub(now)
}

func (l *rates) wait(ctx context.Context, endpoint string, n int) error {
	d := l.delay(endpoint, n)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slowBody is a request's body at the endpoint's pace.
type slowBody struct {
	io.ReadCloser
	pass func(n int) error
}

// Read reads on and waits.
func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		if late := b.pass(n); late != nil {
			return n, late
		}
	}
	return n, err
}

// slowWriter is an answer at the endpoint's pace.
type slowWriter struct {
	http.ResponseWriter
	pass func(n int) error
}

// Write waits and writes.
func (w *slowWriter) Write(p []byte) (int, error) {
	if err := w.pass(len(p)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
