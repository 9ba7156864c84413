// Command testserver is the program that runner.Backend implementations start
// in the conformance suite: testserver ADDRESS.
package main

import (
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/amlocal/amlocal/runner/runnertest"
)

func main() {
	s := &runnertest.Server{Env: runnertest.Environ(), Out: os.Stdout, Exit: os.Exit}
	if s.Env[runnertest.EnvIgnoreTerm] != "" {
		signal.Ignore(syscall.SIGTERM)
	}
	s.Begin()
	log.Fatal(http.ListenAndServe(os.Args[1], s))
}
