package runnertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/runner"
)

// Harness tells the suite how to make a back end and what to run on it.
type Harness struct {
	// New makes a back end with a state folder of its own; the suite closes
	// it.
	New func(t *testing.T) runner.Backend
	// Environment runs the testserver program on scoring port 8080.
	Environment runner.Environment
	// InProcess says that instances are no processes: signals are not tried.
	InProcess bool
}

// BuildServer compiles the testserver program.
func BuildServer(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "testserver")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/amlocal/amlocal/runner/runnertest/testserver").CombinedOutput()
	if err != nil {
		t.Fatalf("build testserver: %v\n%s", err, out)
	}
	return bin
}

// Output is a log that a test can wait on.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Eventually waits for a condition that must come true.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

// Run is the conformance suite.
func Run(t *testing.T, h Harness) {
	t.Run("serves, logs and is stopped", func(t *testing.T) {
		b := open(t, h)
		i, out := start(t, b, h, func(s *runner.InstanceSpec) { s.Env[EnvSay] = "first words" })
		ready(t, i)
		if got := i.Target(); got.Instance != "i1" || !strings.HasPrefix(got.URL, "http://") {
			t.Fatalf("target %+v", got)
		}
		if status, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/nowhere"}); err != nil || status != http.StatusNotFound {
			t.Fatalf("probe of an unknown path: %d %v", status, err)
		}
		post(t, i, "/say", "later words")
		Eventually(t, "both lines in the log", func() bool {
			return strings.Contains(out.String(), "first words\n") && strings.Contains(out.String(), "later words\n")
		})
		stop(t, i)
		if _, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/livez"}); err == nil {
			t.Fatal("a stopped instance still answers")
		}
		stop(t, i) // stopping twice is no error
	})
	t.Run("start outlives its context", func(t *testing.T) {
		b := open(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		i, _ := startCtx(ctx, t, b, h, nil)
		ready(t, i)
		cancel()
		if status, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/livez"}); err != nil || status != 200 {
			t.Fatalf("after cancelling the start's context: %d %v", status, err)
		}
	})
	t.Run("a crash at start is seen at once with its output", func(t *testing.T) {
		b := open(t, h)
		i, out := start(t, b, h, func(s *runner.InstanceSpec) {
			s.Env[EnvSay], s.Env[EnvExit] = "Traceback (most recent call last):", "3"
		})
		ended(t, i)
		if i.ExitCode() != 3 {
			t.Fatalf("exit code %d, want 3", i.ExitCode())
		}
		if !strings.Contains(out.String(), "Traceback") { // complete when Done is closed
			t.Fatalf("log %q", out.String())
		}
	})
	t.Run("a later exit", func(t *testing.T) {
		b := open(t, h)
		i, _ := start(t, b, h, nil)
		ready(t, i)
		resp, err := http.Post(i.Target().URL+"/exit?code=7", "", nil)
		if err == nil {
			_ = resp.Body.Close()
		}
		ended(t, i)
		if i.ExitCode() != 7 {
			t.Fatalf("exit code %d, want 7", i.ExitCode())
		}
	})
	t.Run("variables, paths and secrets", func(t *testing.T) {
		t.Setenv("AZURE_CLIENT_SECRET", "of the parent")
		t.Setenv("HTTPS_PROXY", "http://parent.invalid:1")
		t.Setenv("PYTHONPATH", "/parent")
		b := open(t, h)
		model := t.TempDir()
		if err := os.WriteFile(filepath.Join(model, "m.txt"), []byte("weights"), 0o600); err != nil {
			t.Fatal(err)
		}
		i, _ := start(t, b, h, func(s *runner.InstanceSpec) {
			s.Env["USER_SET"] = "a b=c"
			s.Mounts = []runner.Mount{{Source: model, Target: "/var/azureml-app/azureml-models/m/1"}}
			s.PathEnv = map[string]string{"MODEL_FILE": "/var/azureml-app/azureml-models/m/1/m.txt"}
			s.IdentityURLVars = []string{"MSI_ENDPOINT", "IDENTITY_ENDPOINT"}
			s.IdentitySecretVars = []string{"MSI_SECRET", "IDENTITY_HEADER"}
			s.Secret = "s-1"
		})
		ready(t, i)
		var env map[string]string
		if err := json.Unmarshal(get(t, i, "/env"), &env); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"USER_SET": "a b=c", "MSI_SECRET": "s-1", "IDENTITY_HEADER": "s-1"} {
			if env[name] != want {
				t.Errorf("%s = %q, want %q", name, env[name], want)
			}
		}
		if u := env["MSI_ENDPOINT"]; !strings.HasPrefix(u, "http://") || u != env["IDENTITY_ENDPOINT"] || strings.Contains(u, "?") {
			t.Errorf("identity URL %q, %q", u, env["IDENTITY_ENDPOINT"])
		}
		for name, value := range env {
			if strings.HasPrefix(name, "AZURE_") || strings.Contains(value, "parent") {
				t.Errorf("the parent's %s=%s leaked into the instance", name, value)
			}
		}
		if got := string(get(t, i, "/file?env=MODEL_FILE")); got != "weights" {
			t.Errorf("mounted file %q", got)
		}
	})
	t.Run("two instances do not meet", func(t *testing.T) {
		b := open(t, h)
		i1, _ := start(t, b, h, func(s *runner.InstanceSpec) { s.Env["TESTSERVER_ANSWER"] = "one" })
		i2, _ := start(t, b, h, func(s *runner.InstanceSpec) { s.Env["TESTSERVER_ANSWER"] = "two"; s.InstanceID = "i2" })
		ready(t, i1)
		ready(t, i2)
		if a, b := post(t, i1, "/score", ""), post(t, i2, "/score", ""); a != "one" || b != "two" {
			t.Fatalf("answers %q and %q", a, b)
		}
	})
	t.Run("an unknown image", func(t *testing.T) {
		b := open(t, h)
		_, err := b.Build(t.Context(), runner.Environment{Image: "missing"}, false, io.Discard)
		var f *runner.Failure
		if !errors.As(err, &f) || f.Kind != runner.ImageFailed || !strings.Contains(f.Message, "missing") {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("close ends all", func(t *testing.T) {
		b := open(t, h)
		i, _ := start(t, b, h, nil)
		ready(t, i)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		ended(t, i)
	})
	t.Run("the last words without a line end", func(t *testing.T) {
		b := open(t, h)
		i, out := start(t, b, h, func(s *runner.InstanceSpec) { s.Env[EnvMutter], s.Env[EnvExit] = "no time for more", "4" })
		ended(t, i)
		if i.ExitCode() != 4 || !strings.HasSuffix(out.String(), "no time for more") && !strings.HasSuffix(out.String(), "no time for more\n") {
			t.Fatalf("exit code %d, log %q", i.ExitCode(), out.String())
		}
	})
	runManaged(t, h)
	if h.InProcess {
		return
	}
	t.Run("stop lets a request be answered whole", func(t *testing.T) {
		b := open(t, h)
		i, out := start(t, b, h, nil)
		ready(t, i)
		answered := make(chan error, 1)
		go func() {
			resp, err := http.Post(i.Target().URL+"/slow?for=300ms", "", nil)
			if err == nil {
				var raw []byte
				raw, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err == nil && len(raw) != SlowSize {
					err = fmt.Errorf("%d of %d bytes", len(raw), SlowSize)
				}
			}
			answered <- err
		}()
		Eventually(t, "the request has begun", func() bool { return strings.Contains(out.String(), "slow request begun") })
		stop(t, i)
		if err := <-answered; err != nil {
			t.Errorf("the request under way: %v", err)
		}
		if i.ExitCode() != 0 {
			t.Errorf("exit code %d", i.ExitCode())
		}
	})
	t.Run("SIGTERM ignored is SIGKILL after the context", func(t *testing.T) {
		b := open(t, h)
		i, _ := start(t, b, h, func(s *runner.InstanceSpec) { s.Env[EnvIgnoreTerm] = "1" })
		ready(t, i)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_ = i.Stop(ctx)
		ended(t, i)
	})
}

func open(t *testing.T, h Harness) runner.Backend {
	b := h.New(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func start(t *testing.T, b runner.Backend, h Harness, change func(*runner.InstanceSpec)) (runner.Instance, *Output) {
	t.Helper()
	return startCtx(t.Context(), t, b, h, change)
}

func startCtx(ctx context.Context, t *testing.T, b runner.Backend, h Harness, change func(*runner.InstanceSpec)) (runner.Instance, *Output) {
	t.Helper()
	artifact, err := b.Build(ctx, h.Environment, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Build(ctx, h.Environment, false, io.Discard); err != nil || again != artifact {
		t.Fatalf("second build: %q %v, first %q", again, err, artifact)
	}
	out := &Output{}
	spec := runner.InstanceSpec{
		Spec: runner.Spec{
			ID: "d1", Name: "ep/d1", Revision: "r1", Instances: 1, Environment: h.Environment, Env: map[string]string{},
			Scoring: runner.Route{Port: 8080, Path: "/score"},
		},
		InstanceID: "i1", Artifact: artifact, Secret: "s", Log: out,
	}
	if change != nil {
		change(&spec)
	}
	i, err := b.Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return i, out
}

func ready(t *testing.T, i runner.Instance) {
	t.Helper()
	Eventually(t, "readiness", func() bool {
		status, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/readyz"})
		return err == nil && status == 200
	})
}

func ended(t *testing.T, i runner.Instance) {
	t.Helper()
	select {
	case <-i.Done():
	case <-time.After(time.Minute):
		t.Fatal("the instance did not end")
	}
}

func stop(t *testing.T, i runner.Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := i.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	ended(t, i)
}

func get(t *testing.T, i runner.Instance, path string) []byte {
	t.Helper()
	resp, err := http.Get(i.Target().URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET %s: %s %v %s", path, resp.Status, err, raw)
	}
	return raw
}

func post(t *testing.T, i runner.Instance, path, body string) string {
	t.Helper()
	resp, err := http.Post(i.Target().URL+path, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return string(raw)
}
