package httpx_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/amlocal/amlocal/internal/httpx"
)

func TestFullDuplexKeepsTheConnection(t *testing.T) {
	server := httptest.NewUnstartedServer(httpx.FullDuplex(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/half":
			_, _ = io.CopyN(io.Discard, r.Body, 1)
		case "/all":
			_, _ = io.Copy(io.Discard, r.Body)
		}
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "answer")
	})))
	var connections atomic.Int32
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	for i := range 300 {
		for _, path := range []string{"/none", "/half", "/all"} {
			for _, size := range []int{0, 2, 100 << 10} {
				resp, err := server.Client().Post(server.URL+path, "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err != nil {
					t.Fatalf("round %d, %s with %d bytes: %v", i, path, size, err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != "answer" {
					t.Fatalf("round %d, %s with %d bytes: %q %v", i, path, size, body, err)
				}
			}
		}
	}
	// The client itself gives a connection up when the answer overtakes the end
	// of its writing; that is rare.
	if n := connections.Load(); n > 27 {
		t.Errorf("%d connections for 2700 requests", n)
	}
}

func TestFullDuplexAnswersBeforeTheBodyEnds(t *testing.T) {
	server := httptest.NewServer(httpx.FullDuplex(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "answer")
	})))
	defer server.Close()
	body, sender := io.Pipe()
	go func() { _, _ = sender.Write([]byte("first part")) }()
	resp, err := server.Client().Post(server.URL, "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "answer" {
		t.Errorf("%q %v", got, err)
	}
	_ = sender.Close()
	_ = resp.Body.Close()
}
