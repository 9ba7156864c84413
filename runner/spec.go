package runner

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Spec is what to run: one revision of one deployment. It speaks no Azure, and
// cannot express host binds beyond read-only files, privilege, the host's
// network, devices or an engine's socket.
type Spec struct {
	// ID names the deployment across revisions; any string.
	ID string
	// Name is for people and logs: "endpoint/deployment".
	Name string
	// Revision names this wish; Deploy with a new revision replaces the old.
	Revision string
	// Instances is how many replicas to run, at least 1.
	Instances int
	// Environment is what the code runs in.
	Environment Environment
	// Script is the scoring script to serve with the inference server; nil
	// for an environment that brings its own server.
	Script *Script
	// Mounts are read-only folders the instance sees.
	Mounts []Mount
	// Env are the instance's variables. PathEnv are those whose values are
	// paths below a Mount's Target; a back end without a file system of its
	// own rewrites them to where the files really are.
	Env     map[string]string
	PathEnv map[string]string
	// IdentityURLVars are set to the identity endpoint's URL as this
	// instance reaches it, IdentitySecretVars to its own secret.
	IdentityURLVars    []string
	IdentitySecretVars []string
	// Scoring, Liveness and Readiness say where the server answers.
	Scoring   Route
	Liveness  Probe
	Readiness Probe
	// CPU is in cores, MemoryMiB in MiB; 0 leaves the machine's.
	CPU       float64
	MemoryMiB int
}

// Environment is an image and, on top of it, a conda file; or the image that
// the Dockerfile of a build context makes.
type Environment struct {
	Image     string
	CondaFile string // YAML text; empty for none
	// Context is a folder of this machine, Dockerfile a path below it, empty
	// for "Dockerfile". Image and CondaFile are empty then.
	Context    string
	Dockerfile string
}

// Script is a scoring script below a Mount.
type Script struct {
	// Dir is the code folder as the instance sees it, File the script's path
	// below it.
	Dir, File string
}

// Mount makes the host folder Source appear, read-only, at Target.
type Mount struct{ Source, Target string }

// Route is a port and path inside the instance.
type Route struct {
	Port int
	Path string
}

// Probe asks Route until it answers 200.
type Probe struct {
	Route            Route
	InitialDelay     time.Duration
	Period           time.Duration
	Timeout          time.Duration
	SuccessThreshold int
	FailureThreshold int
}

// Target is a ready instance as the gateway reaches it: an absolute URL
// without path, e.g. "http://127.0.0.1:31311".
type Target struct {
	Instance string
	URL      string
}

// LogKind selects one of a deployment's logs.
type LogKind string

// The two logs a deployment has.
const (
	InferenceServer    LogKind = "inference-server"
	StorageInitializer LogKind = "storage-initializer"
)

// FailureKind is why a deployment could not be brought up.
type FailureKind string

// The kinds of failure; the control plane maps them to public codes.
const (
	BuildFailed FailureKind = "build"     // the environment could not be made
	ImageFailed FailureKind = "image"     // the image does not exist or is refused
	Crashed     FailureKind = "crashed"   // the server exited before it was ready
	NotReady    FailureKind = "not-ready" // probes never passed
	Canceled    FailureKind = "canceled"  // removed or replaced meanwhile
)

// Failure is a deployment's failure as a user should read it.
type Failure struct {
	Kind FailureKind
	// Message is a sentence; Log the end of the log that explains it, such
	// as the scoring script's traceback.
	Message string
	Log     string
	Cause   error
}

// Error is the message with its kind.
func (f *Failure) Error() string { return fmt.Sprintf("%s: %s", f.Kind, f.Message) }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// Backend runs instances. Implementations: runner/process, later runner/docker
// and runner/kube. runnertest is its conformance suite.
type Backend interface {
	// Name is "process", "docker" or "kube".
	Name() string
	// Build makes the environment ready, once per content, writing progress
	// to log; later calls with the same Environment return at once. It MUST
	// return *Failure of kind BuildFailed or ImageFailed when the user can
	// mend it. artifact is opaque to everyone but Start.
	Build(ctx context.Context, env Environment, script bool, log io.Writer) (artifact string, err error)
	// Start starts one instance and returns without waiting for readiness.
	Start(ctx context.Context, spec InstanceSpec) (Instance, error)
	// Sweep ends everything an earlier process of this state folder left
	// running, and only that.
	Sweep(ctx context.Context) error
	// Close ends every instance.
	Close() error
}

// InstanceSpec is a Spec made concrete for one replica.
type InstanceSpec struct {
	Spec
	// InstanceID is unique among all instances.
	InstanceID string
	// Artifact is what Build returned.
	Artifact string
	// Secret is the instance's own identity secret.
	Secret string
	// Log receives stdout and stderr.
	Log io.Writer
}

// Instance is one running replica.
type Instance interface {
	// Target is where its server answers, once it does.
	Target() Target
	// Probe asks one route once.
	Probe(ctx context.Context, route Route) (status int, err error)
	// Done is closed when the instance has ended; ExitCode is valid then.
	Done() <-chan struct{}
	ExitCode() int
	// Stop ends it: SIGTERM, then SIGKILL after the context ends.
	Stop(ctx context.Context) error
}
