package e2e

import (
	"bufio"
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestPythonRedeploy looks at what azure-ai-ml sends to blob storage when it
// deploys again: nothing that it sent before. The client decides that from our
// answers (the code's hash, the upload's metadata).
func TestPythonRedeploy(t *testing.T) {
	covers.C(t, azureAIML, "R-602", "R-604")
	bin, l := python(t, "python"), labOf(t)
	samples := filepath.Join(t.TempDir(), "samples")
	if err := os.CopyFS(samples, os.DirFS(rooted("scenarios/content"))); err != nil {
		t.Fatal(err)
	}
	cmd := l.command(t, filepath.Join(bin, "python"), script("python", "redeploy.py"), "py-redeploy", "pyredeploystorage", samples)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code := []string{"score_managedidentity.py", "score_rest.py", "score_sdk.py", "score_secrets.py"}
	model := []string{"coefficients.json", "sklearn_regression_model.pkl"}
	want := []struct {
		step    string
		uploads []string
	}{
		{"prepared", []string{"hello.txt"}},
		{"first", slices.Concat(code, model)},
		{"unchanged", nil},
		{"code edited", code},
		{"model edited", slices.Concat(model, []string{"notes.txt"})},
		{"ignored", slices.Concat([]string{".amlignore"}, code)},
		{"ignored edited", nil},
	}
	lines, last := bufio.NewScanner(stdout), l.lastRequest()
	for _, w := range want {
		for lines.Scan() && lines.Text() != w.step {
			continue // progress
		}
		if lines.Text() != w.step {
			break // the script ended; its exit code says why
		}
		got := l.uploadsSince(last)
		last = l.lastRequest()
		slices.Sort(w.uploads)
		if !slices.Equal(got, w.uploads) {
			t.Errorf("%s: uploaded %v, want %v", w.step, got, w.uploads)
		}
		if _, err := stdin.Write([]byte("\n")); err != nil {
			t.Errorf("%s: %v", w.step, err)
			break
		}
	}
	for lines.Scan() { // until it ends
		continue
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, tail(&stderr))
	}
}

// lastRequest is the id of the newest request, empty before the first.
func (l *lab) lastRequest() string {
	for _, e := range l.emulator.Requests(1) {
		return e.RequestID
	}
	return ""
}

// uploadsSince lists, by their last path segment and sorted, the blobs put
// after the request with this id.
func (l *lab) uploadsSince(id string) []string {
	var names []string
	for _, e := range l.emulator.Requests(2000) {
		if e.RequestID == id {
			break
		}
		if e.Operation == "blobfake.PutBlob" && e.Status < 300 {
			names = append(names, path.Base(e.Path))
		}
	}
	slices.Sort(names)
	return names
}
