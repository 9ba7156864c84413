package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// Config is what the back end needs.
type Config struct {
	// StateDir is the emulator's own: records of running instances and their
	// folders. CacheDir holds virtual environments and may be shared by
	// several emulators.
	StateDir, CacheDir string
	// ProxyURL gives an instance's proxy; its user and password let the proxy
	// tell who connects. nil sets no proxy.
	ProxyURL func(instanceID, secret string) string
	// CABundle is a file with the emulator's CA and the public roots.
	CABundle string
	// TrustStore is the same for Java, with its password.
	TrustStore, TrustStorePassword string
	// IdentityURL is the identity endpoint as a child reaches it.
	IdentityURL string
	// Images maps an image to the command line of a server on this machine.
	Images map[string][]string
	// CondaRelax takes another Python and leaves out what pip cannot install,
	// and says so, instead of refusing.
	CondaRelax bool
	// Offline makes environments from the cache only.
	Offline bool
	// Pythons are interpreters to consider before those on PATH.
	Pythons []string
	// Sandbox says whether instances get namespaces of their own; "" is
	// SandboxOff. Agent is a program that calls sandbox.Main before anything
	// else, "/proc/self/exe" where this one does; without it there is none.
	Sandbox SandboxMode
	Agent   string
	// Serve serves the sockets of a sandboxed instance until stop is called.
	Serve func(spec runner.InstanceSpec, s sandbox.Sockets) (stop func())
	// Abandoned is how long a sandboxed instance goes on when the emulator was
	// killed, waiting for Adopt; 0 is a minute.
	Abandoned time.Duration
	// Clock is for progress lines; nil is the machine's.
	Clock clock.Clock
	// Logf gets the back end's own events; nil drops them.
	Logf func(format string, args ...any)
}

// Backend implements runner.Backend.
type Backend struct {
	cfg Config

	mu        sync.Mutex
	closed    bool
	instances map[*instance]bool
	ports     map[int]bool // of servers brought along
	pythons   []python     // found so far
	searched  bool
	folders   map[string][]string  // pythonFolders of an environment, asked once
	targets   map[string]*instance // sandboxed ones by the address of their Target
	orphans   map[string][]orphan  // left by an earlier process, by deployment

	// noSandbox is why there is none; nil where there is.
	noSandbox error
}

var _ runner.Backend = (*Backend)(nil)

// New prepares the folders; it starts nothing.
func New(cfg Config) (*Backend, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if cfg.StateDir == "" || cfg.CacheDir == "" {
		return nil, errors.New("process: StateDir and CacheDir are needed")
	}
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	if cfg.Abandoned <= 0 {
		cfg.Abandoned = time.Minute
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	var err error
	for _, dir := range []*string{&cfg.StateDir, &cfg.CacheDir} {
		// Children have another working folder.
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, fmt.Errorf("process: %w", err)
		}
	}
	if err := os.MkdirAll(instancesDir(cfg.StateDir), 0o700); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	closeOnExec()
	b := &Backend{cfg: cfg, folders: map[string][]string{}, instances: map[*instance]bool{}, ports: map[int]bool{}, targets: map[string]*instance{}, orphans: map[string][]orphan{}}
	if err := b.probe(); err != nil {
		return nil, err
	}
	return b, nil
}

// Name is "process".
func (b *Backend) Name() string { return "process" }

// artifact is what Build hands to Start.
type artifact struct {
	// Python is the virtual environment's interpreter, or Command a server
	// brought along.
	Python    string            `json:"python,omitempty"`
	Command   []string          `json:"command,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
	// Folders are what the interpreter needs beside /usr, in a sandbox.
	Folders []string `json:"folders,omitempty"`
}

// Build makes the virtual environment, or finds the command an image stands
// for. A mapped image wins over a script: it was mapped on purpose.
func (b *Backend) Build(ctx context.Context, env runner.Environment, script bool, log io.Writer) (string, error) {
	say := func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) }
	var a artifact
	if command, ok := b.cfg.Images[env.Image]; ok {
		if len(command) == 0 {
			return "", imageFailed("image %s is mapped to an empty command", env.Image)
		}
		program, err := exec.LookPath(command[0])
		if err == nil {
			program, err = filepath.Abs(program)
		}
		if err != nil {
			return "", imageFailed("image %s is mapped to %s, which cannot be run: %v", env.Image, command[0], err)
		}
		a.Command = append([]string{program}, command[1:]...)
		say("Image %s: running %s in its place", env.Image, strings.Join(command, " "))
	} else if env.Context != "" {
		return "", &runner.Failure{Kind: runner.BuildFailed, Message: "the environment is made by a Dockerfile, and the process runner builds no images; use a container engine (--runner docker)"}
	} else if !script {
		return "", imageFailed("image %q brings its own server, and the process runner cannot run images; "+
			"map it to a local command with \"images:\" in the world file, or use a container engine (--runner docker)", env.Image)
	} else {
		var err error
		if a.Python, a.Variables, err = b.environment(ctx, env, say); err != nil {
			return "", err
		}
	}
	if b.sandboxed() {
		var err error
		if a.Folders, err = b.needs(ctx, a); err != nil {
			return "", err
		}
	}
	say("Runner: %s", b.Isolation())
	raw, err := json.Marshal(a)
	if err != nil {
		return "", fmt.Errorf("process: %w", err)
	}
	return string(raw), nil
}

func imageFailed(format string, args ...any) *runner.Failure {
	return &runner.Failure{Kind: runner.ImageFailed, Message: fmt.Sprintf(format, args...)}
}

func buildFailed(format string, args ...any) *runner.Failure {
	return &runner.Failure{Kind: runner.BuildFailed, Message: fmt.Sprintf(format, args...)}
}

// Sweep ends what an earlier process of this state folder left running. Call
// it while holding the state folder, before the first Start.
func (b *Backend) Sweep(ctx context.Context) error { return SweepState(ctx, b.cfg.StateDir) }

// Close ends every instance: SIGTERM, and SIGKILL three seconds later.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	left := make([]*instance, 0, len(b.instances))
	for i := range b.instances {
		left = append(left, i)
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, i := range left {
		wg.Go(func() { _ = i.Stop(ctx) })
	}
	wg.Wait()
	b.disownAll()
	return nil
}
