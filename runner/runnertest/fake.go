package runnertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/amlocal/amlocal/runner"
)

// Fake is a Backend whose instances are Servers inside the test process.
type Fake struct {
	// OnBuild replaces Build; nil succeeds for any image but "missing".
	OnBuild func(ctx context.Context, env runner.Environment, log io.Writer) error
	// OnStart may change the environment of the n-th instance started, 1
	// being the first, or refuse it.
	OnStart func(n int, env map[string]string) error

	starts atomic.Int64

	mu        sync.Mutex
	instances map[*fakeInstance]bool
	closed    bool
}

var _ runner.Backend = (*Fake)(nil)

// Name is "fake".
func (f *Fake) Name() string { return "fake" }

// Build writes one line.
func (f *Fake) Build(ctx context.Context, env runner.Environment, _ bool, log io.Writer) (string, error) {
	fmt.Fprintf(log, "building %s\n", env.Image)
	if f.OnBuild != nil {
		if err := f.OnBuild(ctx, env, log); err != nil {
			return "", err
		}
	}
	if env.Image == "missing" {
		return "", &runner.Failure{Kind: runner.ImageFailed, Message: "there is no image " + env.Image}
	}
	return "artifact of " + env.Image, nil
}

// Start serves on a loopback port.
func (f *Fake) Start(_ context.Context, spec runner.InstanceSpec) (runner.Instance, error) {
	env := maps.Clone(spec.Env)
	if env == nil {
		env = map[string]string{}
	}
	for name, value := range spec.PathEnv {
		for _, m := range spec.Mounts {
			if value == m.Target || strings.HasPrefix(value, m.Target+"/") {
				value = path.Join(m.Source, strings.TrimPrefix(value, m.Target))
				break
			}
		}
		env[name] = value
	}
	for _, name := range spec.IdentityURLVars {
		env[name] = "http://127.0.0.1:1/token"
	}
	for _, name := range spec.IdentitySecretVars {
		env[name] = spec.Secret
	}
	if f.OnStart != nil {
		if err := f.OnStart(int(f.starts.Add(1)), env); err != nil {
			return nil, err
		}
	}
	i := &fakeInstance{id: spec.InstanceID, done: make(chan struct{})}
	s := &Server{Env: env, Out: spec.Log, Exit: i.exit}
	i.http = httptest.NewServer(s)
	i.forget = func() { f.mu.Lock(); delete(f.instances, i); f.mu.Unlock() }
	f.mu.Lock()
	closed := f.closed
	if f.instances == nil {
		f.instances = map[*fakeInstance]bool{}
	}
	f.instances[i] = true
	f.mu.Unlock()
	if closed {
		i.exit(143)
		return nil, errors.New("the back end is closed")
	}
	go s.Begin()
	return i, nil
}

// Running counts the instances that have not ended.
func (f *Fake) Running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.instances)
}

// Sweep has nothing to do: instances live in this process.
func (f *Fake) Sweep(context.Context) error { return nil }

// Close ends all instances.
func (f *Fake) Close() error {
	f.mu.Lock()
	f.closed = true
	left := make([]*fakeInstance, 0, len(f.instances))
	for i := range f.instances {
		left = append(left, i)
	}
	f.mu.Unlock()
	for _, i := range left {
		i.exit(143)
	}
	return nil
}

type fakeInstance struct {
	id     string
	http   *httptest.Server
	forget func()
	once   sync.Once
	code   int
	done   chan struct{}
}

func (i *fakeInstance) exit(code int) {
	i.once.Do(func() {
		i.code = code
		i.forget()
		i.http.CloseClientConnections()
		_ = i.http.Listener.Close()
		close(i.done)
	})
}

func (i *fakeInstance) Target() runner.Target {
	return runner.Target{Instance: i.id, URL: i.http.URL}
}

func (i *fakeInstance) Probe(ctx context.Context, route runner.Route) (int, error) {
	select {
	case <-i.done:
		return 0, errors.New("connection refused")
	default:
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.http.URL+route.Path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (i *fakeInstance) Done() <-chan struct{} { return i.done }
func (i *fakeInstance) ExitCode() int         { return i.code }

func (i *fakeInstance) Stop(context.Context) error {
	i.exit(143)
	return nil
}
