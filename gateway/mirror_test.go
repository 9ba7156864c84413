package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
)

// seen is a request as the mirroring deployment got it.
type seen struct {
	*http.Request
	body string
}

// recording is an instance that tells what it was sent, then answers.
func recording(to chan<- seen, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		to <- seen{r.Clone(context.Background()), string(body)}
		answer(w, r)
	})
}

// mirroring gives the endpoint a deployment "green" that is sent copies; every
// request is drawn.
func mirroring(t testing.TB, percent int, green http.Handler, filed chan audit.Entry) func(*world, *gateway.Deps) {
	return func(w *world, d *gateway.Deps) {
		w.endpoint.Mirror = map[string]int{"GREEN": percent}
		w.endpoint.Deployments = append(w.endpoint.Deployments, gateway.Deployment{ID: "d-green", Name: "green", MaxConcurrent: 100, RequestTimeout: time.Minute})
		if green != nil {
			w.setTargets("d-green", instance(t, green))
		}
		d.Pick = func(int) int { return 0 }
		w.audit = audit.NewLog(1000, func(e audit.Entry) {
			if e.Operation == "gateway.Mirror" {
				filed <- e
			}
		})
		d.Audit = w.audit
	}
}

func TestMirror(t *testing.T) {
	covers.R(t, "R-619")
	copies, filed := make(chan seen, 10), make(chan audit.Entry, 10)
	w := start(t, mirroring(t, 10, recording(copies, func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "not for the caller", http.StatusTeapot)
	}), filed), http.HandlerFunc(scorer))
	for _, tc := range []struct {
		name, method, path string
		body               io.Reader
		length             int64
		want               string
	}{
		{"post", "POST", "/score?a=1;b", strings.NewReader("rows"), 4, "rows"},
		{"no body", "GET", "/v2/health//ready", nil, 0, ""},
		{"chunked", "PUT", "/x", io.MultiReader(strings.NewReader("one"), strings.NewReader("two")), -1, "onetwo"},
		{"chunked and empty", "POST", "/score", strings.NewReader(""), -1, ""},
		{"the largest", "POST", "/score", strings.NewReader(strings.Repeat("x", 4<<20)), 4 << 20, strings.Repeat("x", 4<<20)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.request(tc.method, tc.path, "")
			r.Body, r.ContentLength = http.NoBody, 0
			if tc.body != nil {
				r.Body, r.ContentLength = io.NopCloser(tc.body), tc.length
			}
			r.Header.Set("x-ms-client-request-id", "mine")
			r.Header.Set("Expect", "100-continue")
			got := w.send(r)
			if got.StatusCode != 200 || got.body != tc.want || got.Header.Get("azureml-model-deployment") != "blue" {
				t.Errorf("the caller: %d %.50q %v", got.StatusCode, got.body, got.Header)
			}
			id := got.Header.Get("x-request-id")
			c := <-copies
			if c.Method != tc.method || c.RequestURI != tc.path || c.Host != host || c.body != tc.want || c.ContentLength >= 0 && c.ContentLength != int64(len(tc.want)) {
				t.Errorf("the copy: %s %s %s, %d bytes", c.Method, c.Host, c.RequestURI, len(c.body))
			}
			for name, want := range map[string]string{
				"x-request-id": id, "x-ms-client-request-id": "mine", "Content-Type": "application/json", "Authorization": "", "X-Forwarded-For": "", "Expect": "",
			} {
				if v := c.Header.Get(name); v != want {
					t.Errorf("the copy's %s: %q, want %q", name, v, want)
				}
			}
			e := <-filed
			if e.RequestID != id+"-mirror" || e.Status != 424 || e.Code != "model_error" || e.Instance != "ep/green" || e.Caller.Scheme != azure.EndpointKey || len(e.Decisions) != 0 {
				t.Errorf("audit: %+v", e)
			}
			if live, ok := w.audit.Find(id); ok && live.Instance != "ep/blue" {
				t.Errorf("the caller's id finds %+v", live)
			}
		})
	}
}

func TestWhatIsMirrored(t *testing.T) {
	covers.R(t, "R-619")
	for _, tc := range []struct {
		name            string
		traffic, mirror map[string]int
		header          string
		draw            int // of the copy
		status          int
		copied          bool
	}{
		{"drawn", nil, map[string]int{"green": 10}, "", 9, 200, true},
		{"not drawn", nil, map[string]int{"green": 10}, "", 10, 200, false},
		{"at most half", nil, map[string]int{"green": 90}, "", 50, 200, false},
		{"half", nil, map[string]int{"green": 50}, "", 49, 200, true},
		{"off", nil, map[string]int{"green": 0}, "", 0, 200, false},
		{"none", nil, nil, "", 0, 200, false},
		{"a missing deployment", nil, map[string]int{"gone": 50}, "", 0, 200, false},
		{"its own traffic", nil, map[string]int{"blue": 50}, "", 0, 200, false},
		{"a call that names the live one", nil, map[string]int{"green": 50}, "blue", 0, 200, false},
		{"a call that names the mirroring one", nil, map[string]int{"green": 50}, "green", 0, 200, false},
		{"no live traffic", map[string]int{"blue": 0}, map[string]int{"green": 50}, "", 0, 404, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			copies, filed := make(chan seen, 10), make(chan audit.Entry, 10)
			w := start(t, func(w *world, d *gateway.Deps) {
				mirroring(t, 0, recording(copies, scorer), filed)(w, d)
				w.endpoint.Mirror = tc.mirror
				if tc.traffic != nil {
					w.endpoint.Traffic = tc.traffic
				}
				draws := 0
				d.Pick = func(n int) int {
					if n != 100 {
						t.Errorf("drawn below %d", n)
					}
					draws++
					return []int{99, tc.draw}[draws-1] // first the deployment
				}
			}, http.HandlerFunc(scorer))
			r := w.request("POST", "/score", "{}")
			if tc.header != "" {
				r.Header.Set("azureml-model-deployment", tc.header)
			}
			if got := w.send(r); got.StatusCode != tc.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if tc.copied {
				<-copies
				if e := <-filed; e.Status != 200 {
					t.Errorf("audit: %+v", e)
				}
				return
			}
			want := 0
			if tc.header == "green" {
				want = 1 // the call itself
			}
			w.Close() // nothing is under way any more: copies begin before the answer
			if len(copies) != want || len(filed) != 0 {
				t.Errorf("%d requests reached green, %d copies filed", len(copies), len(filed))
			}
		})
	}
}

// TestMirrorNeverHurts: whatever becomes of the copy, the caller's answer is
// the live deployment's, and the audit log tells.
func TestMirrorNeverHurts(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 4<<20+1)
	for _, tc := range []struct {
		name   string
		green  http.Handler
		target string
		change func(*gateway.Deployment)
		body   io.Reader
		length int64
		status int
		code   string
	}{
		{"no instance", nil, "", nil, strings.NewReader("{}"), 2, 424, "model_not_ready"},
		{"refused connection", nil, "http://127.0.0.1:1", nil, strings.NewReader("{}"), 2, 424, "model_not_ready"},
		{"bad address", nil, "http://[", nil, strings.NewReader("{}"), 2, 424, "model_not_ready"},
		{"dies", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "", nil, strings.NewReader("{}"), 2, 424, "model_not_ready"},
		{"dies while answering", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, "begun")
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}), "", nil, strings.NewReader("{}"), 2, 424, "model_not_ready"},
		{"too slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "",
			func(d *gateway.Deployment) { d.RequestTimeout = 20 * time.Millisecond }, strings.NewReader(""), 0, 408, "timeout"},
		{"too large", named("green"), "", nil, bytes.NewReader(big), int64(len(big)), 413, "mirror_body_too_large"},
		{"too large in the end", named("green"), "", nil, bytes.NewReader(big), -1, 413, "mirror_body_too_large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			filed := make(chan audit.Entry, 1)
			w := start(t, func(w *world, d *gateway.Deps) {
				mirroring(t, 50, tc.green, filed)(w, d)
				if tc.target != "" {
					w.setTargets("d-green", runner.Target{Instance: "i", URL: tc.target})
				}
				if tc.change != nil {
					tc.change(&w.endpoint.Deployments[1])
				}
			}, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(rw, n, err)
			}))
			r := w.request("POST", "/score", "")
			r.Body, r.ContentLength = io.NopCloser(tc.body), tc.length
			want := tc.length
			if want < 0 {
				want = int64(len(big))
			}
			if want == 0 {
				r.Body = http.NoBody
			}
			if got := w.send(r); got.StatusCode != 200 || got.body != fmt.Sprint(want, nil) {
				t.Errorf("the caller: %d %q", got.StatusCode, got.body)
			}
			if e := <-filed; e.Status != tc.status || e.Code != tc.code || e.Cause == "" {
				t.Errorf("audit: %+v", e)
			}
		})
	}
}

// TestMirrorBudget: copies are counted apart from calls, and both together keep
// to what an instance works on at once.
func TestMirrorBudget(t *testing.T) {
	g := &gate{name: "green", entered: make(chan string, 10), release: make(chan struct{})}
	filed := make(chan audit.Entry, 10)
	w := start(t, func(w *world, d *gateway.Deps) {
		mirroring(t, 50, g, filed)(w, d)
		w.endpoint.Deployments[1].MaxConcurrent = 1
	}, http.HandlerFunc(scorer))
	// One copy is at work and one waits; neither holds its caller up. The third
	// is turned away, its caller is not.
	for range 3 {
		if got := w.score("{}"); got.StatusCode != 200 {
			t.Fatalf("the caller: %d", got.StatusCode)
		}
	}
	<-g.entered
	if e := <-filed; e.Status != 429 || e.Code != "too_many_pending_request" {
		t.Errorf("audit: %+v", e)
	}
	// A call to the deployment is admitted although copies fill their share.
	named := make(chan answer, 1)
	go func() {
		r := w.request("POST", "/score", "{}")
		r.Header.Set("azureml-model-deployment", "green")
		named <- w.send(r)
	}()
	close(g.release)
	if got := <-named; got.StatusCode != 200 || got.body != "green" {
		t.Errorf("the named call: %d %q", got.StatusCode, got.body)
	}
	for range 2 {
		if e := <-filed; e.Status != 200 {
			t.Errorf("audit: %+v", e)
		}
	}
	if g.most.Load() != 1 {
		t.Errorf("%d at work at once, limit 1", g.most.Load())
	}
}

// TestMirrorOfStreams: neither a streamed request nor a streamed answer waits
// for the copy, and the copy is whole.
func TestMirrorOfStreams(t *testing.T) {
	copies, filed := make(chan seen, 1), make(chan audit.Entry, 1)
	w := start(t, mirroring(t, 50, recording(copies, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
		}
	}), filed), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		rw.Header().Set("Content-Type", "text/event-stream")
		piece := make([]byte, 10)
		for {
			n, err := r.Body.Read(piece)
			_, _ = rw.Write(piece[:n])
			_ = http.NewResponseController(rw).Flush()
			if err != nil {
				return
			}
		}
	}))
	pr, pw := io.Pipe()
	r := w.request("POST", "/score", "")
	r.Body, r.ContentLength = pr, -1
	got := make(chan *http.Response)
	go func() {
		resp, err := w.Client().Do(r)
		if err != nil {
			t.Error(err)
		}
		got <- resp
	}()
	fmt.Fprint(pw, "ping")
	resp := <-got
	defer resp.Body.Close()
	for _, word := range []string{"ping", "pong"} { // each piece is answered before the next is sent
		if word != "ping" {
			fmt.Fprint(pw, word)
		}
		piece := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != word {
			t.Fatalf("%q %v", piece, err)
		}
	}
	if len(copies) != 0 {
		t.Error("a copy was sent before its body had ended")
	}
	_ = pw.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
	if c := <-copies; c.body != "pingpong" {
		t.Errorf("the copy: %q", c.body)
	}
	if e := <-filed; e.Status != 200 {
		t.Errorf("audit: %+v", e)
	}
}

// TestMirrorOfABrokenRequest: half a body is not worth a copy.
func TestMirrorOfABrokenRequest(t *testing.T) {
	copies, filed := make(chan seen, 1), make(chan audit.Entry, 1)
	w := start(t, mirroring(t, 50, recording(copies, scorer), filed), http.HandlerFunc(scorer))
	conn, err := net.Dial("tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /score HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 8\r\n\r\nhalf", host, primary)
	_ = conn.Close()
	if e := <-filed; e.Code != "mirror_body_incomplete" || e.Status != 400 {
		t.Errorf("audit: %+v", e)
	}
	if len(copies) != 0 {
		t.Error("half a body was mirrored")
	}
}

// TestMirrorEndsWithTheGateway: Close does not wait for a copy to be answered,
// and leaves nothing behind.
func TestMirrorEndsWithTheGateway(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("copies under way", func(t *testing.T) {
		copies, filed := make(chan seen, 2), make(chan audit.Entry, 3)
		t.Cleanup(func() { // runs last: the gateway is closed
			for range 2 {
				if e := <-filed; e.Code != "mirror_closing" || e.Status != 503 {
					t.Errorf("audit: %+v", e)
				}
			}
		})
		w := start(t, func(w *world, d *gateway.Deps) {
			mirroring(t, 50, recording(copies, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), filed)(w, d)
			w.endpoint.Deployments[1].MaxConcurrent = 1 // so one is at work, one waits
		}, http.HandlerFunc(scorer))
		for range 2 {
			if got := w.score("{}"); got.StatusCode != 200 {
				t.Errorf("the caller: %d", got.StatusCode)
			}
		}
		<-copies
	})
	goleak.VerifyNone(t, before)
}
