package runnertest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner"
)

// runManaged is what a user sees of a back end through a Manager.
func runManaged(t *testing.T, h Harness) {
	t.Run("replicas, and one that ends is started again", func(t *testing.T) {
		m, spec := managed(t, h)
		spec.Instances = 2
		spec.Env[EnvSay] = "begun once more"
		deploy(t, m, spec)
		targets := m.Targets(spec.ID)
		if len(targets) != 2 || targets[0].URL == targets[1].URL || targets[0].Instance == targets[1].Instance {
			t.Fatalf("targets %v", targets)
		}
		for _, target := range targets {
			if got := ask(t, target, "/score"); got != "one" {
				t.Errorf("a replica answers %q", got)
			}
		}
		_, _ = tell(targets[0], "/exit?code=9") // it has no time to answer
		Eventually(t, "it is out of rotation", func() bool {
			for _, now := range m.Targets(spec.ID) {
				if now.Instance == targets[0].Instance {
					return false
				}
			}
			return true
		})
		if got := ask(t, targets[1], "/score"); got != "one" {
			t.Errorf("the other replica answers %q", got)
		}
		Eventually(t, "two replicas again", func() bool { return len(m.Targets(spec.ID)) == 2 })
		for _, now := range m.Targets(spec.ID) {
			if now.Instance == targets[0].Instance {
				t.Error("the replica has its old name")
			}
		}
		restarts := 0
		for _, i := range m.Status()[0].Instances {
			restarts += i.Restarts
		}
		if restarts != 1 {
			t.Errorf("%d restarts", restarts)
		}
		if log := m.Logs(spec.ID, runner.InferenceServer, 0); !strings.Contains(log, "it exited with code 9; it is restarted in ") {
			t.Errorf("the log does not tell:\n%s", log)
		}
		Eventually(t, "all three have said so", func() bool { // a program's output comes behind its answers
			return strings.Count(m.Logs(spec.ID, runner.InferenceServer, 0), "begun once more\n") == 3
		})
	})
	t.Run("one that ends again and again is given longer pauses", func(t *testing.T) {
		m, spec := managed(t, h)
		deploy(t, m, spec)
		for range 2 {
			var target []runner.Target
			Eventually(t, "it is ready", func() bool { target = m.Targets(spec.ID); return len(target) == 1 })
			_, _ = tell(target[0], "/exit?code=1")
			Eventually(t, "it has ended", func() bool {
				now := m.Targets(spec.ID)
				return len(now) == 0 || now[0].Instance != target[0].Instance
			})
		}
		Eventually(t, "the pauses are in the log", func() bool {
			log := m.Logs(spec.ID, runner.InferenceServer, 0)
			return strings.Contains(log, "restarted in 20ms") && strings.Contains(log, "restarted in 40ms")
		})
	})
	t.Run("an update serves without a gap", func(t *testing.T) {
		m, spec := managed(t, h)
		deploy(t, m, spec)
		next := spec
		next.Revision, next.Env = "r2", map[string]string{"TESTSERVER_ANSWER": "two", EnvReadyAfter: "1s"}
		updated := make(chan error, 1)
		go func() { updated <- m.Deploy(t.Context(), next) }()
		seen := map[string]int{}
		for done := false; !done || seen["two"] == 0; {
			select {
			case err := <-updated:
				if err != nil {
					t.Fatal(err)
				}
				done = true
			default:
			}
			chosen := time.Now()
			targets := m.Targets(spec.ID)
			if len(targets) != 1 {
				t.Fatalf("targets %v", targets)
			}
			got, err := tell(targets[0], "/score")
			if err != nil && time.Since(chosen) > time.Second/2 {
				continue // a replaced revision has a second for those who chose it
			}
			if err != nil {
				t.Fatalf("after %v: %v", seen, err)
			}
			if seen[got]++; got == "one" && seen["two"] > 0 {
				t.Fatal("the old revision serves after the new one")
			}
		}
		if seen["one"] == 0 {
			t.Error("the old revision did not serve meanwhile")
		}
	})
	t.Run("an update that fails changes nothing", func(t *testing.T) {
		m, spec := managed(t, h)
		deploy(t, m, spec)
		before := m.Targets(spec.ID)[0]
		next := spec
		next.Revision, next.Env = "r2", map[string]string{EnvSay: "cannot go on", EnvExit: "5"}
		err := m.Deploy(t.Context(), next)
		var f *runner.Failure
		if !errors.As(err, &f) || f.Kind != runner.Crashed || !strings.Contains(f.Message, "exited with code 5") || !strings.Contains(f.Log, "cannot go on") {
			t.Fatalf("the update: %v", err)
		}
		if now := m.Targets(spec.ID); len(now) != 1 || now[0] != before {
			t.Fatalf("targets %v, before %v", now, before)
		}
		if got := ask(t, before, "/score"); got != "one" {
			t.Errorf("the old revision answers %q", got)
		}
	})
	t.Run("one that never gets ready is ended", func(t *testing.T) {
		m, spec := managed(t, h)
		spec.Env[EnvUnready] = "1"
		// On a busy machine a second may be over before it answers at all.
		for patience := time.Second; ; patience *= 2 {
			spec.Readiness.FailureThreshold, spec.Readiness.InitialDelay, spec.Readiness.Period = 1, patience, patience
			err := m.Deploy(t.Context(), spec)
			var f *runner.Failure
			if !errors.As(err, &f) || f.Kind != runner.NotReady {
				t.Fatalf("%v", err)
			}
			if strings.Contains(f.Message, "status 503") {
				break
			}
			if patience > 30*time.Second {
				t.Fatalf("%v", err)
			}
		}
		if s := m.Status(); len(s) != 1 || len(s[0].Instances) != 0 || len(m.Targets(spec.ID)) != 0 {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("removed", func(t *testing.T) {
		m, spec := managed(t, h)
		deploy(t, m, spec)
		target := m.Targets(spec.ID)[0]
		if err := m.Remove(t.Context(), spec.ID); err != nil {
			t.Fatal(err)
		}
		if got, err := tell(target, "/score"); err == nil {
			t.Errorf("it still answers %q", got)
		}
		if len(m.Status()) != 0 || m.Logs(spec.ID, runner.InferenceServer, 0) != "" {
			t.Error("it is still known")
		}
	})
}

// managed is a Manager on a fresh back end, and a Spec it can run.
func managed(t *testing.T, h Harness) (*runner.Manager, runner.Spec) {
	t.Helper()
	m, err := runner.NewManager(runner.Deps{
		Backend: h.New(t), Clock: clock.System{}, Dir: t.TempDir(), Logf: t.Logf,
		RestartMin: 20 * time.Millisecond, RestartMax: 20 * time.Second, Drain: 5 * time.Second, StopGrace: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil { // the back end with it
			t.Errorf("close: %v", err)
		}
	})
	probe := func(path string) runner.Probe {
		return runner.Probe{Route: runner.Route{Port: 8080, Path: path}, InitialDelay: time.Second, Period: 100 * time.Millisecond, Timeout: 5 * time.Second, FailureThreshold: 600}
	}
	return m, runner.Spec{
		ID: "/managed/d1", Name: "ep/d1", Revision: "r1", Instances: 1, Environment: h.Environment, Env: map[string]string{"TESTSERVER_ANSWER": "one"},
		Scoring: runner.Route{Port: 8080, Path: "/score"}, Liveness: probe("/livez"), Readiness: probe("/readyz"),
	}
}

func deploy(t *testing.T, m *runner.Manager, spec runner.Spec) {
	t.Helper()
	if err := m.Deploy(t.Context(), spec); err != nil {
		t.Fatalf("%v\n%s", err, m.Logs(spec.ID, runner.InferenceServer, 0))
	}
}

// tell posts on a connection of its own.
func tell(target runner.Target, path string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Post(target.URL+path, "", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, raw)
	}
	return string(raw), err
}

func ask(t *testing.T, target runner.Target, path string) string {
	t.Helper()
	got, err := tell(target, path)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
