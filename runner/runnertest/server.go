// Package runnertest is what every runner.Backend must pass, a scripted
// in-process back end for tests of the Manager and of its users, and the small
// server both run.
package runnertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Variables that script the test server; they travel as Spec.Env.
const (
	// Say is printed at start, EnvExit makes it exit then with that code.
	EnvSay  = "TESTSERVER_SAY"
	EnvExit = "TESTSERVER_EXIT"
	// EnvUnready makes readiness answer 503 until POST /ready.
	EnvUnready = "TESTSERVER_UNREADY"
	// EnvReadyAfter makes readiness answer 503 for that long, e.g. 500ms.
	EnvReadyAfter = "TESTSERVER_READY_AFTER"
	// EnvMutter is printed at start without a line end.
	EnvMutter = "TESTSERVER_MUTTER"
	// EnvIgnoreTerm makes it survive SIGTERM.
	EnvIgnoreTerm = "TESTSERVER_IGNORE_TERM"
)

// SlowSize is how much POST /slow answers.
const SlowSize = 1 << 20

// Server is the test server's behaviour for one instance. Routes: GET /livez,
// GET /readyz, GET /env (JSON object), GET /file?env=NAME (content of the file
// NAME points to), POST /say (printed), POST /exit?code=N, POST /ready?ok=,
// POST /live?ok=, POST /score (answers TESTSERVER_ANSWER), POST /slow?for=
// (answers a megabyte after that time).
type Server struct {
	Env  map[string]string
	Out  io.Writer
	Exit func(code int)

	begun, unready, dead atomic.Bool
}

// Begin does what the environment scripts for the start.
func (s *Server) Begin() {
	if say := s.Env[EnvSay]; say != "" {
		fmt.Fprintln(s.Out, say)
	}
	_, _ = io.WriteString(s.Out, s.Env[EnvMutter])
	s.unready.Store(s.Env[EnvUnready] != "")
	if pause, err := time.ParseDuration(s.Env[EnvReadyAfter]); err == nil {
		s.unready.Store(true)
		time.AfterFunc(pause, func() { s.unready.Store(false) })
	}
	if code := s.Env[EnvExit]; code != "" {
		n, _ := strconv.Atoi(code)
		s.Exit(n)
		return
	}
	s.begun.Store(true)
}

// ServeHTTP answers the routes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /livez":
		health(w, s.begun.Load() && !s.dead.Load())
	case "GET /readyz":
		health(w, s.begun.Load() && !s.unready.Load())
	case "GET /env":
		_ = json.NewEncoder(w).Encode(s.Env)
	case "GET /file":
		raw, err := os.ReadFile(s.Env[r.URL.Query().Get("env")])
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(raw)
	case "POST /say":
		raw, _ := io.ReadAll(r.Body)
		fmt.Fprintln(s.Out, string(raw))
	case "POST /exit":
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		s.Exit(code)
	case "POST /ready":
		s.unready.Store(r.URL.Query().Get("ok") == "false")
	case "POST /live":
		s.dead.Store(r.URL.Query().Get("ok") == "false")
	case "POST /score":
		fmt.Fprint(w, s.Env["TESTSERVER_ANSWER"])
	case "POST /slow":
		pause, _ := time.ParseDuration(r.URL.Query().Get("for"))
		fmt.Fprintln(s.Out, "slow request begun")
		time.Sleep(pause)
		_, _ = w.Write(make([]byte, SlowSize))
	default:
		http.NotFound(w, r)
	}
}

func health(w http.ResponseWriter, ok bool) {
	if !ok {
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}
}

// Environ is os.Environ as a map.
func Environ() map[string]string {
	out := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}
