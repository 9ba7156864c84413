package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
)

func TestSuccessfulScore(t *testing.T) {
	covers.R(t, "R-402", "R-416", "R-610")
	var seen *http.Request
	w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = r.Clone(context.Background())
		rw.Header().Set("X-Ms-Client-Request-Id", r.Header.Get("X-Ms-Client-Request-Id"))
		scorer(rw, r)
	}))
	r := w.request("POST", "/score", `{"data": [1]}`)
	r.Header.Set("x-request-id", "mine")
	r.Header.Set("x-ms-client-request-id", "abc/DEF_1-2 ü"+strings.Repeat("z", 60))
	r.Header.Set("Connection", "X-Hop")
	r.Header.Set("X-Hop", "1")
	got := w.send(r)
	if got.StatusCode != 200 || got.body != `{"data": [1]}` {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	id := got.Header.Get("x-request-id")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("x-request-id: %q", id)
	}
	clientID := "abcDEF_1-2" + strings.Repeat("z", 30)
	for name, want := range map[string]string{
		"Server": "azureml-frontdoor", "X-Request-Id": id, "X-Ms-Client-Request-Id": clientID,
		"Azureml-Model-Deployment": "blue", "Azureml-Model-Session": "blue", "X-Ms-Server-Version": "azmlinfsrv/1.5.1",
	} {
		if values := got.Header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want one %q", name, values, want)
		}
	}
	for name, want := range map[string]string{
		"X-Request-Id": id, "X-Ms-Client-Request-Id": clientID, "Content-Type": "application/json",
		"Authorization": "", "X-Hop": "", "X-Forwarded-For": "",
	} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("the container saw %s: %q, want %q", name, got, want)
		}
	}
	if seen.Host != host {
		t.Errorf("the container saw Host %q", seen.Host)
	}
	if entry, ok := w.audit.Find(id); !ok || entry.Instance != "ep/blue" || entry.Plane != "scoring" {
		t.Errorf("audit: %+v", entry)
	}
}

func TestAnyMethodAndPathIsPassed(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s %s", r.Method, r.RequestURI)
	}))
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
		for _, path := range []string{"/", "/score", "/v2/models/a%2Fb/infer", "//double//", "/swagger.json?version=3", "/score?a=1;b=%zz&c"} {
			if got := w.send(w.request(method, path, "")); got.StatusCode != 200 || got.body != method+" "+path {
				t.Errorf("%s %s: %d %q", method, path, got.StatusCode, got.body)
			}
		}
	}
	if got := w.send(w.request("HEAD", "/score", "")); got.StatusCode != 200 {
		t.Errorf("HEAD: %d", got.StatusCode)
	}
}

func TestModelErrorsBecome424(t *testing.T) {
	covers.R(t, "R-610", "R-1036")
	for _, status := range []int{201, 204, 301, 304, 400, 404, 415, 424, 429, 500, 503} {
		w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("x-ms-run-function-failed", "True")
			rw.Header().Set("X-Own", "kept")
			rw.Header().Set("ms-azureml-model-error-reason", "forged")
			rw.WriteHeader(status)
			if status != 204 && status != 304 {
				fmt.Fprint(rw, "container's words")
			}
		}))
		got := w.score("{}")
		want := "container's words"
		if status == 204 || status == 304 {
			want = ""
		}
		if got.StatusCode != 424 || got.body != want {
			t.Errorf("%d became %d %q", status, got.StatusCode, got.body)
		}
		for name, want := range map[string]string{
			"ms-azureml-model-error-statuscode": fmt.Sprint(status), "ms-azureml-model-error-reason": "model_error",
			"x-ms-run-function-failed": "True", "X-Own": "kept",
		} {
			if v := got.Header.Values(name); len(v) != 1 || v[0] != want {
				t.Errorf("%d: %s: %q, want %q", status, name, v, want)
			}
		}
		if entry := w.audit.Recent(1, false)[0]; entry.Code != "model_error" || entry.Status != 424 {
			t.Errorf("%d: audit %+v", status, entry)
		}
	}
}

func TestNoInstance(t *testing.T) {
	covers.R(t, "R-610")
	w := start(t, nil)
	check := func(got answer, text string) {
		t.Helper()
		if got.StatusCode != 424 || got.Header.Get("ms-azureml-model-error-reason") != "model_not_ready" ||
			got.Header.Get("ms-azureml-model-error-statuscode") != "" || !strings.HasPrefix(got.body, text) || !strings.HasSuffix(got.body, helpSuffix) {
			t.Errorf("%d %v %q", got.StatusCode, got.Header, got.body)
		}
	}
	check(w.score("{}"), "no healthy upstream\n")

	w.setTargets("d-blue", runner.Target{Instance: "i", URL: "http://127.0.0.1:1"})
	check(w.score("{}"), "upstream connect error or disconnect/reset before headers. reset reason: connection failure\n")

	w.setTargets("d-blue", instance(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	check(w.score("{}"), "upstream connect error or disconnect/reset before headers. reset reason: connection termination\n")
}

func TestTimeout(t *testing.T) {
	covers.R(t, "R-610")
	left := make(chan struct{}, 20)
	w := start(t, nil,
		http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.URL.Path == "/stream" {
				fmt.Fprint(rw, "begun")
				_ = http.NewResponseController(rw).Flush()
			}
			<-r.Context().Done()
			left <- struct{}{}
		}))
	// On a busy machine the time may be over before the instance is asked.
	for timeout, asked := 50*time.Millisecond, false; !asked; timeout *= 2 {
		w.setTimeout(timeout)
		if got := w.score("{}"); got.StatusCode != 408 || got.body != "upstream request timeout\n"+helpSuffix {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		select {
		case <-left:
			asked = true
		case <-time.After(timeout):
			if timeout > 30*time.Second {
				t.Fatal("the instance is not told")
			}
		}
	}
	// Once the answer has begun, only breaking it off is honest.
	for timeout, begun := 50*time.Millisecond, false; !begun; timeout *= 2 {
		w.setTimeout(timeout)
		resp, err := w.Client().Do(w.request("POST", "/stream", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if begun = resp.StatusCode == 200; begun && err == nil || !begun && (resp.StatusCode != 408 || timeout > 30*time.Second) {
			t.Fatalf("a cut answer looks whole: %d %q", resp.StatusCode, body)
		}
	}
}

func TestDyingInstanceBreaksTheAnswer(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", "1000")
		fmt.Fprint(rw, "begun")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}))
	resp, err := w.Client().Do(w.request("POST", "/score", "{}"))
	if err != nil { // broken off before the head had left
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q %v", body, err)
	}
}

func TestClientLeaving(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(entered)
		<-r.Context().Done()
		close(left)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r := w.request("POST", "/score", "{}").WithContext(ctx)
	go func() {
		_, err := w.Client().Do(r)
		done <- err
	}()
	<-entered
	cancel()
	<-left
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestStreaming(t *testing.T) {
	next := make(chan struct{})
	w := start(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
			<-next
		}
	}))
	resp, err := w.Client().Do(w.request("POST", "/score", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := range 3 { // each event arrives before the next is sent
		if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestUpgradeIsRefused(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the container was asked") }))
	r := w.request("GET", "/socket", "")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	if got := w.send(r); got.StatusCode != 426 {
		t.Errorf("%d", got.StatusCode)
	}
}

// TestNoTruncation is the loop that lost 1 to 2 % of the answers before the
// gateway asked for full duplex (wire/runner.md section 4).
func TestNoTruncation(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(scorer))
	conns := 0
	body := bytes.Repeat([]byte("0123456789abcdef"), 100<<10/16)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conns++
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}}
	defer client.CloseIdleConnections()
	loops := 1500
	if testing.Short() {
		loops = 200
	}
	for i := range loops {
		r := w.request("POST", "/score", "")
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp, err := client.Do(r)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, body) {
			t.Fatalf("request %d: %d, %d of %d bytes, %v", i, resp.StatusCode, len(got), len(body), err)
		}
	}
	// The client gives a connection up where its own writer is not seen to end
	// soon enough after the answer, which a busy machine makes happen.
	if conns > 3 {
		t.Errorf("%d requests took %d connections", loops, conns)
	}
}
