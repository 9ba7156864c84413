package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/amlocal/amlocal"
)

// program and scorer are the binaries as `make build` makes them.
var program, scorer string

// instanceEnv makes this test binary act as a deployment's server.
const instanceEnv = "E2E_INSTANCE"

func TestMain(m *testing.M) {
	if os.Getenv(instanceEnv) != "" {
		fmt.Fprintln(os.Stderr, serveAsInstance())
		os.Exit(1)
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "amlocal-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, scorer = filepath.Join(dir, "amlocal"), filepath.Join(dir, "goscorer")
	for binary, source := range map[string]string{program: "../cmd/emulator", scorer: "../scenarios/goscorer"} {
		build := exec.Command("go", "build", "-o", binary, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // or no container could run it
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build %s: %w\n%s", source, err, out)
		}
	}
	return m.Run(), nil
}

// site is a home and a state folder for one emulator after another.
type site struct {
	t     *testing.T
	home  string
	state string
	extra []string // environment of its processes, beside the home

	proxy atomic.Pointer[url.URL] // where the running one listens
	http  *http.Client            // goes there, and trusts its CA
	trust sync.Once
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, home: t.TempDir()}
	s.state = filepath.Join(s.home, "state")
	if err := os.Mkdir(filepath.Join(s.home, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := s.run("down"); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
		// The emulator's own process ends a moment after it said so.
		for end := time.Now().Add(time.Minute); len(s.processes()) > 0 && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
		for _, pid := range s.processes() {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Errorf("process %d is left after down: %q", pid, line)
		}
	})
	return s
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, append(args, "--state", s.state)...)
	cmd.Dir = s.home
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "TMPDIR=" + filepath.Join(s.home, "tmp")}, s.extra...)
	return cmd
}

// run runs a command of the program to its end.
func (s *site) run(args ...string) (string, error) {
	out, err := s.command(args...).CombinedOutput()
	return string(out), err
}

// running is one emulator process in the foreground.
type running struct {
	*exec.Cmd
	site  *site
	log   *bytes.Buffer
	up    chan bool // true: it is up, false: it ended before
	ended chan error
}

// begin starts an emulator and does not wait for it.
func (s *site) begin(args ...string) *running {
	s.t.Helper()
	r := &running{Cmd: s.command(append([]string{"up", "--port", "0", "--runner", "process"}, args...)...), site: s, log: new(bytes.Buffer), up: make(chan bool, 2), ended: make(chan error, 1)}
	out, err := r.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	r.Stderr = r.log
	if err := r.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "amlocal is up") {
				r.up <- true
			}
		}
		r.up <- false
		_, _ = io.Copy(io.Discard, out)
		r.ended <- r.Wait()
	}()
	return r
}

// start starts an emulator and waits until it serves.
func (s *site) start(args ...string) *running {
	s.t.Helper()
	r := s.begin(args...)
	if !<-r.up {
		s.t.Fatalf("the emulator did not start: %v\n%s", <-r.ended, r.log)
	}
	s.follow()
	return r
}

// follow has clients go to the emulator that runs now.
func (s *site) follow() {
	s.t.Helper()
	a := s.access()
	proxy, err := url.Parse(a.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	s.proxy.Store(proxy)
	s.trust.Do(func() { s.http = s.client(a) })
	s.http.CloseIdleConnections()
}

func (s *site) access() amlocal.Access {
	s.t.Helper()
	a, err := amlocal.ReadAccess(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// client follows the emulator from one port to the next.
func (s *site) client(a amlocal.Access) *http.Client {
	s.t.Helper()
	bundle, err := os.ReadFile(a.Bundle)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		s.t.Fatal("the bundle holds no certificate")
	}
	transport := &http.Transport{
		Proxy:           func(*http.Request) (*url.URL, error) { return s.proxy.Load(), nil },
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4,
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * time.Minute}
}

// kill ends the emulator as `kill -9` does.
func (r *running) kill() {
	r.site.t.Helper()
	if err := r.Process.Kill(); err != nil {
		r.site.t.Fatal(err)
	}
	if err := <-r.ended; err == nil {
		r.site.t.Fatal("it was killed and yet ended by itself")
	}
}

// stop ends it with a signal it may heed, and wants exit code 0.
func (r *running) stop() {
	r.site.t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		r.site.t.Fatal(err)
	}
	if err := <-r.ended; err != nil {
		r.site.t.Errorf("after SIGTERM: %v\n%s", err, r.log)
	}
}

// processes are those of this site, instances among them: each names the
// site's folder in its environment.
func (s *site) processes() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(env, []byte(s.home+"/")) {
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// goneSoon waits for the end of a process: what is ended in the background.
func goneSoon(pid int) bool {
	for end := time.Now().Add(time.Minute); alive(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// alive says whether a process is there and not only unreaped.
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}
