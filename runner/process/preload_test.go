//go:build unix

package process_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/runnertest"
)

// dump is what a scoring script could find out about the server around it.
const dump = `
import azureml_inference_server_http as package
from azureml_inference_server_http import amlserver
amlserver.load_logging_config(amlserver.PACKAGE_ROOT)
import gunicorn.app.wsgiapp, gunicorn.workers.sync
import azureml_inference_server_http.server.config  # first, as the server's own entry has it
import azureml_inference_server_http.server.create_app
import gc, json, logging, sys, threading
loggers = {n: (l.disabled, l.level, l.propagate) for n, l in logging.root.manager.loggerDict.items() if isinstance(l, logging.Logger)}
print(json.dumps({"modules": sorted(sys.modules), "loggers": loggers, "collecting": gc.isenabled(), "frozen": gc.get_freeze_count(),
  "threads": threading.active_count(), "path": sys.path}, sort_keys=True, indent=1))
`

// Importing the server's packages ahead must make no difference to a script.
func TestPreloadIsNotSeen(t *testing.T) {
	b := pythonBackend(t, process.Config{})
	raw, err := b.Build(t.Context(), runner.Environment{CondaFile: scoringEnv}, true, &runnertest.Output{})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Python string }
	if err := json.Unmarshal([]byte(raw), &made); err != nil {
		t.Fatal(err)
	}
	see := func(before string) []string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), made.Python, "-c", before+dump) //nolint:gosec // our environment
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, answer, _ := strings.Cut(string(out), "\n") // the log's first line has a time
		return strings.Split(answer, "\n")
	}
	const begin = "import gc, importlib, logging\nfrom azureml_inference_server_http import amlserver\n"
	without, with := see(runner.WorkerGuard+begin), see(runner.Preload+runner.WorkerGuard+begin+"_preload()\n")
	if len(without) < 500 {
		t.Fatalf("the server's modules are missing: %v", without)
	}
	seen := map[string]int{}
	for _, line := range without {
		seen[line]++
	}
	for _, line := range with {
		seen[line]--
	}
	for line, n := range seen {
		if n != 0 {
			t.Errorf("differs by %d: %s", n, line)
		}
	}
}
