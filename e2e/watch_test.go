package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// output is what a program printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write is for the program.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitFor waits until a text was printed for the n-th time.
func (o *output) waitFor(t *testing.T, text string, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); strings.Count(o.String(), text) < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not printed %d times:\n%s", text, n, o)
		}
	}
}

// TestUpWatch is `amlocal up -f ... --watch` as a user has it: from YAML to an
// endpoint that curl scores, then an edit that works and one that does not.
func TestUpWatch(t *testing.T) {
	covers.C(t, "curl", "R-603", "R-609")
	curl, err := exec.LookPath("curl")
	if err != nil {
		covers.NotRun(t, "curl", "curl is not on PATH")
	}
	s := newSite(t)
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(s.home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	coefficients, err := os.ReadFile("../scenarios/content/endpoints/online/model-1/model/coefficients.json")
	if err != nil {
		t.Fatal(err)
	}
	write("model/coefficients.json", string(coefficients))
	blue := func(comment string) string {
		return write("blue.yml", `name: blue
endpoint_name: watched
model: {path: model}
environment:
  image: e2e/goscorer:1
  inference_config:
    liveness_route: {port: 8080, path: /health/live}
    readiness_route: {port: 8080, path: /health/ready}
    scoring_route: {port: 8080, path: /score}
instance_type: Standard_DS3_v2
instance_count: 1
environment_variables: {STORAGE_ACCOUNT_NAME: `+boxAccount+`, STORAGE_CONTAINER_NAME: box, FILE_NAME: hello.txt} # `+comment+`
request_settings: {request_timeout_ms: 20000, max_concurrent_requests_per_instance: 4}
readiness_probe: {initial_delay: 1, period: 1, failure_threshold: 60}
`)
	}
	endpoint := write("endpoint.yml", "name: watched\nauth_mode: key\n")
	out := &output{}
	up := s.command("up", "--port", "0", "--runner", "process", "--world", s.world(), "-f", endpoint, "-f", blue("first"), "--watch")
	up.Stdout, up.Stderr = out, out
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	t.Cleanup(func() { _ = up.Process.Kill() })

	// The identity may not read the blob yet: said with who and which role.
	out.waitFor(t, "Not deployed: ResourceNotReady: ", 1)
	out.waitFor(t, "Storage Blob Data Reader", 1)
	out.waitFor(t, "\nWatching ", 1)
	s.follow()
	o := s.owner()
	made, err := o.endpoints.Get(t.Context(), group, workspace, "watched", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.grant(t.Context(), "11111111-2222-4333-8444-555555555555", *made.Identity.PrincipalID, blobReader, boxScope); err != nil {
		t.Fatal(err)
	}
	blue("again") // the file's text counts, not what it means
	out.waitFor(t, "watched/blue is served at", 1)
	if strings.Contains(out.String(), "amlocal logs -f") || !strings.Contains(out.String(), "amlocal logs --state "+s.state+" -f watched/blue") {
		t.Errorf("the hints do not lead to this emulator:\n%s", out)
	}

	key, a := o.key(t, "watched"), s.access()
	score := func() string {
		t.Helper()
		got, err := exec.Command(curl, "--silent", "--show-error", "--fail-with-body", "--proxy", a.URL(), "--cacert", a.Bundle,
			"-H", "Authorization: Bearer "+key, "-H", "Content-Type: application/json", "--data", `{"data": [[1,2,3,4,5,6,7,8,9,10]]}`,
			fmt.Sprintf("https://watched.%s.inference.ml.azure.com/score", azure.SeedLocation)).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v: %s", err, got)
		}
		return string(got)
	}
	first := score()
	if !strings.HasPrefix(first, "[") {
		t.Fatalf("score: %s", first)
	}
	// An edit of the model that works: another answer.
	write("model/coefficients.json", strings.Replace(string(coefficients), `"intercept": `, `"intercept": 1`, 1))
	out.waitFor(t, "watched/blue is served at", 2)
	out.waitFor(t, "Changed: "+filepath.Join(s.home, "model", "coefficients.json"), 1)
	second := score()
	if second == first || !strings.HasPrefix(second, "[") {
		t.Errorf("after the edit: %s, before: %s", second, first)
	}
	// One that breaks it: the old one answers.
	write("model/coefficients.json", "not JSON")
	out.waitFor(t, "coefficients.json: ", 1)
	out.waitFor(t, "watched/blue answers as before the change.", 1)
	if got := score(); got != second {
		t.Errorf("after the edit that breaks it: %s, before: %s", got, second)
	}
	// A refusal of an earlier deployment explains nothing here.
	if got := strings.Count(out.String(), "The last refusal was:"); got != 1 {
		t.Errorf("%d refusals are explained, want the one there was:\n%s", got, out)
	}
	if err := up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, out)
	}
}
