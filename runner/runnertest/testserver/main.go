// Command testserver is the program that runner.Backend implementations start
// in the conformance suite: testserver ADDRESS. Asked to end, it finishes the
// requests that are under way.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/amlocal/amlocal/runner/runnertest"
)

func main() {
	s := &runnertest.Server{Env: runnertest.Environ(), Out: os.Stdout, Exit: os.Exit}
	server := &http.Server{Addr: os.Args[1], Handler: s, ReadHeaderTimeout: time.Minute}
	if s.Env[runnertest.EnvIgnoreTerm] != "" {
		signal.Ignore(syscall.SIGTERM)
		s.Begin()
		log.Fatal(server.ListenAndServe())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	}()
	s.Begin()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-drained
}
