package images_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/images"
)

const howTo = "../../../scenarios/content/endpoints/online/model-1/environment/conda-managedidentity.yml"

// engine is the machine's container engine.
func engine(t *testing.T) *client.Client {
	t.Helper()
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := cli.Ping(ctx); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	return cli
}

// withBase is an engine that has the base image.
func withBase(t *testing.T) *client.Client {
	t.Helper()
	cli := engine(t)
	if _, err := cli.ImageInspect(t.Context(), images.DefaultBase); err != nil {
		covers.NotRun(t, "docker images", "no "+images.DefaultBase+"; make base-image")
	}
	return cli
}

func builder(t *testing.T, cfg images.Config) *images.Builder {
	t.Helper()
	b, err := images.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inside runs a command in an image without a network and returns its output.
func inside(t *testing.T, ref string, argv ...string) string {
	t.Helper()
	docker, err := exec.LookPath("docker")
	if err != nil {
		covers.NotRun(t, "docker command", "it is not installed")
	}
	args := append([]string{"run", "--rm", "--network", "none", "--entrypoint", argv[0], ref}, argv[1:]...)
	out, err := exec.CommandContext(t.Context(), docker, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestHowToEnvironment(t *testing.T) {
	covers.R(t, "R-522")
	cli := withBase(t)
	raw, err := os.ReadFile(howTo)
	if err != nil {
		t.Fatal(err)
	}
	env := runner.Environment{Image: "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest", CondaFile: string(raw)}
	var log bytes.Buffer
	began := time.Now()
	ref, err := builder(t, images.Config{Engine: cli}).Ensure(t.Context(), env, true, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	t.Logf("%s after %v\n%s", ref, time.Since(began), log.String())
	for _, line := range []string{"translated for pip", "stands for mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log does not say %q:\n%s", line, log.String())
		}
	}

	t.Run("again", func(t *testing.T) {
		var log bytes.Buffer
		began := time.Now()
		// Nothing may be needed from outside.
		again, err := builder(t, images.Config{Engine: cli, Offline: true}).Ensure(t.Context(), env, true, &log)
		if err != nil || again != ref {
			t.Errorf("%s %v, want %s", again, err, ref)
		}
		if !strings.Contains(log.String(), "is in the engine") {
			t.Errorf("log: %s", log.String())
		}
		t.Logf("after %v", time.Since(began))
	})

	t.Run("packages", func(t *testing.T) {
		out := inside(t, ref, "sh", "-c", "(azmlinfsrv --help || true) && python -c 'import sklearn, joblib, numpy, azure.identity, azure.storage.blob, requests; "+
			"print(sklearn.__version__, numpy.__version__)' && id && pwd && env")
		for _, want := range []string{"--entry_script", "1.7.2 2.2.6", "uid=1001(dockeruser)", "/var/azureml-app", "WORKER_TIMEOUT=300",
			"AZUREML_INFERENCE_PYTHON_PATH=/azureml-envs/amlocal/bin"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	})

	t.Run("serves", func(t *testing.T) { serves(t, ref) })

	t.Run("no trace of the host", func(t *testing.T) {
		out := inside(t, ref, "sh", "-c", "ls -d /build 2>/dev/null; env | grep -iE 'pip_|_proxy|cert'; ls /etc/pip.conf 2>/dev/null; true")
		if strings.TrimSpace(out) != "" {
			t.Errorf("left behind: %s", out)
		}
		history, err := cli.ImageHistory(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range history {
			if strings.Contains(h.CreatedBy, "/build/") || strings.Contains(strings.ToLower(h.CreatedBy), "_proxy") {
				t.Errorf("history: %s", h.CreatedBy)
			}
		}
		left, err := cli.ImageList(t.Context(), image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "amlocal.stage"))})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range left {
			t.Errorf("the first stage %s is left (%d bytes)", l.ID, l.Size)
		}
	})
}

// serves starts the image as a back end would, with variables alone.
func serves(t *testing.T, ref string) {
	code := t.TempDir()
	script := "import logging\ndef init():\n    logging.info('init ran')\ndef run(data):\n    return {'got': data}\n"
	if err := os.WriteFile(filepath.Join(code, "score.py"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(code, 0o755); err != nil { // the container's user is another
		t.Fatal(err)
	}
	docker := func(args ...string) (string, error) {
		out, err := exec.Command("docker", args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	id, err := docker("run", "-d", "--network", "none", "-v", code+":/var/azureml-app/code:ro", "-e", "AML_APP_ROOT=/var/azureml-app/code",
		"-e", "AZUREML_ENTRY_SCRIPT=score.py", "-e", "AZUREML_MODEL_DIR=/var/azureml-app/azureml-models", ref)
	if err != nil {
		t.Fatalf("%v: %s", err, id)
	}
	t.Cleanup(func() { _, _ = docker("rm", "-f", id) })
	const ask = `import urllib.request, sys
r = urllib.request.Request("http://127.0.0.1:5001/score", b'"hello"', {"Content-Type": "application/json"})
print(urllib.request.urlopen("http://127.0.0.1:5001/").status, urllib.request.urlopen(r).read())`
	var out string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if out, err = docker("exec", id, "python", "-c", ask); err == nil {
			break
		}
		if time.Now().After(deadline) {
			logs, _ := docker("logs", id)
			t.Fatalf("never served: %s\n%s", out, logs)
		}
	}
	if !strings.HasPrefix(out, "200 ") || !strings.Contains(out, "hello") {
		t.Errorf("answer: %s", out)
	}
	if logs, _ := docker("logs", id); !strings.Contains(logs, "init ran") {
		t.Errorf("the script's line is not in the log:\n%s", logs)
	}
}

func TestBadPin(t *testing.T) {
	cli := withBase(t)
	var log bytes.Buffer
	_, err := builder(t, images.Config{Engine: cli}).Ensure(t.Context(), runner.Environment{
		Image:     "mcr.microsoft.com/azureml/minimal-inference:latest",
		CondaFile: "dependencies: [python=3.11, {pip: [requests==0.0.99, idna]}]",
	}, true, &log)
	var f *runner.Failure
	if !errors.As(err, &f) || f.Kind != runner.BuildFailed {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{"requests==0.0.99", "Python 3.11", "No matching distribution"} {
		if !strings.Contains(f.Message, want) {
			t.Errorf("no %q in %s", want, f.Message)
		}
	}
	if strings.Contains(f.Message, "idna,") || strings.Contains(f.Message, ", idna") {
		t.Errorf("an innocent package is blamed: %s", f.Message)
	}
	if !strings.Contains(f.Log, "No matching distribution") {
		t.Errorf("log: %s", f.Log)
	}
}
