package amlocal

import (
	"testing"
	"time"
)

// start makes an ephemeral emulator that ends with the test. Sabotage of the
// surrounding run reaches it.
func start(t *testing.T, change func(*Config)) *Emulator {
	t.Helper()
	cfg := Config{Ephemeral: true, CADir: t.TempDir(), SandboxAgent: "/proc/self/exe", Logf: t.Logf, sabotage: surroundingSabotage(t)}
	if change != nil {
		change(&cfg)
	}
	e, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeEmulator(t, e) })
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func closeEmulator(t *testing.T, e *Emulator) {
	t.Helper()
	ctx, cancel := contextWithTimeout(time.Minute)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Error(err)
	}
}
