package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/gateway"
)

func TestHTTP2(t *testing.T) {
	w := start(t, nil,
		http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/fail":
				http.Error(rw, "no", http.StatusInternalServerError)
			case "/slow":
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			default:
				scorer(rw, r)
			}
		}))
	secure := httptest.NewUnstartedServer(w.Config.Handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	w.Server.URL = secure.URL
	body := strings.Repeat("0123456789abcdef", 1<<16)
	for path, want := range map[string]int{"/score": 200, "/fail": 424, "/slow": 408} {
		timeout := time.Minute
		if want == 408 {
			timeout = 100 * time.Millisecond
		}
		w.setTimeout(timeout)
		resp, err := secure.Client().Do(w.request("POST", path, body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != want || (want == 200 && string(got) != body) {
			t.Errorf("%s: HTTP/%d %d, %d bytes, %v", path, resp.ProtoMajor, resp.StatusCode, len(got), err)
		}
	}
}

// TestExpectContinue: curl asks before it sends a large body.
func TestExpectContinue(t *testing.T) {
	w := start(t, nil, http.HandlerFunc(scorer))
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 20 * time.Second}}
	defer client.CloseIdleConnections()
	for _, size := range []int{1, 100 << 10, 2 << 20} {
		for key, want := range map[string]int{primary: 200, "wrong": 401} {
			body := bytes.Repeat([]byte("x"), size)
			r := w.request("POST", "/score", "")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(size)
			r.Header.Set("Expect", "100-continue")
			r.Header.Set("Authorization", "Bearer "+key)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != want || (want == 200 && !bytes.Equal(got, body)) {
				t.Errorf("%d bytes, key %s: %d, %d bytes, %v", size, key, resp.StatusCode, len(got), err)
			}
			if resp.Header.Get("x-request-id") == "" || resp.Header.Get("Server") != "azureml-frontdoor" {
				t.Errorf("%d bytes, key %s: the front door's headers are lost: %v", size, key, resp.Header)
			}
		}
	}
}

// TestServersThatDropIdleConnections: an instance restarts, or its server
// closes idle connections; the next request must not be lost to a stale one.
func TestServersThatDropIdleConnections(t *testing.T) {
	first := instance(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "closing")
	}))
	w := start(t, nil)
	w.setTargets("d-blue", first)
	for range 50 {
		if got := w.score("{}"); got.StatusCode != 200 || got.Header.Get("Connection") != "" {
			t.Fatalf("%d %q", got.StatusCode, got.body)
		}
	}
}

// TestInformationalAnswers: what an instance says before its answer does not
// cost the caller the front door's headers.
func TestInformationalAnswers(t *testing.T) {
	w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.Deployments[0].Script = false },
		http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Link", "</x>")
			rw.WriteHeader(http.StatusEarlyHints)
			if r.Method == "DELETE" {
				panic(http.ErrAbortHandler)
			}
			rw.Header().Set("Location", "/elsewhere")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		}))
	for method, reason := range map[string]string{"PATCH": "model_error", "DELETE": "model_not_ready"} {
		resp, err := http.DefaultTransport.RoundTrip(w.request(method, "/any/path", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 424 || resp.Header.Get("ms-azureml-model-error-reason") != reason || resp.Header.Get("x-request-id") == "" ||
			resp.Header.Get("Server") != "azureml-frontdoor" || resp.Header.Get("azureml-model-deployment") != "blue" ||
			(method == "PATCH") != (resp.Header.Get("Location") == "/elsewhere") {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
