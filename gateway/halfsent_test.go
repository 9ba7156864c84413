package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/gateway"
)

// halfSent begins a chunked request and does not end its body.
func (w *world) halfSent(key string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if _, err := fmt.Fprintf(c, "POST /score HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nhalf of it", host, key); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// quiet wants the deployment to have no request under way soon.
func (w *world) quiet() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := w.gateway.Quiet(ctx, "d-blue", nil); err != nil {
		w.t.Fatal("a request is still under way: ", err)
	}
}

// TestHalfSentBody: a caller who stops in the middle of a body gets the time a
// request gets and no more, whatever the instance does with the half; then
// both its place and its connection are free.
func TestHalfSentBody(t *testing.T) {
	instances := map[string]func(w http.ResponseWriter, r *http.Request, ended chan struct{}){
		"waits for the rest": func(w http.ResponseWriter, r *http.Request, _ chan struct{}) { scorer(w, r) },
		"answers at once": func(w http.ResponseWriter, _ *http.Request, _ chan struct{}) {
			_ = http.NewResponseController(w).EnableFullDuplex() // or the server itself waits for the rest
			w.Header().Set("Content-Length", "5")
			fmt.Fprint(w, "early")
			_ = http.NewResponseController(w).Flush()
		},
		"never reads": func(_ http.ResponseWriter, _ *http.Request, ended chan struct{}) { <-ended },
		"streams": func(w http.ResponseWriter, _ *http.Request, ended chan struct{}) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			fmt.Fprint(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-ended
		},
	}
	for name, h := range instances {
		for _, mirrored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, mirrored %t", name, mirrored), func(t *testing.T) {
				t.Parallel()
				ended := make(chan struct{})
				defer close(ended)
				w := start(t, func(w *world, _ *gateway.Deps) {
					w.endpoint.Deployments[0].MaxConcurrent = 1
					w.endpoint.Deployments[0].RequestTimeout = 3 * time.Second // within which the others answer
					if mirrored {
						w.endpoint.Deployments = append(w.endpoint.Deployments, gateway.Deployment{ID: "d-green", Name: "green"})
						w.endpoint.Mirror = map[string]int{"green": 50}
					}
				}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r, ended) }))
				c := w.halfSent(primary)
				raw, err := io.ReadAll(c) // until the connection is closed
				if name != "streams" && err != nil {
					t.Errorf("the connection broke: %v", err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), nil)
				if err != nil {
					t.Fatalf("no answer: %q, %v", raw, err)
				}
				if want := map[bool]int{true: 408, false: 200}[name == "waits for the rest" || name == "never reads"]; resp.StatusCode != want {
					t.Errorf("answered %d, want %d: %q", resp.StatusCode, want, raw)
				}
				w.quiet()
			})
		}
	}
}

// TestHalfSentBodyAndGone: a caller who goes away in the middle of a body, or
// after a refusal, leaves nothing behind.
func TestHalfSentBodyAndGone(t *testing.T) {
	w := start(t, func(w *world, _ *gateway.Deps) {
		w.endpoint.Deployments[0].RequestTimeout = time.Minute
	}, http.HandlerFunc(scorer))
	for i := range 200 {
		key := primary
		if i%4 == 3 {
			key = "wrong"
		}
		c := w.halfSent(key)
		if i%2 == 1 {
			_ = c.(*net.TCPConn).SetLinger(0) // by a reset
		}
		_ = c.Close()
	}
	w.quiet()
	if got := w.score("{}"); got.StatusCode != 200 || got.body != "{}" {
		t.Errorf("afterwards: %d %q", got.StatusCode, got.body)
	}
}

// TestHalfSentBodyRefused: a refused caller who neither sends on nor leaves
// has its answer, and its connection is closed.
func TestHalfSentBodyRefused(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(scorer))
	raw, err := io.ReadAll(w.halfSent("wrong"))
	if err != nil || !strings.HasPrefix(string(raw), "HTTP/1.1 401 ") || !strings.HasSuffix(string(raw), "key_auth_access_denied") {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestQuiet(t *testing.T) {
	g := &gate{entered: make(chan string, 10), release: make(chan struct{})}
	w := start(t, func(w *world, _ *gateway.Deps) {
		w.endpoint.Deployments[0].MaxConcurrent, w.endpoint.Deployments[0].RequestTimeout = 1, time.Minute
	}, g)
	w.quiet()
	answered := make(chan int, 1)
	go func() { answered <- w.score("{}").StatusCode }()
	<-g.entered
	done := make(chan error, 2)
	old := w.Targets("d-blue")
	go func() { done <- w.gateway.Quiet(t.Context(), "d-blue", nil) }()
	go func() { done <- w.gateway.Quiet(t.Context(), "d-blue", old) }()
	// What is at work elsewhere is nobody's concern.
	if err := w.gateway.Quiet(t.Context(), "d-blue", append(old[:0:0], instance(t, http.NotFoundHandler()))); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.gateway.Quiet(gone, "d-blue", old); err == nil {
		t.Error("quiet with a request at work")
	}
	select {
	case err := <-done:
		t.Fatalf("quiet with a request at work: %v", err)
	default:
	}
	close(g.release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if status := <-answered; status != 200 {
		t.Errorf("%d", status)
	}
}
