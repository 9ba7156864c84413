package images

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"github.com/amlocal/amlocal/runner"
)

const (
	mcr     = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
	mcr312  = "mcr.microsoft.com/azureml/minimal-py312-inference:latest"
	anyFile = "dependencies: [python>=3.10, numpy=2.2.6]"
)

// TestWhichImage is the rule of what an environment gets, or why not.
func TestWhichImage(t *testing.T) {
	other := anImage("mine:1")
	other.Architecture = "arm64"
	windows := anImage("win:1")
	windows.Os = "windows"
	base313 := anImage("amlocal/python:3.13-trixie", pythonLabel+"=3.13")
	pull := func(c *Config) { c.Pull = true }
	offline := func(c *Config) { c.Offline = true }
	relax := func(c *Config) { c.RelaxConda = true }
	table := func(pairs ...string) func(*Config) {
		return func(c *Config) {
			c.BaseImages = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				c.BaseImages[pairs[i]] = pairs[i+1]
			}
		}
	}
	set := func(change ...func(*Config)) []func(*Config) { return change }
	tests := []struct {
		name   string
		have   []image.InspectResponse
		config []func(*Config)
		env    runner.Environment
		script bool
		// desktop makes the engine one that emulates.
		desktop bool
		want    string // the image; "env" for a built one
		from    string // the base it is built on
		kind    runner.FailureKind
		says    string // in the failure or the log
	}{
		{name: "its own server", have: []image.InspectResponse{anImage("mine:1")}, env: runner.Environment{Image: "mine:1"}, want: "mine:1"},
		{name: "its own server, not there", env: runner.Environment{Image: "mine:1"}, kind: runner.ImageFailed, says: "docker load"},
		{name: "its own server, pulled", config: set(pull), env: runner.Environment{Image: "public/one:1"}, want: "public/one:1", says: "pulling"},
		{name: "its own server, not to be pulled", config: set(pull), env: runner.Environment{Image: "absent:1"}, kind: runner.ImageFailed,
			says: "cannot be pulled: manifest unknown"},
		{name: "its own server, offline", config: set(pull, offline), env: runner.Environment{Image: "public/one:1"}, kind: runner.ImageFailed, says: "--offline"},
		{name: "the table is for bases only", config: set(table("mine:1", DefaultBase)), have: []image.InspectResponse{defaultBase()},
			env: runner.Environment{Image: "mine:1"}, kind: runner.ImageFailed},
		{name: "another processor", have: []image.InspectResponse{other}, env: runner.Environment{Image: "mine:1"}, kind: runner.ImageFailed,
			says: "is for linux/arm64, and the container engine runs linux/amd64"},
		{name: "another processor, emulated", desktop: true, have: []image.InspectResponse{other}, env: runner.Environment{Image: "mine:1"}, want: "mine:1",
			says: "runs emulated on amd64"},
		{name: "another system", have: []image.InspectResponse{windows}, env: runner.Environment{Image: "win:1"}, kind: runner.ImageFailed, says: "windows"},
		{name: "no image", env: runner.Environment{CondaFile: anyFile}, script: true, kind: runner.ImageFailed, says: "names no image"},
		{name: "no name", env: runner.Environment{Image: "a/../../containers/x"}, kind: runner.ImageFailed, says: "not the name of an image"},

		{name: "conda on the stand-in", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr, CondaFile: anyFile},
			script: true, want: "env", from: DefaultBase, says: "stands for " + mcr},
		{name: "conda, nothing there", env: runner.Environment{Image: mcr, CondaFile: anyFile}, script: true, kind: runner.ImageFailed, says: "make base-image"},
		{name: "conda on another's image", env: runner.Environment{Image: "their/base:1", CondaFile: anyFile}, script: true, kind: runner.ImageFailed,
			says: "their/base:1 is not in the container engine"},
		{name: "conda by the table", config: set(table(mcr, "their/base:1")), have: []image.InspectResponse{anImage("their/base:1", pythonLabel+"=3.12")},
			env: runner.Environment{Image: mcr, CondaFile: anyFile}, script: true, want: "env", from: "their/base:1", says: "(--base-image)"},
		{name: "the longest pattern", config: set(table("their/*", "a:1", "their/ba*", "b:1")),
			have: []image.InspectResponse{anImage("a:1", pythonLabel+"=3.12"), anImage("b:1", pythonLabel+"=3.12")},
			env:  runner.Environment{Image: "their/base:1", CondaFile: anyFile}, want: "env", from: "b:1"},
		{name: "conda on the real image", have: []image.InspectResponse{defaultBase(), anImage(mcr, pythonLabel+"=3.12")},
			env: runner.Environment{Image: mcr, CondaFile: anyFile}, script: true, want: "env", from: mcr},
		{name: "conda without a script", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr, CondaFile: anyFile},
			want: "env", from: DefaultBase},

		{name: "script on the real image", have: []image.InspectResponse{defaultBase(), anImage(mcr)}, env: runner.Environment{Image: mcr}, script: true,
			want: mcr, says: "must bring the inference server itself"},
		{name: "script on the stand-in", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr}, script: true,
			want: "env", from: DefaultBase, says: server + " is added"},
		{name: "script on our base by its name", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: DefaultBase}, script: true,
			want: "env", from: DefaultBase},

		{name: "another Python", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr, CondaFile: "dependencies: [python=3.12]"},
			script: true, kind: runner.BuildFailed, says: "Python =3.12 is asked for, but base image " + DefaultBase + " has Python 3.11"},
		{name: "another Python, relaxed", config: set(relax), have: []image.InspectResponse{defaultBase()},
			env: runner.Environment{Image: mcr, CondaFile: "dependencies: [python=3.12]"}, script: true, want: "env", from: DefaultBase,
			says: "Difference: Python =3.12 is asked for, Python 3.11 of"},
		{name: "the base with that Python", have: []image.InspectResponse{defaultBase(), base313},
			env: runner.Environment{Image: mcr, CondaFile: "dependencies: [python=3.13]"}, script: true, want: "env", from: "amlocal/python:3.13-trixie"},
		{name: "the default where both will do", have: []image.InspectResponse{defaultBase(), base313}, env: runner.Environment{Image: mcr, CondaFile: anyFile},
			script: true, want: "env", from: DefaultBase},
		{name: "the Python in a curated name", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr312}, script: true,
			kind: runner.BuildFailed, says: "Python 3.12 (from the image's name)"},
		{name: "no Python package", have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr, CondaFile: "dependencies: [openjdk=11]"},
			script: true, kind: runner.BuildFailed, says: "--conda=relax"},
		{name: "a variable that cannot be", have: []image.InspectResponse{defaultBase()},
			env: runner.Environment{Image: mcr, CondaFile: "dependencies: [numpy]\nvariables: {\"A B\": x}"}, script: true, kind: runner.BuildFailed, says: `"A B"`},
		{name: "conda, offline", config: set(offline), have: []image.InspectResponse{defaultBase()}, env: runner.Environment{Image: mcr, CondaFile: anyFile},
			script: true, kind: runner.BuildFailed, says: "--offline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newFake(tt.have...)
			if tt.desktop {
				e.platform = "Docker Desktop 4.40.0"
			}
			e.pulls = map[string]image.InspectResponse{"public/one:1": anImage("public/one:1")}
			if tt.env.Image == "absent:1" {
				e.pull = []string{`{"status":"Pulling from library/absent"}`, broke("manifest unknown")}
			}
			var log logBuffer
			got, err := newBuilder(t, e, tt.config...).Ensure(t.Context(), tt.env, tt.script, &log)
			text := log.String()
			if tt.kind != "" {
				var f *runner.Failure
				if !errors.As(err, &f) || f.Kind != tt.kind {
					t.Fatalf("got %q, %v; want a failure of kind %s", got, err, tt.kind)
				}
				text += f.Message
			} else if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text, tt.says) {
				t.Errorf("nothing says %q:\n%s", tt.says, text)
			}
			switch {
			case tt.want == "env" && !strings.HasPrefix(got, "amlocal/env:"), tt.want != "env" && got != tt.want:
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tt.want != "env" && len(e.sent) > 0 {
				t.Errorf("something was built: %v", e.sent)
			}
			if tt.want == "env" && (len(e.sent) != 1 || !strings.HasPrefix(e.sent[0]["Dockerfile"], "FROM "+tt.from+" AS build\n")) {
				t.Errorf("built %v, want one on %s", e.sent, tt.from)
			}
		})
	}
}

// TestPasswordsStayOut: an index's address goes to the build and nowhere else.
func TestPasswordsStayOut(t *testing.T) {
	e := newFake(defaultBase())
	var log logBuffer
	_, err := newBuilder(t, e, func(c *Config) {
		c.Environ = []string{"PIP_INDEX_URL=https://u:hunter2@one.example/simple", "HTTPS_PROXY=http://u:hunter2@proxy.example:1"}
	}).Ensure(t.Context(), runner.Environment{Image: mcr,
		CondaFile: "dependencies: [{pip: ['--extra-index-url https://u:hunter2@two.example/simple', numpy]}]"}, true, &log)
	if err != nil {
		t.Fatal(err)
	}
	files := e.sent[0]
	if !strings.Contains(files["build/pip.conf"], "hunter2@one.example") || !strings.Contains(files["build/requirements.txt"], "hunter2@two.example") {
		t.Errorf("the build does not know its indexes: %v", files)
	}
	if strings.Contains(files["Dockerfile"]+log.String(), "hunter2") {
		t.Errorf("a password is in\n%s\n%s", files["Dockerfile"], log.String())
	}
}

func TestBuiltOnce(t *testing.T) {
	e := newFake(defaultBase())
	b := newBuilder(t, e)
	env := runner.Environment{Image: mcr, CondaFile: anyFile}
	first, err := b.Ensure(t.Context(), env, true, &logBuffer{})
	if err != nil {
		t.Fatal(err)
	}
	// What comes after needs neither a build nor this process's memory.
	again, err := newBuilder(t, e, func(c *Config) { c.Offline = true }).Ensure(t.Context(), env, true, &logBuffer{})
	if err != nil || again != first || len(e.sent) != 1 {
		t.Errorf("%s %v after %d builds, want %s and one", again, err, len(e.sent), first)
	}
	if len(e.removed) != 1 || !strings.Contains(e.removed[0], stageLabel) {
		t.Errorf("removed %v, want the first stage", e.removed)
	}
	if o := e.options[0]; o.NetworkMode != "host" || o.Tags[0] != first {
		t.Errorf("options %+v", o)
	}
	// Relaxed first and strict later must not pass by way of the cache.
	old := runner.Environment{Image: mcr, CondaFile: "dependencies: [python=3.12]"}
	if _, err := newBuilder(t, e, func(c *Config) { c.RelaxConda = true }).Ensure(t.Context(), old, true, &logBuffer{}); err != nil {
		t.Fatal(err)
	}
	var f *runner.Failure
	if _, err := b.Ensure(t.Context(), old, true, &logBuffer{}); !errors.As(err, &f) || !strings.Contains(f.Message, "=3.12") {
		t.Errorf("strict after relaxed: %v", err)
	}
}

// TestSingleFlight: of many at once one builds; a builder that gives up leaves
// the work to another, and a failure is everybody's.
func TestSingleFlight(t *testing.T) {
	env := runner.Environment{Image: mcr, CondaFile: anyFile}
	start := func(ctx context.Context, b *Builder, log *logBuffer) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := b.Ensure(ctx, env, true, log)
			done <- err
		}()
		return done
	}
	begun := make(chan struct{}, 8)
	release := make(chan []string)
	e := newFake(defaultBase())
	e.builds = func(ctx context.Context, _ string) []string {
		begun <- struct{}{}
		select {
		case m := <-release:
			return m
		case <-ctx.Done():
			return nil
		}
	}
	b := newBuilder(t, e)
	waiting := func(log *logBuffer) {
		t.Helper()
		for !strings.Contains(log.String(), "waiting") {
			time.Sleep(time.Millisecond)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	var logs [4]logBuffer
	first := start(ctx, b, &logs[0])
	<-begun
	var rest []chan error
	for i := 1; i < 4; i++ {
		rest = append(rest, start(t.Context(), b, &logs[i]))
		waiting(&logs[i])
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up: %v", err)
	}
	<-begun // by one of the others, for which the rest wait by now
	again := func() (n int) {
		for i := range logs {
			n += strings.Count(logs[i].String(), "waiting")
		}
		return n
	}
	for again() < 3+2 {
		time.Sleep(time.Millisecond)
	}
	release <- []string{said("Step 7/9 : RUN [\"pip\",\"install\"]", "ERROR: No matching distribution found for numpy==2.2.6.*"), broke("returned a non-zero code: 1")}
	var f *runner.Failure
	for _, done := range rest {
		if err := <-done; !errors.As(err, &f) {
			t.Errorf("%v, want the shared failure", err)
		}
	}
	if len(e.sent) != 2 {
		t.Errorf("%d builds, want 2", len(e.sent))
	}

	// A failure is not kept: the next one tries again.
	var wg sync.WaitGroup
	last := start(t.Context(), b, &logBuffer{})
	wg.Go(func() { <-begun; release <- nil })
	if err := <-last; err != nil {
		t.Errorf("after the failure: %v", err)
	}
	wg.Wait()
}
