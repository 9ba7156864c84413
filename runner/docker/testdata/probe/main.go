// Command probe is a server that looks around from inside a container when it
// is asked to. It uses the standard library only, as any Go program would.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	// /get?url=&secret= fetches a URL with the default trust.
	mux.HandleFunc("GET /get", func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.Query().Get("url"), nil)
		if err != nil {
			fmt.Fprintf(w, "error: %v", err)
			return
		}
		if secret := r.URL.Query().Get("secret"); secret != "" {
			req.Header.Set("secret", secret)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Fprintf(w, "error: %v", err)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // a test
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			fmt.Fprintf(w, "error: %v", err)
			return
		}
		fmt.Fprintf(w, "%d %s", resp.StatusCode, body)
	})
	// /dial?to= tells whether a TCP connection can be made, /untrusting?to=
	// begins a TLS handshake that trusts nobody.
	mux.HandleFunc("GET /dial", func(w http.ResponseWriter, r *http.Request) {
		c, err := net.DialTimeout("tcp", r.URL.Query().Get("to"), 1500*time.Millisecond)
		var slow net.Error
		switch {
		case err == nil:
			_ = c.Close()
			fmt.Fprint(w, "connected")
		case errors.As(err, &slow) && slow.Timeout():
			fmt.Fprint(w, "blocked: time-out")
		default:
			fmt.Fprintf(w, "blocked: %v", err)
		}
	})
	mux.HandleFunc("GET /untrusting", func(w http.ResponseWriter, r *http.Request) {
		_, err := tls.Dial("tcp", r.URL.Query().Get("to"), &tls.Config{RootCAs: nil, MinVersion: tls.VersionTLS12, ServerName: "x.invalid"})
		fmt.Fprint(w, err)
	})
	mux.HandleFunc("GET /resolve", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.URL.Query().Get("name"))
		fmt.Fprint(w, addresses, " ", err)
	})
	// /file?name= and /write?name= show what the file system allows.
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		raw, err := os.ReadFile(r.URL.Query().Get("name"))
		if err != nil {
			fmt.Fprintf(w, "error: %v", err)
			return
		}
		_, _ = w.Write(raw)
	})
	mux.HandleFunc("GET /write", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, os.WriteFile(r.URL.Query().Get("name"), []byte("x"), 0o600))
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.URL.Query().Get("name"))) })
	mux.HandleFunc("GET /eat", func(http.ResponseWriter, *http.Request) {
		var kept [][]byte
		for {
			page := make([]byte, 1<<20)
			for i := range page {
				page[i] = 1
			}
			kept = append(kept, page)
		}
	})
	fmt.Println("probe listens")
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], mux)) //nolint:gosec // a test
	os.Exit(1)
}
