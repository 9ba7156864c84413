package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/covers"
)

// gate is an instance that holds its requests until released.
type gate struct {
	name    string
	entered chan string
	release chan struct{}
	busy    atomic.Int32
	most    atomic.Int32
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	now := g.busy.Add(1)
	defer g.busy.Add(-1)
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
	}
	g.entered <- g.name
	<-g.release
	fmt.Fprint(w, g.name)
}

func TestTooManyPending(t *testing.T) {
	covers.R(t, "R-610", "R-611")
	entered, release := make(chan string, 100), make(chan struct{})
	a, b := &gate{name: "a", entered: entered, release: release}, &gate{name: "b", entered: entered, release: release}
	w := start(t, func(w *world, _ *gateway.Deps) {
		w.endpoint.Deployments[0].MaxConcurrent, w.endpoint.Deployments[0].RequestTimeout = 2, time.Minute
	}, a, b)

	// 2 * max_concurrent 2 * instances 2 = 8 are admitted, 4 of them at work:
	// of nine at once, exactly one is refused, before any is answered.
	results := make(chan answer, 9)
	for range 9 {
		go func() { results <- w.score("{}") }()
	}
	refused := <-results
	if refused.StatusCode != 429 || refused.body != helpSuffix || refused.Header.Get("ms-azureml-model-error-reason") != "too_many_pending_request" || refused.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%d %v %q", refused.StatusCode, refused.Header, refused.body)
	}
	for range 4 {
		<-entered
	}
	select {
	case name := <-entered:
		t.Errorf("%s was given more than it works on at once", name)
	default:
	}
	close(release)
	for range 8 {
		if got := <-results; got.StatusCode != 200 {
			t.Errorf("an admitted request: %d", got.StatusCode)
		}
	}
	if a.most.Load() != 2 || b.most.Load() != 2 {
		t.Errorf("at work at once: %d and %d, want 2 and 2", a.most.Load(), b.most.Load())
	}
	if got := w.score("{}"); got.StatusCode != 200 {
		t.Errorf("after the rush: %d", got.StatusCode)
	}
}

func TestWaitingCountsAgainstTheTimeout(t *testing.T) {
	covers.R(t, "R-610")
	g := &gate{entered: make(chan string, 10), release: make(chan struct{})}
	blue := func(timeout time.Duration) []gateway.Deployment {
		return []gateway.Deployment{{ID: "d-blue", Name: "blue", RequestTimeout: timeout}}
	}
	w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.Deployments = blue(time.Minute) }, g)
	first := make(chan int)
	go func() { first <- w.score("{}").StatusCode }()
	<-g.entered
	w.mu.Lock()
	w.endpoint.Deployments = blue(50 * time.Millisecond)
	w.mu.Unlock()
	if got := w.score("{}"); got.StatusCode != 408 {
		t.Errorf("the waiting request: %d, want 408", got.StatusCode)
	}
	close(g.release)
	if status := <-first; status != 200 {
		t.Errorf("the working request: %d", status)
	}
	if len(g.entered) != 0 {
		t.Error("the instance was given a request that had timed out in the queue")
	}
}

func TestWaitersAreToldWhenInstancesGo(t *testing.T) {
	g := &gate{entered: make(chan string, 10), release: make(chan struct{})}
	w := start(t, func(w *world, _ *gateway.Deps) {
		w.endpoint.Deployments = []gateway.Deployment{{ID: "d-blue", Name: "blue", RequestTimeout: time.Minute}}
	}, g)
	statuses := make(chan int, 3)
	send := func() { statuses <- w.score("{}").StatusCode }
	go send()
	<-g.entered
	// Of two more, one waits and one is too many: the refusal tells that the
	// other is in the queue.
	go send()
	go send()
	if status := <-statuses; status != 429 {
		t.Fatalf("%d, want 429", status)
	}
	w.setTargets("d-blue")
	close(g.release)
	got := map[int]int{<-statuses: 1}
	got[<-statuses]++
	if got[200] != 1 || got[424] != 1 {
		t.Errorf("statuses %v, want the working one 200 and the waiting one 424", got)
	}
}

func TestUnderLoad(t *testing.T) {
	const limit = 3
	var busy, most atomic.Int32
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := busy.Add(1)
		defer busy.Add(-1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		scorer(w, r)
	})
	w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.Deployments[0].MaxConcurrent = limit }, h)
	var wg sync.WaitGroup
	var ok, refused atomic.Int32
	for i := range 16 {
		wg.Go(func() {
			for j := range 40 {
				body := fmt.Sprintf("%d/%d", i, j)
				switch got := w.score(body); {
				case got.StatusCode == 200 && got.body == body:
					ok.Add(1)
				case got.StatusCode == 429:
					refused.Add(1)
				default:
					t.Errorf("%d %q", got.StatusCode, got.body)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > limit {
		t.Errorf("%d at once, limit %d", most.Load(), limit)
	}
	if ok.Load() == 0 || ok.Load()+refused.Load() != 640 {
		t.Errorf("%d answered, %d refused", ok.Load(), refused.Load())
	}
}
