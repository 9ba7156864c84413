package runner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/runnertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { http.DefaultClient.CloseIdleConnections() }),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

func manager(t *testing.T, b runner.Backend, dir string) *runner.Manager {
	t.Helper()
	m, err := runner.NewManager(runner.Deps{
		Backend: b, Clock: clock.System{}, Dir: dir, Logf: t.Logf,
		RestartMin: time.Millisecond, RestartMax: 20 * time.Millisecond, Drain: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

func spec(change func(*runner.Spec)) runner.Spec {
	quick := runner.Probe{
		InitialDelay: time.Millisecond, Period: 10 * time.Millisecond, Timeout: time.Minute, SuccessThreshold: 1, FailureThreshold: 3000,
	}
	s := runner.Spec{
		ID: "/deployments/blue", Name: "ep/blue", Revision: "r1", Instances: 1,
		Environment: runner.Environment{Image: "any"}, Env: map[string]string{"TESTSERVER_ANSWER": "one"},
		IdentitySecretVars: []string{"MSI_SECRET"}, IdentityURLVars: []string{"MSI_ENDPOINT"},
		Scoring: runner.Route{Port: 8080, Path: "/score"}, Liveness: quick, Readiness: quick,
	}
	s.Liveness.Route, s.Readiness.Route = runner.Route{Port: 8080, Path: "/livez"}, runner.Route{Port: 8080, Path: "/readyz"}
	if change != nil {
		change(&s)
	}
	return s
}

func failure(t *testing.T, err error, kind runner.FailureKind) *runner.Failure {
	t.Helper()
	var f *runner.Failure
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("error %v, want a %s failure", err, kind)
	}
	return f
}

func answer(t *testing.T, m *runner.Manager, id string) string {
	t.Helper()
	targets := m.Targets(id)
	if len(targets) == 0 {
		return "no target"
	}
	resp, err := http.Post(targets[0].URL+"/score", "text/plain", nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return string(raw)
}

func TestDeployServesLogsAndRemoves(t *testing.T) {
	covers.R(t, "R-503", "R-605", "R-606")
	fake := &runnertest.Fake{}
	secrets := make(chan string, 1)
	fake.OnStart = func(_ int, env map[string]string) error { secrets <- env["MSI_SECRET"]; return nil }
	m := manager(t, fake, t.TempDir())
	s := spec(func(s *runner.Spec) { s.Env[runnertest.EnvSay] = "Init complete" })
	fmt.Fprintln(m.Log(s.ID, runner.StorageInitializer), "downloading model")
	if err := m.Deploy(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, m, s.ID); got != "one" {
		t.Fatalf("answer %q", got)
	}
	secret := <-secrets
	if len(secret) != 64 {
		t.Errorf("secret of %d characters", len(secret))
	}
	if id, ok := m.Owner(secret); !ok || id != s.ID {
		t.Errorf("owner %q %v", id, ok)
	}
	if _, ok := m.Owner("guess"); ok {
		t.Error("a guessed secret has an owner")
	}
	if m.Name(s.ID) != "ep/blue" {
		t.Errorf("name %q", m.Name(s.ID))
	}
	runnertest.Eventually(t, "init line", func() bool {
		return strings.Contains(m.Logs(s.ID, runner.InferenceServer, 10), "Init complete\n")
	})
	initializer := m.Logs(s.ID, runner.StorageInitializer, 0)
	if !strings.Contains(initializer, "I - downloading model\n") || !strings.Contains(initializer, "building any\n") {
		t.Errorf("storage-initializer log %q", initializer)
	}
	if st := m.Status(); len(st) != 1 || st[0].State != "running" || len(st[0].Instances) != 1 || !st[0].Instances[0].Ready {
		t.Errorf("status %+v", st)
	}
	if err := m.Remove(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if fake.Running() != 0 || len(m.Targets(s.ID)) != 0 || m.Logs(s.ID, runner.InferenceServer, 0) != "" || m.Name(s.ID) != "" {
		t.Error("something of the removed deployment is left")
	}
	if _, ok := m.Owner(secret); ok {
		t.Error("the secret of a removed instance still has an owner")
	}
}

func TestCrashInStartFailsAtOnceWithTraceback(t *testing.T) {
	covers.R(t, "R-1035", "R-1033")
	fake := &runnertest.Fake{}
	dir := t.TempDir()
	m := manager(t, fake, dir)
	s := spec(func(s *runner.Spec) {
		s.Liveness.InitialDelay, s.Readiness.InitialDelay = time.Hour, time.Hour // would wait for ever
		s.Env[runnertest.EnvExit] = "3"
		s.Env[runnertest.EnvSay] = "banner\nUser's init function failed\nTraceback (most recent call last):\n  File \"score.py\"\nValueError: boom"
	})
	f := failure(t, m.Deploy(t.Context(), s), runner.Crashed)
	if !strings.HasPrefix(f.Log, "User's init function failed\nTraceback") || !strings.HasSuffix(f.Log, "ValueError: boom") {
		t.Errorf("log of the failure: %q", f.Log)
	}
	if !strings.Contains(f.Message, "code 3") {
		t.Errorf("message %q", f.Message)
	}
	if fake.Running() != 0 || len(m.Targets(s.ID)) != 0 {
		t.Error("something is left running")
	}
	if got := m.Status()[0].State; got != "failed" {
		t.Errorf("state %q", got)
	}
	if !strings.Contains(m.Logs(s.ID, runner.InferenceServer, 0), "ValueError: boom") {
		t.Error("the log of a failed deployment is gone")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	next := manager(t, &runnertest.Fake{}, dir) // the emulator starts again
	if !strings.Contains(next.Logs(s.ID, runner.InferenceServer, 2), "ValueError: boom") || next.Name(s.ID) != "ep/blue" {
		t.Error("the log did not survive the restart")
	}
}

func TestFailures(t *testing.T) {
	covers.R(t, "R-1034")
	for name, c := range map[string]struct {
		change func(*runner.Spec)
		kind   runner.FailureKind
		text   string
	}{
		"image":     {func(s *runner.Spec) { s.Environment.Image = "missing" }, runner.ImageFailed, "missing"},
		"readiness": {func(s *runner.Spec) { s.Env[runnertest.EnvUnready] = "1"; s.Readiness.FailureThreshold = 3 }, runner.NotReady, "readiness probe of ep/blue, GET port 8080 /readyz"},
		"liveness":  {func(s *runner.Spec) { s.Liveness.Route.Path = "/none"; s.Liveness.FailureThreshold = 3 }, runner.NotReady, "status 404"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &runnertest.Fake{}
			m := manager(t, fake, t.TempDir())
			f := failure(t, m.Deploy(t.Context(), spec(c.change)), c.kind)
			if !strings.Contains(f.Message, c.text) {
				t.Errorf("message %q, want %q in it", f.Message, c.text)
			}
			if fake.Running() != 0 {
				t.Error("something is left running")
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	fake := &runnertest.Fake{}
	m := manager(t, fake, t.TempDir())
	first := spec(nil)
	if err := m.Deploy(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	bad := spec(func(s *runner.Spec) { s.Revision = "r2"; s.Env[runnertest.EnvExit] = "1" })
	_ = failure(t, m.Deploy(t.Context(), bad), runner.Crashed)
	if got := answer(t, m, first.ID); got != "one" {
		t.Fatalf("after a failed update: %q", got)
	}
	good := spec(func(s *runner.Spec) { s.Revision = "r3"; s.Instances = 2; s.Env["TESTSERVER_ANSWER"] = "three" })
	if err := m.Deploy(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, m, first.ID); got != "three" || len(m.Targets(first.ID)) != 2 {
		t.Fatalf("after the update: %q, %d targets", got, len(m.Targets(first.ID)))
	}
	runnertest.Eventually(t, "the old revision ends", func() bool { return fake.Running() == 2 })
}

// TestRequestsUnderWay: instances are ended after their requests, and a removed
// deployment's can still be chosen by what waits for one.
func TestRequestsUnderWay(t *testing.T) {
	fake := &runnertest.Fake{}
	asked, answered := make(chan []runner.Target), make(chan struct{})
	m, err := runner.NewManager(runner.Deps{
		Backend: fake, Clock: clock.System{}, Dir: t.TempDir(), Logf: t.Logf,
		Quiet: func(ctx context.Context, id string, targets []runner.Target) error {
			if id != spec(nil).ID {
				t.Errorf("quiet of %s", id)
			}
			asked <- targets
			<-answered
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // nothing runs any more
	if err := m.Deploy(t.Context(), spec(nil)); err != nil {
		t.Fatal(err)
	}
	old := m.Targets(spec(nil).ID)
	if err := m.Deploy(t.Context(), spec(func(s *runner.Spec) { s.Revision = "r2" })); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; len(got) != 1 || got[0] != old[0] {
		t.Errorf("the replaced instances are %v, want %v", got, old)
	}
	if n := fake.Running(); n != 2 {
		t.Errorf("%d instances run, want the replaced one with its request and the new one", n)
	}
	answered <- struct{}{}
	runnertest.Eventually(t, "the old revision ends", func() bool { return fake.Running() == 1 })

	removed := make(chan error, 1)
	go func() { removed <- m.Remove(t.Context(), spec(nil).ID) }()
	if got := <-asked; got != nil {
		t.Errorf("asked about %v only", got)
	}
	if fake.Running() != 1 || len(m.Targets(spec(nil).ID)) != 1 {
		t.Error("the instance went before its requests")
	}
	answered <- struct{}{}
	if err := <-removed; err != nil || fake.Running() != 0 || len(m.Targets(spec(nil).ID)) != 0 {
		t.Errorf("removed: %v, %d instances run", err, fake.Running())
	}
}

func TestSupervision(t *testing.T) {
	fake := &runnertest.Fake{}
	m := manager(t, fake, t.TempDir())
	s := spec(func(s *runner.Spec) { s.Liveness.FailureThreshold, s.Readiness.FailureThreshold = 2, 2 })
	s.Liveness.InitialDelay, s.Readiness.InitialDelay = 10*time.Second, 10*time.Second
	if err := m.Deploy(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	call := func(path string) {
		if targets := m.Targets(s.ID); len(targets) == 1 {
			if resp, err := http.Post(targets[0].URL+path, "", nil); err == nil {
				_ = resp.Body.Close()
			}
		}
	}
	first := m.Targets(s.ID)[0]
	call("/exit?code=1")
	runnertest.Eventually(t, "restart after an exit", func() bool {
		got := m.Targets(s.ID)
		return len(got) == 1 && got[0].Instance != first.Instance
	})
	second := m.Targets(s.ID)[0]
	call("/live?ok=false")
	runnertest.Eventually(t, "restart after liveness failures", func() bool {
		got := m.Targets(s.ID)
		return len(got) == 1 && got[0].Instance != second.Instance
	})
	url := m.Targets(s.ID)[0].URL
	call("/ready?ok=false")
	runnertest.Eventually(t, "unready instance out of the targets", func() bool { return len(m.Targets(s.ID)) == 0 })
	if resp, err := http.Post(url+"/ready?ok=true", "", nil); err == nil {
		_ = resp.Body.Close()
	}
	runnertest.Eventually(t, "and back", func() bool { return len(m.Targets(s.ID)) == 1 })
	if got := m.Status()[0].Instances[0].Restarts; got != 2 {
		t.Errorf("%d restarts, want 2", got)
	}
	if log := m.Logs(s.ID, runner.InferenceServer, 0); !strings.Contains(log, "it exited with code 1; it is restarted") {
		t.Errorf("log %q", log)
	}
}

func TestCancellation(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *runner.Manager, context.CancelFunc, string){
		"caller": func(_ *testing.T, _ *runner.Manager, cancel context.CancelFunc, _ string) { cancel() },
		"remove": func(t *testing.T, m *runner.Manager, _ context.CancelFunc, id string) {
			if err := m.Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
		},
		"close": func(t *testing.T, m *runner.Manager, _ context.CancelFunc, _ string) {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		},
		"replace": func(t *testing.T, m *runner.Manager, _ context.CancelFunc, _ string) {
			if err := m.Deploy(t.Context(), spec(func(s *runner.Spec) { s.Revision = "r2" })); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &runnertest.Fake{}
			m := manager(t, fake, t.TempDir())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := spec(func(s *runner.Spec) { s.Env[runnertest.EnvUnready] = "1"; s.Readiness.InitialDelay = time.Hour })
			got := make(chan error, 1)
			go func() { got <- m.Deploy(ctx, s) }()
			runnertest.Eventually(t, "start", func() bool { return fake.Running() == 1 })
			end(t, m, cancel, s.ID)
			_ = failure(t, <-got, runner.Canceled)
			want := 0
			if name == "replace" {
				want = 1
			}
			runnertest.Eventually(t, "nothing left", func() bool { return fake.Running() == want })
		})
	}
}

func TestLogTailAndFollow(t *testing.T) {
	covers.R(t, "R-605")
	m := manager(t, &runnertest.Fake{}, t.TempDir())
	w := m.Log("id", runner.StorageInitializer)
	for i := range 10_050 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	_, _ = w.Write([]byte("half "))
	if got := strings.Count(m.Logs("id", runner.StorageInitializer, 0), "\n"); got != 10_000 {
		t.Errorf("%d lines kept", got)
	}
	if got := m.Logs("id", runner.StorageInitializer, 2); !strings.Contains(got, "line 10048\n") || strings.Contains(got, "10047") {
		t.Errorf("tail %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got bytes.Buffer
	for line := range m.Follow(ctx, "id", runner.StorageInitializer, 1) {
		if got.Len() == 0 {
			_, _ = w.Write([]byte("and whole\r\nbad \xff byte\n"))
		}
		got.WriteString(line[len("2006-01-02 15:04:05,000 I - "):] + "|")
		if strings.Contains(line, "bad") {
			break
		}
	}
	if got.String() != "line 10049|half and whole|bad \uFFFD byte|" {
		t.Errorf("followed %q", got.String())
	}
}
