package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
)

func wantOverRate(t *testing.T, got answer) {
	t.Helper()
	if got.StatusCode != 429 || got.body != helpSuffix || got.Header.Get("ms-azureml-model-error-reason") != "" || got.Header.Get("Retry-After") != "" {
		t.Errorf("over the limit: %d %v %q", got.StatusCode, got.Header, got.body)
	}
}

func TestRequestsPerSecond(t *testing.T) {
	covers.R(t, "R-615")
	now := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	w := start(t, func(_ *world, d *gateway.Deps) { d.Clock, d.Rates.RequestsPerSecond = now, 2 }, http.HandlerFunc(scorer))
	for range 2 {
		for range 2 {
			if got := w.score("{}"); got.StatusCode != 200 {
				t.Errorf("within the limit: %d %q", got.StatusCode, got.body)
			}
		}
		wantOverRate(t, w.score("{}"))
		now.Advance(time.Second)
	}
	// Kubernetes endpoints have no such limit.
	for range 5 {
		r := httptest.NewRequest("POST", "https://"+clusterHost+"/api/v1/endpoint/ep/score", strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer "+primary)
		rec := httptest.NewRecorder()
		w.gateway.Router().ServeHTTP(rec, r)
		if rec.Code != 200 {
			t.Errorf("behind a router: %d %s", rec.Code, rec.Body)
		}
	}
}

func TestConnections(t *testing.T) {
	covers.R(t, "R-615")
	g := &gate{entered: make(chan string, 10), release: make(chan struct{})}
	w := start(t, func(_ *world, d *gateway.Deps) { d.Rates.Connections = 1 }, g)
	first := make(chan int)
	go func() { first <- w.score("{}").StatusCode }()
	<-g.entered
	wantOverRate(t, w.score("{}"))
	close(g.release)
	if status := <-first; status != 200 {
		t.Errorf("the first connection: %d", status)
	}
	if got := w.score("{}"); got.StatusCode != 200 {
		t.Errorf("once it is free: %d", got.StatusCode)
	}
}

func TestBandwidth(t *testing.T) {
	covers.R(t, "R-615")
	for name, size := range map[string]int{"small": 1000, "large": 200_000} {
		t.Run(name, func(t *testing.T) {
			w := start(t, func(_ *world, d *gateway.Deps) { d.Rates.BytesPerSecond = 20_000_000 }, http.HandlerFunc(scorer))
			text := strings.Repeat("x", size)
			if got := w.score(text); got.StatusCode != 200 || got.body != text {
				t.Errorf("%d, %d bytes", got.StatusCode, len(got.body))
			}
			// A delay counts as the request's time.
			slow := start(t, func(_ *world, d *gateway.Deps) { d.Rates.BytesPerSecond = 1 }, http.HandlerFunc(scorer))
			slow.setTimeout(50 * time.Millisecond)
			if got := slow.score(text); got.StatusCode != 408 {
				t.Errorf("a request that the limit holds up: %d %q", got.StatusCode, got.body)
			}
		})
	}
}
