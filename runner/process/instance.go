package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// instance is one child and its descendants.
type instance struct {
	b      *Backend
	id     string
	folder folder
	cmd    *exec.Cmd   // of a plain child
	ports  map[int]int // container port to ours
	main   int
	client *http.Client

	// In a sandbox:
	box         *sandbox.Process
	front       *front
	stopServing func()

	code atomic.Int64
	done chan struct{}
}

var _ runner.Instance = (*instance)(nil)

// Start starts one instance. It lives until Stop, its own end, or Close; ctx
// bounds only the start.
func (b *Backend) Start(ctx context.Context, spec runner.InstanceSpec) (_ runner.Instance, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := parseArtifact(spec.Artifact)
	if err != nil {
		return nil, err
	}
	warn := func(format string, args ...any) { fmt.Fprintf(spec.Log, "amlocal: warning: "+format+"\n", args...) }
	f, err := layOut(b.cfg.StateDir, spec, b.sandboxed())
	if err != nil {
		return nil, err
	}
	i := &instance{b: b, id: spec.InstanceID, folder: f, done: make(chan struct{})}
	defer func() {
		if err != nil {
			i.leave()
			i.release()
		}
	}()
	var argv []string
	var files []*os.File
	if a.Command != nil {
		argv, i.ports, err = b.ownCommand(spec, a)
	} else {
		if spec.Script == nil {
			return nil, errors.New("process: no script and no command")
		}
		if f.boxed {
			argv, i.ports = boxedScriptCommand(spec, a)
		} else {
			argv, files, i.ports, err = scriptCommand(spec, a, f.root)
			defer closeAll(files)
		}
	}
	if err != nil {
		return nil, err
	}
	i.connect(spec)
	env := b.environ(spec, a, f, i.ports, warn)

	// The record is there before the process is, so that none is ever
	// unknown to a sweep.
	rec := record{ID: spec.InstanceID, Mark: f.dir, Tmp: f.tmp}
	if f.boxed {
		rec.Protocol, rec.Key, rec.Deployment, rec.Revision = sandbox.Protocol, newKey(), spec.ID, spec.Revision
		rec.Secret, rec.Since = spec.Secret, b.cfg.Clock.Now()
		if rec.Fingerprint, err = b.fingerprint(rec.Key, spec.Spec, spec.Artifact); err != nil {
			return nil, err
		}
	}
	if err := rec.write(f.dir); err != nil {
		return nil, err
	}
	if f.boxed {
		if err := i.enter(ctx, spec, a, argv, env, rec.Key); err != nil {
			i.kill()
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		i.kill()
		return nil, errClosed
	}
	if !f.boxed {
		i.command(spec, argv, env, files)
		if err := i.cmd.Start(); err != nil {
			return nil, &runner.Failure{Kind: runner.Crashed, Cause: err, Message: fmt.Sprintf("%s cannot be started: %v", argv[0], err)}
		}
	}
	rec.PID = i.pid()
	rec.Start, _ = startTime(rec.PID) // without it the sweep goes by the mark alone
	if err := rec.write(f.dir); err != nil {
		b.cfg.Logf("process: %v", err)
	} else if f.boxed {
		// From here on the next process can find it.
		if err := i.box.Keep(); err != nil {
			b.cfg.Logf("process: instance %s will end with the emulator: %v", i.id, err)
		}
	}
	b.registerLocked(i)
	return i, nil
}

var errClosed = errors.New("process: the back end is closed")

// registerLocked makes an instance the back end's, and sees it out.
func (b *Backend) registerLocked(i *instance) {
	b.instances[i] = true
	if i.front != nil {
		b.targets[i.front.ln.Addr().String()] = i
	}
	go i.wait()
}

// connect says where the instance's server is going to answer.
func (i *instance) connect(spec runner.InstanceSpec) {
	i.main = i.ports[spec.Scoring.Port]
	// Each probe on a connection of its own: a worker that serves one
	// connection at a time must not be held by an idle one.
	i.client = &http.Client{
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, DialContext: i.dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (i *instance) pid() int {
	if i.box != nil {
		return i.box.PID()
	}
	return i.cmd.Process.Pid
}

// command prepares a plain child.
func (i *instance) command(spec runner.InstanceSpec, argv, env []string, files []*os.File) {
	i.cmd = exec.Command(argv[0], argv[1:]...) //nolint:gosec // the user's own command
	i.cmd.Dir = i.folder.workDir(spec)
	i.cmd.Env = env
	i.cmd.Stdout, i.cmd.Stderr = spec.Log, spec.Log
	i.cmd.ExtraFiles = files
	i.cmd.WaitDelay = 2 * time.Second
	setSession(i.cmd)
}

// kill ends a sandbox that nobody waits for yet.
func (i *instance) kill() {
	if i.box != nil {
		_ = i.box.Signal(syscall.SIGKILL)
		i.box.Wait()
	}
}

// leave stops serving a sandbox.
func (i *instance) leave() {
	if i.front != nil {
		i.front.close()
	}
	if i.stopServing != nil {
		i.stopServing()
	}
	if i.box != nil {
		i.box.Close()
	}
}

// dial reaches a port of the instance's.
func (i *instance) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if i.box == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	return i.box.DialContext(ctx, port)
}

// wait sees the child out, with all that it left behind.
func (i *instance) wait() {
	code := 0
	if i.box != nil {
		code = i.box.Wait()
	} else {
		err := reap(i.cmd, i.folder.dir)
		code = i.cmd.ProcessState.ExitCode()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if signal, ok := exitSignal(exit.ProcessState); ok {
				code = 128 + int(signal)
			}
		}
	}
	i.code.Store(int64(code))
	i.client.CloseIdleConnections()
	i.b.mu.Lock()
	delete(i.b.instances, i)
	if i.front != nil {
		delete(i.b.targets, i.front.ln.Addr().String())
	}
	i.b.mu.Unlock()
	i.leave()
	i.release()
	close(i.done)
}

// release gives back ports and folder.
func (i *instance) release() {
	for _, p := range i.ports {
		if p >= firstPort && p <= lastPort && !i.folder.boxed {
			i.b.releasePort(p)
		}
	}
	if err := i.folder.remove(); err != nil {
		i.b.cfg.Logf("process: remove the folder of instance %s: %v", i.id, err)
	}
}

// Target is the server on loopback.
func (i *instance) Target() runner.Target {
	if i.front != nil {
		return runner.Target{Instance: i.id, URL: "http://" + i.front.ln.Addr().String()}
	}
	return runner.Target{Instance: i.id, URL: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(i.main))}
}

// Probe asks one route once.
func (i *instance) Probe(ctx context.Context, route runner.Route) (int, error) {
	port, ok := i.ports[route.Port]
	if i.box != nil {
		port, ok = route.Port, true
	}
	if !ok {
		return 0, fmt.Errorf("nothing listens on port %d", route.Port)
	}
	select {
	case <-i.done: // its port may be another's by now
		return 0, errors.New("the instance has ended")
	default:
	}
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + route.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Done is closed when the child and all it left have ended and the log is
// complete.
func (i *instance) Done() <-chan struct{} { return i.done }

// ExitCode is the child's; 128 and the signal for one that was killed.
func (i *instance) ExitCode() int { return int(i.code.Load()) }

// Stop asks the whole group to end, and makes it when ctx ends.
func (i *instance) Stop(ctx context.Context) error {
	select {
	case <-i.done:
		return nil
	default:
	}
	if err := i.signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		i.b.cfg.Logf("process: SIGTERM to instance %s: %v", i.id, err)
	}
	select {
	case <-i.done:
		return nil
	case <-ctx.Done():
	}
	_ = i.signal(syscall.SIGKILL)
	<-i.done
	return nil
}

// signal reaches the whole group, in a sandbox by way of the agent.
func (i *instance) signal(s syscall.Signal) error {
	if i.box != nil {
		return i.box.Signal(s)
	}
	return killGroup(i.cmd.Process.Pid, s)
}
