package images_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/build"
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

	t.Run("gives up", func(t *testing.T) { givesUp(t, ref) })

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
		noStages(t, cli, log.String())
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
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
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

// givesUp starts the image with a script that ends its process in init.
func givesUp(t *testing.T, ref string) {
	code := t.TempDir()
	if err := os.WriteFile(filepath.Join(code, "score.py"), []byte("import os\ndef init(): os._exit(7)\ndef run(data): pass\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(code, 0o755); err != nil { // the container's user is another
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network", "none", "-v", code+":/var/azureml-app/code:ro", "-e", "AML_APP_ROOT=/var/azureml-app/code",
		"-e", "AZUREML_ENTRY_SCRIPT=score.py", "-e", "AZUREML_MODEL_DIR=/var/azureml-app/azureml-models", ref).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), "ended 3 times before the scoring script was ready") {
		t.Errorf("%v\n%s", err, out)
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

// TestCancel: a deployment deleted during its build leaves nothing behind.
func TestCancel(t *testing.T) {
	cli := withBase(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &watcher{word: "Collecting", then: cancel}
	_, err := builder(t, images.Config{Engine: cli}).Ensure(ctx, runner.Environment{
		Image: images.DefaultBase, CondaFile: "dependencies: [{pip: [requests, scipy]}]\nvariables: {T: " + rand.Text() + "}",
	}, false, log)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want it to be cancelled\n%s", err, log.text.String())
	}
	noStages(t, cli, log.text.String())
}

// watcher does something when a word is logged.
type watcher struct {
	word string
	then func()
	text strings.Builder
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.text.Write(p); strings.Contains(string(p), w.word) {
		w.then()
	}
	return len(p), nil
}

// dangling are the images without a name made on the test's own bases.
func dangling(t *testing.T, cli *client.Client) []string {
	list, err := cli.ImageList(context.WithoutCancel(t.Context()), image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("dangling", "true"), filters.Arg("label", "amlocal.test=base"))})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		out = append(out, i.ID)
	}
	return out
}

var stageInLog = regexp.MustCompile(`LABEL amlocal\.stage="?(\w+)`)

// noStages wants none of the first stages that a log tells of to be left.
// Others' builds may be under way on the same engine.
func noStages(t *testing.T, cli *client.Client, log string) {
	t.Helper()
	for _, stage := range stageInLog.FindAllStringSubmatch(log, -1) {
		left, err := cli.ImageList(t.Context(), image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "amlocal.stage="+stage[1]))})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range left {
			t.Errorf("a first stage is left: %s (%d bytes)", l.ID, l.Size)
		}
	}
}

// TestUnlabelledBase: of a base that is not ours nothing is known but what its
// Pythons say.
func TestUnlabelledBase(t *testing.T) {
	cli := withBase(t)
	t.Cleanup(func() {
		// The probe must leave nothing, or the bases could not have gone.
		for _, ref := range dangling(t, cli) {
			t.Errorf("%s is left", ref)
		}
	})
	ref := "amlocal-test/base:" + strings.ToLower(rand.Text())
	buildImage(t, cli, ref, "FROM "+images.DefaultBase+"\nLABEL amlocal.python=\"\" amlocal.test=base\nUSER 65534\n")
	b := builder(t, images.Config{Engine: cli})
	_, err := b.Ensure(t.Context(), runner.Environment{Image: ref, CondaFile: "dependencies: [python=3.9]"}, false, io.Discard)
	var f *runner.Failure
	if !errors.As(err, &f) || !strings.Contains(f.Message, "has Python 3.11") {
		t.Errorf("Python 3.9: %v", err)
	}
	var log bytes.Buffer
	got, err := b.Ensure(t.Context(), runner.Environment{Image: ref, CondaFile: "dependencies: [python=3.11, {pip: [idna]}]\nvariables: {MODE: 'a \"$b'}"}, false, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	removeLater(t, cli, got)
	if out := inside(t, got, "python", "-c", "import idna, os; print('idna', os.environ['MODE'], os.getuid())"); out != "idna a \"$b 1001\n" {
		t.Errorf("inside: %q", out)
	}
	if !stageInLog.MatchString(log.String()) {
		t.Errorf("the log does not tell of the stage:\n%s", log.String())
	}
	noStages(t, cli, log.String())

	// With a script and no conda file, such an image is the user's business.
	if got, err := b.Ensure(t.Context(), runner.Environment{Image: ref}, true, &log); err != nil || got != ref {
		t.Errorf("as it is: %s %v", got, err)
	}
	empty := "amlocal-test/empty:" + strings.ToLower(rand.Text())
	buildImage(t, cli, empty, "FROM "+images.DefaultBase+"\nLABEL amlocal.python=\"\" amlocal.test=base\nRUN rm /usr/bin/python3*\n")
	if _, err := b.Ensure(t.Context(), runner.Environment{Image: empty, CondaFile: "dependencies: [numpy]"}, false, io.Discard); !errors.As(err, &f) ||
		!strings.Contains(f.Message, "has no Python") {
		t.Errorf("no Python: %v", err)
	}
}

func TestWrongArchitecture(t *testing.T) {
	cli := engine(t)
	version, err := cli.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	foreign := "arm64"
	if version.Arch == foreign {
		foreign = "amd64"
	}
	ref := "amlocal-test/foreign:" + strings.ToLower(rand.Text())
	load(t, cli, ref, foreign)
	removeLater(t, cli, ref)
	_, err = builder(t, images.Config{Engine: cli}).Ensure(t.Context(), runner.Environment{Image: ref}, false, io.Discard)
	var f *runner.Failure
	if !errors.As(err, &f) || f.Kind != runner.ImageFailed || !strings.Contains(f.Message, "linux/"+foreign) || !strings.Contains(f.Message, "linux/"+version.Arch) {
		t.Errorf("%v", err)
	}
}

// TestSampleImage: the image of our Go scorer, as scripts/sample-image makes it.
func TestSampleImage(t *testing.T) {
	cli := engine(t)
	for _, tool := range []string{"docker", "bash", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			covers.NotRun(t, "docker command", "no "+tool)
		}
	}
	ref := "amlocal-test/goscorer:" + strings.ToLower(rand.Text())
	for i, want := range []string{"is ready", "is up to date"} {
		script := exec.CommandContext(t.Context(), "../../../scripts/sample-image")
		script.Env = append(os.Environ(), "IMAGE="+ref)
		out, err := script.CombinedOutput()
		if i == 0 {
			removeLater(t, cli, ref)
		}
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("run %d: %v\n%s", i, err, out)
		}
	}
	got, err := builder(t, images.Config{Engine: cli}).Ensure(t.Context(), runner.Environment{Image: ref}, false, io.Discard)
	if err != nil || got != ref {
		t.Fatalf("%s %v", got, err)
	}
	// It starts, and says what it lacks.
	out, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network", "none", ref).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "STORAGE_ACCOUNT_NAME") {
		t.Errorf("%v\n%s", err, out)
	}
}

// load puts an image for another processor into the engine; import, which takes
// a platform too, does not heed it on older engines.
func load(t *testing.T, cli *client.Client, ref, arch string) {
	t.Helper()
	layer := archive(t, "server", "x")
	digest := sha256.Sum256(layer)
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{"Cmd":["/server"]},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, arch, digest)
	manifest := fmt.Sprintf(`[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, ref)
	answer, err := cli.ImageLoad(t.Context(), bytes.NewReader(archive(t, "config.json", config, "layer.tar", string(layer), "manifest.json", manifest)))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if out, err := io.ReadAll(answer.Body); err != nil || bytes.Contains(out, []byte("errorDetail")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// buildImage builds a Dockerfile without other files.
func buildImage(t *testing.T, cli *client.Client, ref, dockerfile string) {
	t.Helper()
	answer, err := cli.ImageBuild(t.Context(), bytes.NewReader(archive(t, "Dockerfile", dockerfile)),
		build.ImageBuildOptions{Tags: []string{ref}, Remove: true, ForceRemove: true, Version: build.BuilderV1})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	removeLater(t, cli, ref)
	if out, err := io.ReadAll(answer.Body); err != nil || bytes.Contains(out, []byte("errorDetail")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// archive packs files: name, text, name, text.
func archive(t *testing.T, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func removeLater(t *testing.T, cli *client.Client, ref string) {
	t.Cleanup(func() {
		_, _ = cli.ImageRemove(context.WithoutCancel(t.Context()), ref, image.RemoveOptions{Force: true, PruneChildren: true})
	})
}
