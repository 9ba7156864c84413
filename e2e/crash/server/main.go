// Command server is a scoring server with one fault, which CRASH_ACT names. It
// needs nothing beside itself: it runs in an image FROM scratch as well.
package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	act := os.Getenv("CRASH_ACT")
	fmt.Println("server: act", act)
	switch act {
	case "exit":
		fmt.Fprintln(os.Stderr, "server: cannot go on: the licence file is missing")
		os.Exit(3)
	case "panic":
		panic("the tables do not match")
	case "sleep":
		fmt.Println("server: loading the model takes its time")
		time.Sleep(time.Hour)
	case "hoard":
		var hoard [][]byte
		for range 64 {
			part := make([]byte, 128<<20)
			for i := 0; i < len(part); i += 4096 {
				part[i] = 1
			}
			hoard = append(hoard, part)
			fmt.Println("server: holds MiB", len(hoard)*128)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { health(w, act != "dead") })
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) { health(w, act != "unready") })
	mux.HandleFunc("POST /score", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintln(os.Stderr, "server: score: division by zero")
		http.Error(w, "division by zero", http.StatusInternalServerError)
	})
	// In a container the port is the container's; a plain child is told its own.
	server := &http.Server{Addr: ":" + cmp.Or(os.Getenv("AMLOCAL_PORT_8080"), "8080"), Handler: mux, ReadHeaderTimeout: time.Minute}
	fmt.Println("server: ends:", server.ListenAndServe())
	os.Exit(1)
}

func health(w http.ResponseWriter, ok bool) {
	if !ok {
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}
}
