package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
)

const watchedEndpoint = `$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json
name: watched
auth_mode: key
`

const watchedDeployment = `$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: blue
endpoint_name: watched
model:
  path: model
code_configuration:
  code: code
  scoring_script: score.py
environment:
  conda_file: conda.yml
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest
instance_type: Standard_DS3_v2
environment_variables:
  ANSWER: one
readiness_probe:
  initial_delay: 1
  period: 1
  failure_threshold: 60
request_settings:
  request_timeout_ms: 60000
`

const watchedScript = `import os
def init():
    pass
def run(data):
    return os.environ["ANSWER"]
`

// watched is a folder that is watched and deployed.
type watched struct {
	*session
	t      *testing.T
	dir    string
	out    *lines
	failed chan error

	mu      sync.Mutex
	answers map[string]bool // all that the endpoint gave
}

func (w *watched) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	must(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(w.t, os.WriteFile(path, []byte(text), 0o600))
}

// waitFor waits until the endpoint answers a text. Failures with one of the
// texts of passed are passed over.
func (w *watched) waitFor(want string, passed ...string) {
	w.t.Helper()
	for range 3000 {
		w.mu.Lock()
		seen := w.answers[want]
		w.mu.Unlock()
		if seen {
			return
		}
		select {
		case err := <-w.failed:
			if !slices.ContainsFunc(passed, func(text string) bool { return strings.Contains(err.Error(), text) }) {
				w.t.Fatalf("waiting for %s: %v", want, err)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	w.t.Fatalf("the endpoint never answers %s:\n%s", want, w.out)
}

// waitForLine waits until the report has a text.
func (w *watched) waitForLine(text string) {
	w.t.Helper()
	for range 3000 {
		if strings.Contains(w.out.String(), text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatalf("the report never says %q:\n%s", text, w.out)
}

// mustFail waits for a failure and wants texts in it.
func (w *watched) mustFail(texts ...string) {
	w.t.Helper()
	select {
	case err := <-w.failed:
		contains(w.t, "the failure", err.Error(), texts...)
	case <-time.After(2 * time.Minute):
		w.t.Fatalf("nothing failed:\n%s", w.out)
	}
}

// ask scores all the time once there is an answer: none may be wrong.
func (w *watched) ask(ctx context.Context) {
	served := false
	for ctx.Err() == nil {
		status, answer, err := w.cloud.score(ctx, "watched", "", []byte("{}"))
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && status == 200:
			served = true
			w.mu.Lock()
			w.answers[strings.Trim(answer, `"`)] = true
			w.mu.Unlock()
		case served:
			w.failed <- fmt.Errorf("scoring while watching: %d %s %w", status, answer, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestWatch edits what a deployment is made of while its endpoint is asked all
// the time: good edits are served, bad ones are explained and change nothing.
func TestWatch(t *testing.T) {
	needPython(t)
	t.Parallel()
	covers.C(t, goSDK, "R-603")
	w := &watched{session: start(t, nil), t: t, dir: t.TempDir(), out: new(lines), failed: make(chan error, 10), answers: map[string]bool{}}
	conda, err := os.ReadFile(filepath.Join(extracted(t), contentRoot, "model-1", "environment", "conda-managedidentity.yml"))
	must(t, err)
	w.write("endpoint.yml", watchedEndpoint)
	w.write("blue.yml", watchedDeployment)
	w.write("code/score.py", watchedScript)
	w.write("code/.amlignore", "notes/\n*.tmp\n")
	w.write("model/weights.txt", "1\n")
	w.write("conda.yml", string(conda))
	d, err := LoadDefinitions([]string{filepath.Join(w.dir, "endpoint.yml"), filepath.Join(w.dir, "blue.yml")})
	must(t, err)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		if err := Watch(ctx, Target{Access: w.emulator.Access(), Out: w.out, Flags: " --state here"}, d, func(err error) { w.failed <- err }); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() { w.ask(ctx) })

	w.waitFor("one")
	w.waitForLine("Watching ")
	contains(t, "the first report", w.out.String(), "uploaded code", "uploaded model", "amlocal logs --state here -f watched/blue")
	// Only the definition: nothing is uploaded.
	uploads := strings.Count(w.out.String(), "uploaded ")
	w.write("blue.yml", strings.Replace(watchedDeployment, "ANSWER: one", "ANSWER: two", 1))
	w.waitFor("two")
	// It answers before its deployment is reported.
	for end := time.Now().Add(30 * time.Second); strings.Count(w.out.String(), "update deployment") == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if got := strings.Count(w.out.String(), "uploaded "); got != uploads {
		t.Errorf("a changed definition made %d uploads:\n%s", got-uploads, w.out)
	}
	// Ignored files and an unchanged file are no change.
	deployments := strings.Count(w.out.String(), "update deployment")
	w.write("code/notes/today.md", "nothing\n")
	w.write("code/x.tmp", "nothing\n")
	w.write("model/weights.txt", "1\n")
	// A script that fails is shown, and the old one goes on.
	w.write("code/score.py", strings.Replace(watchedScript, "    pass", "    raise RuntimeError('broken on purpose')", 1))
	w.mustFail("Traceback (most recent call last):", "RuntimeError: broken on purpose", "score.py")
	contains(t, "the report", w.out.String(), "watched/blue answers as before the change.")
	if got := strings.Count(w.out.String(), "uploaded "); got != uploads+1 {
		t.Errorf("a changed script made %d uploads, want its own:\n%s", got-uploads, w.out)
	}
	if got := strings.Count(w.out.String(), "update deployment"); got != deployments+1 {
		t.Errorf("%d deployments of one change:\n%s", got-deployments, w.out)
	}
	// A mistake in the definition is named with its line.
	w.write("blue.yml", watchedDeployment+"instance_cout: 2\n")
	w.mustFail(`blue.yml: [21:1] unknown field "instance_cout"`)
	// Mended in both places.
	w.write("code/score.py", strings.Replace(watchedScript, `os.environ["ANSWER"]`, `"mended"`, 1))
	w.write("blue.yml", watchedDeployment)
	w.waitFor("mended", "instance_cout") // one may be seen before the other
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.answers) != 3 {
		t.Errorf("the endpoint answered %v", w.answers)
	}
}
