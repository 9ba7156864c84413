package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

// contextServer is a server of the standard library alone.
const contextServer = `import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def do_GET(self):
        self.answer(b"Healthy")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"built by a Dockerfile")
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
`

// TestPythonBuildContext has azure-ai-ml upload a folder with a Dockerfile below
// it, and deploy what it makes.
func TestPythonBuildContext(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-1033")
	if !docker.HasImages(t.Context(), "", "amlocal/python") {
		covers.NotRun(t, "build contexts", "no engine answers that has a Python base image; make base-image")
	}
	bin := python(t, "python")
	folder := t.TempDir()
	for name, text := range map[string]string{
		"serve.py":          contextServer,
		"docker/Dockerfile": "FROM amlocal/python:3.11-bookworm\nCOPY serve.py /serve.py\nUSER 1001\nCMD [\"python3\", \"-u\", \"/serve.py\"]\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var made string
	t.Cleanup(func() { // after the emulator's own
		if api, err := docker.Client(""); err == nil && made != "" {
			_, _ = api.ImageRemove(context.Background(), made, image.RemoveOptions{Force: true, PruneChildren: true})
			_ = api.Close()
		}
	})
	l := newInsideLab(t, amlocal.Config{Runner: "docker", Offline: true}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "python"), script("python", "build.py"), "py-build", folder, "docker/Dockerfile")
	cmd.Env, cmd.WaitDelay = environment(t, l.emulator), 5*time.Second
	got := run(t, cmd)
	made = regexp.MustCompile(`amlocal/context:[0-9a-f]+`).FindString(got.text("log"))
	got.want(t, map[string]any{"deployed": "Succeeded"})
	got.wantText(t, "answer", "built by a Dockerfile")
	got.wantText(t, "log", "Downloaded build context", `Building the image of "docker/Dockerfile"`, "COPY serve.py /serve.py")
}
