package docker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/runnertest"
)

func eventually(t *testing.T, i runner.Instance, what, want, path string, query ...string) {
	t.Helper()
	runnertest.Eventually(t, what, func() bool {
		// The probe, for the loopback URL may fail meanwhile.
		status, err := i.Probe(t.Context(), runner.Route{Port: 8080, Path: "/readyz"})
		return err == nil && status == 200
	})
	if got := ask(t, i, path, query...); got != want {
		t.Errorf("%s: %s", what, got)
	}
}

// TestAgentLost ends the agent in every way it can end.
func TestAgentLost(t *testing.T) {
	w := newWorld(t, nil)
	importProgram(t, probeImage, "probe", `["/probe", ":8080"]`)
	t.Cleanup(func() { _ = w.Close(); nothingLeft(t, w.cfg) })
	i, _ := w.run(t, probeImage, nil)
	blob := []string{"url", "https://" + blobHost + "/"}
	want := "200 hello from " + blobHost
	eventually(t, i, "at first", want, "/get", blob...)

	lost := func() <-chan struct{} { return w.agent.live().ended() }
	for name, end := range map[string]func(ctx context.Context, id string) error{
		"killed":  func(ctx context.Context, id string) error { return w.eng.signal(ctx, id, "SIGKILL") },
		"asked":   func(ctx context.Context, id string) error { return w.eng.signal(ctx, id, "SIGTERM") },
		"removed": w.eng.remove,
	} {
		ended := lost()
		if err := end(t.Context(), w.thing("agent")); err != nil {
			t.Fatal(err)
		}
		<-ended
		eventually(t, i, "after it was "+name, want, "/get", blob...)
	}
}

// TestNextEmulator leaves everything as a killed emulator does.
func TestNextEmulator(t *testing.T) {
	first := newWorld(t, nil)
	stranger := newWorld(t, nil)
	importProgram(t, probeImage, "probe", `["/probe", ":8080"]`)
	t.Cleanup(func() { _ = stranger.Close(); nothingLeft(t, stranger.cfg) })
	left, _ := first.run(t, probeImage, nil)
	other, _ := stranger.run(t, probeImage, nil)
	agent := first.agent.record.Container
	// What a kill does to the connections, and it brings no agent back.
	first.agent.mu.Lock()
	first.agent.closed = true
	first.agent.mu.Unlock()
	first.agent.live().close()

	next := newWorld(t, func(c *Config) {
		c.StateUUID, c.StateDir = first.cfg.StateUUID, first.cfg.StateDir
	})
	t.Cleanup(func() { _ = next.Close(); nothingLeft(t, next.cfg) })
	if err := next.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left.Done():
	case <-time.After(time.Minute):
		t.Fatal("an instance outlived the sweep")
	}
	i, _ := next.run(t, probeImage, nil)
	if got := ask(t, i, "/get", "url", "https://"+blobHost+"/"); got != "200 hello from "+blobHost {
		t.Error(got)
	}
	if next.agent.record.Container != agent {
		t.Error("the agent was made anew")
	}
	if got := ask(t, other, "/get", "url", "https://"+blobHost+"/"); got != "200 hello from "+blobHost {
		t.Errorf("another state folder's instance: %s", got)
	}
}

// TestOutOfMemory eats more than the instance type has.
func TestOutOfMemory(t *testing.T) {
	w := newWorld(t, nil)
	importProgram(t, probeImage, "probe", `["/probe", ":8080"]`)
	t.Cleanup(func() { _ = w.Close(); nothingLeft(t, w.cfg) })
	i, out := w.run(t, probeImage, func(s *runner.InstanceSpec) { s.MemoryMiB, s.CPU = 64, 0.5 })
	made, err := w.eng.(*dockerEngine).api.ContainerInspect(t.Context(), i.(*instance).container)
	if err != nil {
		t.Fatal(err)
	}
	if r := made.HostConfig.Resources; r.Memory != 64<<20 || r.MemorySwap != 64<<20 || r.NanoCPUs != 5e8 || *r.PidsLimit != instancePids {
		t.Errorf("limits: %+v", r)
	}
	go func() { _, _ = i.Probe(context.Background(), runner.Route{Port: 8080, Path: "/eat"}) }()
	select {
	case <-i.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("it goes on")
	}
	if i.ExitCode() != 137 || !strings.Contains(out.String(), "more than its 64 MiB of memory") {
		t.Errorf("exit code %d, log %q", i.ExitCode(), out)
	}
}

// TestLimits caps an instance type to the machine, and says so.
func TestLimits(t *testing.T) {
	m := machine{cpus: 2, memory: 8 << 30}
	for _, tt := range []struct {
		cpu       float64
		memoryMiB int
		wantCPU   float64
		want      int64
		said      string
	}{
		{1, 3584, 1, 3584 << 20, ""},
		{4, 4096, 2, 4 << 30, "amlocal: the instance type is larger than this machine; the instance has 2 core(s), not 4\n"},
		{4, 14336, 2, 8 << 30, "amlocal: the instance type is larger than this machine; the instance has 2 core(s), not 4, and 8192 MiB of memory, not 14336\n"},
		{0, 0, 0, 8 << 30, ""}, // of unknown size: no more than there is
	} {
		var log strings.Builder
		spec := runner.InstanceSpec{Spec: runner.Spec{CPU: tt.cpu, MemoryMiB: tt.memoryMiB}, Log: &log}
		memory, cpus := limits(spec, m, note(spec))
		if memory != tt.want || cpus != tt.wantCPU || log.String() != tt.said {
			t.Errorf("%v cores, %d MiB: %v cores, %d bytes, said %q", tt.cpu, tt.memoryMiB, cpus, memory, log.String())
		}
	}
}

// TestManyInstances gives a deployment more addresses than a network has.
func TestManyInstances(t *testing.T) {
	w := newWorld(t, nil)
	t.Cleanup(func() { _ = w.Close(); nothingLeft(t, w.cfg) })
	seen := map[string]bool{}
	for range 13 {
		s, addr, err := w.nets.acquire(t.Context(), "big", "ep/big")
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr.String()] {
			t.Errorf("%s twice", addr)
		}
		seen[addr.String()] = true
		defer w.nets.release(s, addr)
	}
	if len(w.nets.subnets) != 2 {
		t.Errorf("%d networks", len(w.nets.subnets))
	}
}

// TestBadImages are refused before anything starts, or say why they cannot.
func TestBadImages(t *testing.T) {
	w := newWorld(t, nil)
	noCommand, nowhere := testImage("nocommand"), testImage("nowhere")
	importProgram(t, noCommand, "probe", `[]`)
	importProgram(t, nowhere, "probe", `["/nowhere"]`)
	t.Cleanup(func() { _ = w.Close(); nothingLeft(t, w.cfg) })
	for ref, want := range map[string]string{
		"amlocal-test/absent:9": "there is no image amlocal-test/absent:9",
		"Not A Name":            "is not the name of an image",
		"":                      "names no image",
	} {
		_, err := w.Build(t.Context(), runner.Environment{Image: ref}, false, t.Output())
		if f := failure(err); f == nil || f.Kind != runner.ImageFailed || !strings.Contains(f.Message, want) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	for ref, want := range map[string]string{
		noCommand: "neither a command nor an entrypoint",
		nowhere:   "cannot be started: exec: \"/nowhere\"",
	} {
		art, err := w.Build(t.Context(), runner.Environment{Image: ref}, false, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Start(t.Context(), runner.InstanceSpec{Spec: runner.Spec{ID: "d", Name: "ep/d", Scoring: runner.Route{Port: 80}}, InstanceID: "x", Artifact: art, Log: t.Output()})
		if f := failure(err); f == nil || !strings.Contains(f.Message, want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	w.machine.arch = "s390x"
	_, err := w.Build(t.Context(), runner.Environment{Image: nowhere}, false, t.Output())
	if f := failure(err); f == nil || !strings.Contains(f.Message, "this machine's engine runs s390x") {
		t.Errorf("wrong architecture: %v", err)
	}
}
