package runner_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/runnertest"
)

// adopter is a Fake that an earlier process left instances to.
type adopter struct {
	runnertest.Fake
	fail error

	mu       sync.Mutex
	orphans  []runner.Orphan
	adopted  []runner.InstanceSpec
	disowned []string
}

func (a *adopter) Inherit(context.Context, map[string]string) error { return nil }

func (a *adopter) Orphans(runner.Spec, string) []runner.Orphan { return a.orphans }

func (a *adopter) Adopt(ctx context.Context, spec runner.InstanceSpec) (runner.Instance, error) {
	a.mu.Lock()
	a.adopted = append(a.adopted, spec)
	a.mu.Unlock()
	if a.fail != nil {
		return nil, a.fail
	}
	_, _ = spec.Log.Write([]byte("said meanwhile\n"))
	return a.Start(ctx, spec)
}

func (a *adopter) Disown(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.disowned = append(a.disowned, id)
}

func TestAdoption(t *testing.T) {
	two := spec(func(s *runner.Spec) { s.Instances = 2 })
	id := two.ID
	t.Run("as many as there are replicas", func(t *testing.T) {
		b := &adopter{orphans: []runner.Orphan{
			{ID: "gone", Ended: true, Output: "last words\n"}, {ID: "a", Secret: "secret of a"}, {ID: "b", Secret: "secret of b"}, {ID: "c", Secret: "secret of c"},
		}}
		m := manager(t, b, t.TempDir())
		if err := m.Deploy(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if len(b.adopted) != 2 || len(m.Targets(id)) != 2 {
			t.Errorf("%d adopted, %d targets", len(b.adopted), len(m.Targets(id)))
		}
		for secret, want := range map[string]bool{"secret of a": true, "secret of b": true, "secret of c": false} {
			if _, ok := m.Owner(secret); ok != want {
				t.Errorf("%s is known: %v", secret, ok)
			}
		}
		log := m.Logs(id, runner.InferenceServer, 0)
		for _, text := range []string{"last words\n", "instance gone of ep/blue ended while the emulator was away", "said meanwhile\n", "instance a of ep/blue goes on"} {
			if !strings.Contains(log, text) {
				t.Errorf("the log lacks %q:\n%s", text, log)
			}
		}
		if len(b.disowned) == 0 {
			t.Error("what was not adopted is not ended")
		}
		if err := m.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Owner("secret of a"); ok {
			t.Error("the secret of a removed instance is still known")
		}
	})
	t.Run("a new one where that fails", func(t *testing.T) {
		b := &adopter{orphans: []runner.Orphan{{ID: "a", Secret: "secret of a"}}, fail: errors.New("it has gone")}
		m := manager(t, b, t.TempDir())
		if err := m.Deploy(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Owner("secret of a"); ok || len(m.Targets(id)) != 2 {
			t.Errorf("secret known: %v; %d targets", ok, len(m.Targets(id)))
		}
		if log := m.Logs(id, runner.InferenceServer, 0); !strings.Contains(log, "cannot be taken over, a new one is started: it has gone") {
			t.Errorf("the log does not say so:\n%s", log)
		}
	})
}
