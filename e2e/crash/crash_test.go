package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

const (
	inference   = armmachinelearning.ContainerTypeInferenceServer
	initializer = armmachinelearning.ContainerTypeStorageInitializer
)

// row is one deployment that cannot work. The codes are those of the
// troubleshooting page (wire/endpoint-behaviour.md 3.5).
type row struct {
	name string
	// make prepares what the deployment needs, and says as whom its endpoint is.
	make func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) (identity string)
	// python says that it runs a scoring script.
	python bool

	code  string
	texts []string // of the error
	logs  map[armmachinelearning.ContainerType][]string
	// on replaces the last three where a back end differs; cannot says why a
	// row does not exist there.
	on     map[string]outcome
	cannot map[string]string
	// serves is asked instead where the deployment itself succeeds.
	serves func(t *testing.T, l *lab, endpoint string)
}

type outcome struct {
	code  string
	texts []string
	logs  map[armmachinelearning.ContainerType][]string
}

type logs = map[armmachinelearning.ContainerType][]string

// act is a deployment of the faulty server.
func act(what string) func(*testing.T, *lab, *armmachinelearning.ManagedOnlineDeployment) string {
	return func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
		m.EnvironmentID = to.Ptr(l.server(t, what+"-env", serverImage, 8080))
		m.EnvironmentVariables["CRASH_ACT"] = &what
		return ""
	}
}

// ofImage is a deployment of an image that is not there.
func ofImage(name, ref string) func(*testing.T, *lab, *armmachinelearning.ManagedOnlineDeployment) string {
	return func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
		m.EnvironmentID = to.Ptr(l.server(t, name, ref, 8080))
		return ""
	}
}

// script is a deployment of a scoring script.
func script(name, text string) func(*testing.T, *lab, *armmachinelearning.ManagedOnlineDeployment) string {
	return func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
		m.EnvironmentID = to.Ptr(l.conda(t, name, scoring(t)))
		m.CodeConfiguration = l.code(t, name, text)
		return ""
	}
}

// scoring is the samples' environment, which other suites have made as well.
func scoring(t *testing.T) string {
	t.Helper()
	return string(must(os.ReadFile("../../scenarios/content/endpoints/online/model-1/environment/conda-managedidentity.yml"))(t))
}

const goodScript = "def init():\n    print('init was here')\n\ndef run(data):\n    return [1]\n"

var noImages = map[string]outcome{
	"sandbox": {"BadArgument", []string{"the process runner cannot run images"}, logs{initializer: {"the process runner cannot run images"}}},
	"plain":   {"BadArgument", []string{"the process runner cannot run images"}, logs{initializer: {"the process runner cannot run images"}}},
}

var matrix = []row{
	{
		name: "image name that is none", make: ofImage("badname", "Not A Name:::"),
		code: "BadArgument", texts: []string{"Not A Name:::"}, logs: logs{initializer: {"Not A Name:::"}}, on: noImages,
	},
	{
		name: "image that is not there", make: ofImage("absent", "amlocal-crash/absent:1"),
		code: "BadArgument", texts: []string{"amlocal-crash/absent:1"}, logs: logs{initializer: {"amlocal-crash/absent:1"}}, on: noImages,
	},
	{
		name: "image of a registry that is not there", make: ofImage("noregistry", "nosuchregistry.azurecr.io/app:1"),
		code: "BadArgument", texts: []string{"nosuchregistry.azurecr.io", "does not exist"},
	},
	{
		name: "server that exits", make: act("exit"),
		code: "ResourceNotReady", texts: []string{"User container has crashed or terminated", "exited with code 3", "the licence file is missing"},
		logs: logs{inference: {"the licence file is missing"}, initializer: {"Deployment "}},
	},
	{
		name: "server that panics", make: act("panic"),
		code: "ResourceNotReady", texts: []string{"exited with code 2", "panic: the tables do not match"},
		logs: logs{inference: {"panic: the tables do not match"}},
	},
	{
		name: "probe of a port nobody listens on",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			m.EnvironmentID = to.Ptr(l.server(t, "wrongport", serverImage, 9099))
			return ""
		},
		code: "ResourceNotReady", texts: []string{"readiness probe", "port 9099", "connection refused"},
		logs: logs{inference: {"server: act"}},
	},
	{
		name: "readiness that fails", make: act("unready"),
		code: "ResourceNotReady", texts: []string{"readiness probe", "GET port 8080 /health/ready", "status 503"},
		logs: logs{inference: {"server: act unready"}},
	},
	{
		name: "liveness that fails", make: act("dead"),
		code: "ResourceNotReady", texts: []string{"liveness probe", "GET port 8080 /health/live", "status 503"},
		logs: logs{inference: {"server: act dead"}},
	},
	{
		name: "server that takes too long", make: act("sleep"),
		code: "ResourceNotReady", texts: []string{"did not pass within", "connection refused", "loading the model takes its time"},
		logs: logs{inference: {"loading the model takes its time"}},
	},
	{
		name: "out of memory",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			m.InstanceType = to.Ptr("Standard_DS1_v2") // the smallest: 3.5 GiB
			return act("hoard")(t, l, m)
		},
		code: "ResourceNotReady", texts: []string{"exited with code 137", "used more than its 3584 MiB of memory"},
		logs: logs{inference: {"server: holds MiB 1024", "used more than its 3584 MiB of memory"}},
		on: map[string]outcome{"sandbox": {"ResourceNotReady", []string{"exited with code 2", "out of memory"},
			logs{inference: {"server: holds MiB 1024", "out of memory"}}}},
		cannot: map[string]string{"plain": "a plain child's memory is not bounded"},
	},
	{
		name: "package that is not there", python: true,
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			m.EnvironmentID = to.Ptr(l.conda(t, "nopackage", strings.Replace(scoring(t), "azure-identity==1.25.1", "amlocal-no-such-package==9.9.9", 1)))
			m.CodeConfiguration = l.code(t, "nopackage", goodScript)
			return ""
		},
		code: "ImageBuildFailure", texts: []string{"amlocal-no-such-package==9.9.9", "cannot be installed"},
		logs: logs{initializer: {"amlocal-no-such-package"}},
	},
	{
		name: "conda file that is none", python: true,
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			m.EnvironmentID = to.Ptr(l.conda(t, "noconda", "dependencies: ["))
			m.CodeConfiguration = l.code(t, "noconda", goodScript)
			return ""
		},
		code: "ImageBuildFailure", texts: []string{"the conda file is not valid"},
		logs: logs{initializer: {"the conda file is not valid"}},
	},
	{
		name: "identity without AcrPull",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			script("noacr", goodScript)(t, l, m)
			return l.user(t, "noacr", "")
		},
		code: "BadArgument", texts: []string{"not authorized to pull the image", "AcrPull", "noacr"},
		logs: logs{initializer: {"Image: ", "AcrPull"}},
	},
	{
		name: "identity without a role on the default store",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			script("nostore", goodScript)(t, l, m)
			return l.user(t, "nostore", acrPull)
		},
		code: "BadArgument", texts: []string{"could not be downloaded", "AuthorizationPermissionMismatch", "Storage Blob Data Reader"},
		logs: logs{initializer: {"AuthorizationPermissionMismatch"}},
	},
	{
		name: "script that is not there",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			script("noscript", goodScript)(t, l, m)
			m.CodeConfiguration.ScoringScript = to.Ptr("nosuch.py")
			return ""
		},
		code: "ResourceNotReady", texts: []string{"'nosuch.py' is not in the code folder"},
		logs: logs{initializer: {"Downloaded code", "'nosuch.py' is not in the code folder"}},
	},
	{
		name: "model without files",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			m.Model = l.model(t, "nofiles", "models/nosuchfolder")
			return act("serve")(t, l, m)
		},
		code: "BadArgument", texts: []string{"The model 'nofiles' could not be downloaded", "models/nosuchfolder"},
		logs: logs{initializer: {"there is nothing at"}},
	},
	{
		name: "model that is not registered",
		make: func(t *testing.T, l *lab, m *armmachinelearning.ManagedOnlineDeployment) string {
			m.Model = to.Ptr(groupID + "/providers/Microsoft.MachineLearningServices/workspaces/" + workspace + "/models/nosuchmodel/versions/7")
			return act("serve")(t, l, m)
		},
		code: "BadArgument", texts: []string{"nosuchmodel"},
	},
	{
		name: "import that fails", python: true,
		make: script("noimport", "import amlocal_no_such_module\n\n"+goodScript),
		code: "ResourceNotReady", texts: []string{"User container has crashed", "ModuleNotFoundError: No module named 'amlocal_no_such_module'", "score.py"},
		logs: logs{inference: {"ModuleNotFoundError: No module named 'amlocal_no_such_module'"}},
	},
	{
		name: "script that is no Python", python: true, make: script("nosyntax", "def init(:\n    pass\n"),
		code: "ResourceNotReady", texts: []string{"SyntaxError", "score.py"},
		logs: logs{inference: {"SyntaxError"}},
	},
	{
		name: "init that raises", python: true,
		make: script("raises", "def init():\n    raise ValueError('the threshold is 7')\n\ndef run(data):\n    return [1]\n"),
		code: "ResourceNotReady", texts: []string{"Traceback (most recent call last)", "ValueError: the threshold is 7", "in init"},
		logs: logs{inference: {"ValueError: the threshold is 7"}},
	},
	{
		name: "init that takes too long", python: true,
		make: script("slowinit", "import time\n\ndef init():\n    print('init has begun')\n    time.sleep(3600)\n\ndef run(data):\n    return [1]\n"),
		code: "ResourceNotReady", texts: []string{"did not pass within", "init has begun"},
		logs: logs{inference: {"init has begun"}},
	},
	{
		name: "run that raises", python: true,
		make:   script("runraises", "def init():\n    pass\n\ndef run(data):\n    raise KeyError('no such column: age')\n"),
		logs:   logs{inference: {"KeyError: 'no such column: age'"}},
		serves: wantModelError("An unexpected error occurred in scoring script"),
	},
	{
		name: "server that fails a request", make: act("serve"),
		logs:   logs{inference: {"server: score: division by zero"}},
		serves: wantModelError("division by zero"),
	},
}

func wantModelError(text string) func(*testing.T, *lab, string) {
	return func(t *testing.T, l *lab, endpoint string) {
		t.Helper()
		resp, body := l.score(t, endpoint)
		if resp.StatusCode != http.StatusFailedDependency || resp.Header.Get("ms-azureml-model-error-statuscode") != "500" ||
			resp.Header.Get("ms-azureml-model-error-reason") != "model_error" || !strings.Contains(body, text) {
			t.Errorf("%s, model status %q, reason %q: %s", resp.Status, resp.Header.Get("ms-azureml-model-error-statuscode"),
				resp.Header.Get("ms-azureml-model-error-reason"), body)
		}
	}
}

// TestCrashMatrix deploys every row on every back end: the owner is told the
// documented code and the actual reason, the logs have it too, and nothing is
// left running.
func TestCrashMatrix(t *testing.T) {
	if runtime.GOOS != "linux" {
		covers.NotRun(t, "crash matrix", "processes are looked up in /proc")
	}
	for _, kind := range []string{"docker", "sandbox", "plain"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			covers.C(t, "azure-sdk-for-go", "R-109", "R-501", "R-503", "R-1036", "issue-4-crash-matrix")
			l := newLab(t, kind)
			t.Run("rows", func(t *testing.T) {
				for n, r := range matrix {
					if r.cannot[kind] != "" {
						continue // this back end has no such fault, for the reason in the row
					}
					t.Run(r.name, func(t *testing.T) {
						t.Parallel()
						l.run(t, r, fmt.Sprintf("crash-%02d", n))
					})
				}
			})
			if left := l.instances(t, ""); len(left) > 0 {
				t.Errorf("left running: %v", left)
			}
		})
	}
}

var hoarding sync.Mutex

// run is one row.
func (l *lab) run(t *testing.T, r row, endpoint string) {
	if l.kind == "docker" {
		if r.python && !docker.HasImages(t.Context(), "", "amlocal/python") {
			covers.NotRun(t, "scoring scripts in containers", "the engine has no base image; make base-image")
		}
	}
	if r.name == "out of memory" {
		if memory(t) < 6<<20 {
			covers.NotRun(t, "out of memory", "this machine has hardly more than the smallest instance type")
		}
		hoarding.Lock() // one at a time is much enough
		defer hoarding.Unlock()
	}
	mark := filepath.Base(t.TempDir()) + l.kind + endpoint
	quick := func(failures int32) *armmachinelearning.ProbeSettings {
		return &armmachinelearning.ProbeSettings{InitialDelay: to.Ptr("PT1S"), Period: to.Ptr("PT1S"), Timeout: to.Ptr("PT5S"), FailureThreshold: &failures}
	}
	m := &armmachinelearning.ManagedOnlineDeployment{
		EndpointComputeType: to.Ptr(armmachinelearning.EndpointComputeTypeManaged), InstanceType: to.Ptr("Standard_DS3_v2"),
		EnvironmentVariables: map[string]*string{markEnv: &mark}, ReadinessProbe: quick(60), LivenessProbe: quick(60),
	}
	identity := r.make(t, l, m)
	few := int32(0) // these are to fail: begun or not
	if r.code == "ResourceNotReady" && (strings.Contains(strings.Join(r.texts, " "), "probe") || strings.Contains(r.texts[0], "did not pass")) {
		few = 2
		if r.python {
			few = 10 // the server has to come to init first
		}
		m.ReadinessProbe, m.LivenessProbe = quick(few), quick(few)
	}
	l.endpoint(t, endpoint, identity)
	want := outcome{r.code, r.texts, r.logs}
	if other, ok := r.on[l.kind]; ok {
		want = other
	}
	err := l.deploy(t.Context(), endpoint, m)
	for few > 0 && few < 60 && err != nil && !tells(err, want.texts) {
		// On a busy machine the time may be over before the server has begun.
		l.remove(t, endpoint) // a failed first provisioning cannot be mended in place
		few *= 3
		m.ReadinessProbe, m.LivenessProbe = quick(few), quick(few)
		err = l.deploy(t.Context(), endpoint, m)
	}
	if r.serves != nil {
		if err != nil {
			t.Fatalf("%v\n%s", err, l.log(t, endpoint, inference))
		}
		r.serves(t, l, endpoint)
		if len(started(mark)) == 0 {
			t.Error("no process has the row's mark: what is left would not be seen")
		}
	} else {
		wantFailure(t, err, want)
		wantGone(t, mark, "has failed")
		if left := l.instances(t, endpoint); len(left) > 0 {
			t.Errorf("left when the deployment has failed: %v", left)
		}
	}
	for kind, texts := range want.logs {
		for _, text := range texts {
			l.wantLog(t, endpoint, kind, text)
		}
	}
	l.remove(t, endpoint)
	wantGone(t, mark, "is deleted")
}

func wantFailure(t *testing.T, err error, want outcome) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		t.Errorf("got %v, want %s", err, want.code)
		return
	}
	if re.ErrorCode != want.code {
		t.Errorf("code %s, want %s: %v", re.ErrorCode, want.code, err)
	}
	for _, text := range want.texts {
		if !tells(err, []string{text}) {
			t.Errorf("the error lacks %q: %v", text, err)
		}
	}
}

// tells says whether an error has all the texts.
func tells(err error, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) && !strings.Contains(strings.ReplaceAll(err.Error(), `\"`, `"`), text) {
			return false
		}
	}
	return true
}

// wantLog waits for what a log must have: a server's last line may come a moment
// after its answer.
func (l *lab) wantLog(t *testing.T, endpoint string, kind armmachinelearning.ContainerType, text string) {
	t.Helper()
	var log string
	for range 3000 {
		if log = l.log(t, endpoint, kind); strings.Contains(log, text) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("the %s log lacks %q:\n%s", kind, text, log)
}

// memory is this machine's, in KiB.
func memory(t *testing.T) (kib int) {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile("/proc/meminfo"))(t))) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("/proc/meminfo has no total")
	return 0
}
