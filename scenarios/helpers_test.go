package scenarios

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
)

// goSDK is the client all tests of this package drive the emulator with.
const goSDK = "azure-sdk-for-go"

// built is what all tests share: the Go scorer and one authority.
type built struct{ scorer, caDir string }

var shared = sync.OnceValues(func() (b built, err error) {
	b = built{filepath.Join(sharedDir, "goscorer"), filepath.Join(sharedDir, "ca")}
	out, err := exec.Command("go", "build", "-o", b.scorer, "./goscorer").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the Go scorer: %w\n%s", err, out)
	}
	return b, err
})

// sharedDir is removed when the tests have ended.
var sharedDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if sharedDir, err = os.MkdirTemp("", "amlocal-scenarios-"); err != nil {
			fmt.Println(err)
			return 1
		}
		defer os.RemoveAll(sharedDir) //nolint:errcheck // a temporary folder
		return m.Run()
	}())
}

// testOptions are those of a run that uses nothing of the user's.
func testOptions(t *testing.T) Options {
	t.Helper()
	b, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	o, err := Options{Runner: "process", CADir: b.caDir, CacheDir: cacheDir(t), GoScorer: b.scorer, Logf: t.Logf}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// cacheDir is shared by all runs, so that the environment is made once.
func cacheDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("AMLOCAL_CACHE"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs(filepath.Join("..", ".cache", "amlocal"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lines collects what a scenario prints.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start is a session that ends with the test; a failed test shows what the
// flow printed.
func start(t *testing.T, change func(*Options)) *session {
	t.Helper()
	o := testOptions(t)
	if change != nil {
		change(&o)
	}
	out := new(lines)
	s, err := begin(t.Context(), "sai", o, newReport(out))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(out)
		}
	})
	return s
}

func scenario(t *testing.T, name string) Scenario {
	t.Helper()
	s, err := find(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// blobScenarios are the how-to's two.
func blobScenarios() (out []Scenario) {
	for _, s := range List() {
		if s.readsBlob() {
			out = append(out, s)
		}
	}
	return out
}

// flowOf is a flow on a session, prepared: account, endpoint and identity are
// there, and no role on the account.
func flowOf(t *testing.T, s *session, name, scorer string) *flow {
	t.Helper()
	f := &flow{session: s, scenario: scenario(t, name), scorer: scorer, variant: "managedidentity", blue: "blue", green: "green"}
	must(t, f.prepare(t.Context()))
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grant gives the flow's identity a role.
func grant(t *testing.T, f *flow, role, scope string) (assignment string) {
	t.Helper()
	id, err := f.cloud.grant(t.Context(), f.principal, role, scope)
	must(t, err)
	return id
}

func revoke(t *testing.T, f *flow, assignment string) {
	t.Helper()
	_, err := f.cloud.assignments.DeleteByID(t.Context(), assignment, nil)
	must(t, err)
}

// mustFail creates a deployment that has to end Failed, deletes it again, and
// returns its error's code and message and its two logs.
func mustFail(t *testing.T, f *flow, d *deploymentFile) (code, message, server, initializer string) {
	t.Helper()
	ctx := t.Context()
	made, err := f.cloud.deploy(ctx, f.endpoint, d)
	if err == nil {
		t.Fatalf("deployment %s succeeded: %v", d.Name, *made.ID)
	}
	code, message = serviceError(err)
	state, err := f.cloud.provisioningState(ctx, f.endpoint, d.Name)
	must(t, err)
	if state != ml.DeploymentProvisioningStateFailed {
		t.Fatalf("the state of %s is %q after: %s: %s", d.Name, state, code, message)
	}
	server, err = f.cloud.logs(ctx, f.endpoint, d.Name, "")
	must(t, err)
	initializer, err = f.cloud.logs(ctx, f.endpoint, d.Name, ml.ContainerTypeStorageInitializer)
	must(t, err)
	must(t, f.cloud.deleteDeployment(ctx, f.endpoint, d.Name))
	return code, message, server, initializer
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: no %q in:\n%s", what, p, text)
		}
	}
}

// needPython makes sure that scripts can run; the environment is made here if
// it is not in the cache yet.
func needPython(t *testing.T) {
	t.Helper()
	reason, err := python()
	must(t, err)
	if reason != "" {
		covers.NotRun(t, "python", reason)
	}
}

var python = sync.OnceValues(func() (reason string, err error) {
	ctx := context.Background()
	found, err := findPython(ctx, false)
	if err != nil || found == "" {
		return "there is no Python 3.10 to 3.13 with venv", err
	}
	cache := os.Getenv("AMLOCAL_CACHE")
	if cache == "" {
		cache = filepath.Join("..", ".cache", "amlocal")
	}
	failure, err := makeEnvironment(ctx, Options{CacheDir: cache})
	for try := 1; try < 3 && failure != nil && err == nil; try++ { // what it fetches may come another time
		time.Sleep(time.Duration(try) * 5 * time.Second)
		failure, err = makeEnvironment(ctx, Options{CacheDir: cache})
	}
	return failureText(failure), err
})

func failureText(f *runner.Failure) string {
	if f == nil {
		return ""
	}
	return f.Message
}

// minimal is a deployment that names nothing but its environment.
func minimal() ml.OnlineDeployment {
	return ml.OnlineDeployment{
		Location: to.Ptr(location), SKU: &ml.SKU{Name: to.Ptr("Default"), Capacity: to.Ptr[int32](1)},
		Properties: &ml.ManagedOnlineDeployment{EndpointComputeType: to.Ptr(ml.EndpointComputeTypeManaged), EnvironmentID: to.Ptr("azureml:none:1"), InstanceType: to.Ptr("Standard_DS3_v2")},
	}
}
