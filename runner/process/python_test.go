//go:build unix

package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/runnertest"
)

// cacheDir is shared by all runs, so that the environment is made once.
func cacheDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("AMLOCAL_CACHE"); dir != "" {
		return dir
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(wd, "..", "..", ".cache", "amlocal")
}

// notRun skips, or fails where everything must run.
func notRun(t *testing.T, format string, args ...any) {
	t.Helper()
	covers.NotRun(t, "python", fmt.Sprintf(format, args...))
}

const scoringEnv = "name: scoring\ndependencies:\n- python>=3.10,<3.14\n- pip:\n  - azureml-inference-server-http==1.5.1\n  - requests\n"

// pythonBackend is a back end whose scoring environment is ready.
func pythonBackend(t *testing.T, cfg process.Config) *process.Backend {
	t.Helper()
	if cfg.CacheDir == "" {
		cfg.CacheDir = cacheDir(t)
	}
	b := backend(t, cfg)
	var log runnertest.Output
	build := func() error {
		_, err := b.Build(t.Context(), runner.Environment{Image: "mcr.microsoft.com/azureml/openmpi", CondaFile: scoringEnv}, true, &log)
		return err
	}
	err := build()
	var f *runner.Failure
	for try := 1; try < 3 && errors.As(err, &f); try++ { // what it fetches may come another time
		time.Sleep(time.Duration(try) * 5 * time.Second)
		err = build()
	}
	if errors.As(err, &f) {
		notRun(t, "%s", f.Message)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scriptSpec deploys one scoring script as arm/machinelearning does.
func scriptSpec(t *testing.T, script string) runner.Spec {
	t.Helper()
	code, model := filepath.Join(t.TempDir(), "onlinescoring"), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(code, "score.py"):           script,
		filepath.Join(code, "helper.py"):          "WORD = 'from a sibling module'\n",
		filepath.Join(model, "model", "data.txt"): "weights",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.TrimPrefix(text, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	probe := runner.Probe{Route: runner.Route{Port: 5001, Path: "/"}}
	return runner.Spec{
		ID: "blue", Name: "ep/blue", Revision: "1", Instances: 1,
		Environment: runner.Environment{Image: "mcr.microsoft.com/azureml/openmpi", CondaFile: scoringEnv},
		Script:      &runner.Script{Dir: "/var/azureml-app/onlinescoring", File: "score.py"},
		Mounts: []runner.Mount{
			{Source: code, Target: "/var/azureml-app/onlinescoring"},
			{Source: model, Target: "/var/azureml-app/azureml-models/m/3"},
		},
		Env:                map[string]string{"STORAGE_ACCOUNT_NAME": "acct", "AZUREML_ENTRY_SCRIPT": "score.py"},
		PathEnv:            map[string]string{"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/m/3", "AML_APP_ROOT": "/var/azureml-app/onlinescoring"},
		IdentityURLVars:    []string{"MSI_ENDPOINT", "IDENTITY_ENDPOINT"},
		IdentitySecretVars: []string{"MSI_SECRET", "IDENTITY_HEADER"},
		Scoring:            runner.Route{Port: 5001, Path: "/score"}, Liveness: probe, Readiness: probe,
	}
}

func pythonManager(t *testing.T, b runner.Backend) *runner.Manager {
	t.Helper()
	m, err := runner.NewManager(runner.Deps{Backend: b, Clock: clock.System{}, Dir: t.TempDir(), Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

const goodScript = `
import json, logging, os, socket
import helper

logger = logging.getLogger("mine")

def init():
    global weights
    logging.info("Model dir %s", os.getenv("AZUREML_MODEL_DIR"))
    weights = open(os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model", "data.txt")).read()
    logging.info("Model loaded")
    logger.info("own logger")
    print("printed", helper.WORD)
    logging.info("Init complete")

def run(raw):
    logging.info("Request received")
    rows = json.loads(raw)["data"]
    if rows == "raise":
        raise ValueError("run was asked to")
    return {"rows": len(rows), "weights": weights, "secret": bool(os.getenv("MSI_SECRET")),
            "url": os.environ["IDENTITY_ENDPOINT"], "cwd": os.path.basename(os.getcwd()), "leaks": [k for k in os.environ if k.startswith("AZURE_")]}
`

func score(t *testing.T, m *runner.Manager, body string) (int, string) {
	t.Helper()
	targets := m.Targets("blue")
	if len(targets) != 1 {
		t.Fatalf("%d targets", len(targets))
	}
	resp, err := http.Post(targets[0].URL+"/score", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestScoringScript(t *testing.T) {
	covers.C(t, "azureml-inference-server-http", "R-503", "R-518", "R-519", "R-520", "R-521", "R-1036")
	t.Setenv("AZURE_CLIENT_SECRET", "of the parent")
	m := pythonManager(t, pythonBackend(t, process.Config{}))
	if err := m.Deploy(t.Context(), scriptSpec(t, goodScript)); err != nil {
		t.Fatal(err)
	}
	status, body := score(t, m, `{"data": [[1,2],[3,4]]}`)
	want := `{"rows": 2, "weights": "weights", "secret": true, "url": "http://127.0.0.1:4390/msi/token", "cwd": "onlinescoring", "leaks": []}`
	if status != 200 || strings.Join(strings.Fields(body), "") != strings.Join(strings.Fields(want), "") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := score(t, m, `{"data": "raise"}`); status != 500 {
		t.Errorf("a run that raises: %d %s", status, body)
	}
	for _, line := range []string{"azureml-models/m/3\n", "Model loaded\n", "printed from a sibling module", "Init complete\n", "own logger",
		"Listening at: http://127.0.0.1:", "Request received\n", "ValueError: run was asked to"} {
		runnertest.Eventually(t, "in the log: "+line, func() bool {
			return strings.Contains(m.Logs("blue", runner.InferenceServer, 0), line)
		})
	}
	log := m.Logs("blue", runner.InferenceServer, 0)
	if n := strings.Count(log, "Booting worker"); n != 1 {
		t.Errorf("a line of the server's own logger is there %d times", n)
	}
	if strings.Contains(log, "Control server error") || strings.Contains(log, "0.0.0.0") {
		t.Errorf("log:\n%s", log)
	}
	if log := m.Logs("blue", runner.StorageInitializer, 0); !strings.Contains(log, "is in the cache") || !strings.Contains(log, "not a security boundary") {
		t.Errorf("storage-initializer log %q", log)
	}
}

func TestSeparateHealthPort(t *testing.T) {
	m := pythonManager(t, pythonBackend(t, process.Config{}))
	s := scriptSpec(t, goodScript)
	s.Env["SEPERATE_HEALTH_ENDPOINT"] = "true" //nolint:misspell // the inference server's own spelling
	s.Liveness.Route.Port, s.Readiness.Route.Port = 5000, 5000
	if err := m.Deploy(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestScriptFailures(t *testing.T) {
	covers.C(t, "azureml-inference-server-http", "R-1035", "R-1033", "R-517")
	for name, c := range map[string]struct {
		script string
		kind   runner.FailureKind
		log    string
	}{
		"init raises":    {"def init():\n    raise RuntimeError('boom in init')\ndef run(d): pass\n", runner.Crashed, "RuntimeError: boom in init"},
		"import":         {"import no_such_module\ndef init(): pass\ndef run(d): pass\n", runner.Crashed, "ModuleNotFoundError: No module named 'no_such_module'"},
		"syntax":         {"def init(:\n", runner.Crashed, "SyntaxError"},
		"no run":         {"def init(): pass\n", runner.Crashed, "run"},
		"never returns":  {"import time\ndef init():\n    print('waiting')\n    time.sleep(600)\ndef run(d): pass\n", runner.NotReady, "waiting"},
		"ends itself":    {"import os\ndef init():\n    print('on its way out', flush=True)\n    os._exit(7)\ndef run(d): pass\n", runner.Crashed, "ended 3 times before the scoring script was ready"},
		"is killed":      {"import os\ndef init():\n    os.kill(os.getpid(), 9)\ndef run(d): pass\n", runner.Crashed, "Perhaps out of memory?"},
		"script missing": {"", runner.Crashed, "nowhere.py"},
	} {
		t.Run(name, func(t *testing.T) {
			m := pythonManager(t, pythonBackend(t, process.Config{}))
			s := scriptSpec(t, c.script)
			if name == "script missing" {
				s.Script.File = "nowhere.py"
			}
			patience := 5 * time.Second
			var f *runner.Failure
		again:
			if c.kind == runner.NotReady {
				for _, p := range []*runner.Probe{&s.Liveness, &s.Readiness} {
					p.InitialDelay, p.Period, p.FailureThreshold = patience/5, patience/5, 4
				}
			}
			err := m.Deploy(t.Context(), s)
			// On a busy machine the time may be over before the script begins.
			if c.kind == runner.NotReady && errors.As(err, &f) && !strings.Contains(f.Log, c.log) && patience < time.Minute {
				patience *= 3
				goto again
			}
			if !errors.As(err, &f) || f.Kind != c.kind || !strings.Contains(f.Log, c.log) {
				t.Fatalf("error %v, want %s\n%s", err, c.kind, m.Logs("blue", runner.InferenceServer, 0))
			}
			if strings.Contains(f.Log, "Server Settings") && strings.Contains(f.Log, "Traceback") {
				t.Errorf("the excerpt does not begin at the traceback:\n%s", f.Log)
			}
		})
	}
}

// TestWorkersAreReplaced: once a script was ready, its worker may die as often as
// it likes.
func TestWorkersAreReplaced(t *testing.T) {
	m := pythonManager(t, pythonBackend(t, process.Config{}))
	if err := m.Deploy(t.Context(), scriptSpec(t, "import os\ndef init(): pass\ndef run(d):\n    if 'die' in d: os._exit(7)\n    return 'fine'\n")); err != nil {
		t.Fatal(err)
	}
	url := m.Targets("blue")[0].URL + "/score"
	for range 5 {
		if resp, err := http.Post(url, "application/json", strings.NewReader(`{"die": 1}`)); err == nil {
			t.Errorf("an answer of a worker that died: %s", resp.Status)
			_ = resp.Body.Close()
		}
		if status, body := score(t, m, `{"live": 1}`); status != 200 {
			t.Errorf("after it: %d %s", status, body)
		}
	}
}

func TestInstallFailures(t *testing.T) {
	pythonBackend(t, process.Config{}) // says whether Python and an index are there
	build := func(t *testing.T, cfg process.Config, condaFile string) (string, string, error) {
		cfg.CacheDir = cacheDir(t)
		var log runnertest.Output
		artifact, err := backend(t, cfg).Build(t.Context(), runner.Environment{Image: "mcr.microsoft.com/azureml/minimal", CondaFile: condaFile}, true, &log)
		return artifact, log.String(), err
	}
	t.Run("no such version", func(t *testing.T) {
		_, _, err := build(t, process.Config{}, "dependencies: [python=3.12, {pip: [requests==99.1]}]")
		wantFailure(t, err, "requests==99.1 cannot be installed for Python 3.12 from wheels")
	})
	t.Run("offline", func(t *testing.T) {
		_, _, err := build(t, process.Config{Offline: true}, "dependencies: [{pip: [azureml-inference-server-http==1.5.1, never-heard-of-this-package==1.0]}]")
		wantFailure(t, err, "never-heard-of-this-package==1.0 cannot be installed: it is not in the cache and --offline is set")
	})
	t.Run("offline with a full cache", func(t *testing.T) {
		_, log, err := build(t, process.Config{Offline: true}, scoringEnv)
		if err != nil || !strings.Contains(log, "is in the cache") {
			t.Errorf("%v\n%s", err, log)
		}
	})
	t.Run("relaxed", func(t *testing.T) {
		_, log, err := build(t, process.Config{CondaRelax: true},
			"dependencies: [python=3.99, openjdk, {pip: [azureml-inference-server-http==1.5.1, requests]}]")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"Python =3.99 is asked for, Python 3.", "openjdk is left out"} {
			if !strings.Contains(log, text) {
				t.Errorf("log lacks %q:\n%s", text, log)
			}
		}
	})
}

func wantFailure(t *testing.T, err error, text string) {
	t.Helper()
	var f *runner.Failure
	if !errors.As(err, &f) || f.Kind != runner.BuildFailed || !strings.Contains(f.Message, text) {
		t.Fatalf("error %v, want a build failure with %q", err, text)
	}
	if len(f.Message) > 1200 {
		t.Errorf("a message of %d bytes", len(f.Message))
	}
}

// Several emulators may want the same new environment at once.
func TestConcurrentBuilds(t *testing.T) {
	pythonBackend(t, process.Config{})
	if _, err := exec.LookPath("python3"); err != nil {
		notRun(t, "no python3 on PATH")
	}
	cache := t.TempDir()
	if dir := cacheDir(t); os.Getenv("UV_CACHE_DIR") == "" {
		t.Setenv("UV_CACHE_DIR", filepath.Join(dir, "uv-cache")) // fetched before
	}
	var wg sync.WaitGroup
	results := make([]string, 3)
	for n := range results {
		b := backend(t, process.Config{CacheDir: cache})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			artifact, err := b.Build(ctx, runner.Environment{CondaFile: scoringEnv}, true, io.Discard)
			if err != nil {
				t.Error(err)
			}
			results[n] = artifact
		})
	}
	wg.Wait()
	if results[0] != results[1] || results[1] != results[2] {
		t.Errorf("artifacts %q", results)
	}
}
