package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/amlocal/amlocal/runner"
)

// instance is one container.
type instance struct {
	b               *Backend
	id, owner, name string
	container       string
	stopSignal      string
	subnet          *subnet
	address         netip.Addr
	set             *mountSet
	forward         *forward
	probes          *http.Client
	log             io.Writer
	memory          int64
	code            atomic.Int64
	done            chan struct{} // the container has ended, its log is complete
	gone            chan struct{} // and nothing of it is left
}

var _ runner.Instance = (*instance)(nil)

// Start starts one container and everything it needs. It lives until Stop, its
// own end, or Close; ctx bounds only the start.
func (b *Backend) Start(ctx context.Context, spec runner.InstanceSpec) (_ runner.Instance, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var a artifact
	if err := json.Unmarshal([]byte(spec.Artifact), &a); err != nil || a.ID == "" {
		return nil, fmt.Errorf("docker: artifact %q is not of this back end", spec.Artifact)
	}
	m, err := b.about(ctx)
	if err != nil {
		return nil, err
	}
	image, err := b.eng.image(ctx, a.ID)
	if errors.Is(err, errNotFound) {
		return nil, imageFailed("the image %s was removed from the container engine", a.Image)
	} else if err != nil {
		return nil, fmt.Errorf("docker: image %s: %w", a.Image, err)
	}
	i := &instance{b: b, id: spec.InstanceID, owner: spec.ID, name: spec.Name, log: spec.Log,
		stopSignal: image.stopSignal, done: make(chan struct{}), gone: make(chan struct{})}
	if i.stopSignal == "" {
		i.stopSignal = "SIGTERM"
	}
	defer func() {
		if err != nil {
			i.release()
		}
	}()
	if i.subnet, i.address, err = b.nets.acquire(ctx, spec.ID, spec.Name); err != nil {
		return nil, err
	}
	brought, err := b.vols.prepare(ctx, spec, i.subnet.prefix)
	if err != nil {
		return nil, err
	}
	i.set = brought.set
	defer func() { _ = brought.arrived() }() // also when something fails first: then the set is released
	say := note(spec)
	c := containerSpec{
		name: b.thing(spec.InstanceID), image: a.ID, env: b.environ(spec, image, i.subnet.prefix, say),
		labels:  b.labels("instance", nameLabel, spec.Name, instanceLabel, spec.InstanceID),
		network: i.subnet.id, address: i.address, resolvConf: brought.resolvConf,
		volumes:      append([]volumeMount{{volume: brought.trust, target: trustDir, readOnly: true}}, brought.set.targets...),
		capabilities: capabilitiesFor(image.user), pids: instancePids,
	}
	c.memory, c.cpus = limits(spec, m, say)
	i.memory = c.memory
	if i.container, err = b.eng.create(ctx, c); err != nil {
		return nil, i.refused(a.Image, err)
	}
	if i.forward, err = newForward(func(ctx context.Context) (net.Conn, error) { return i.dial(ctx, spec.Scoring.Port) }); err != nil {
		return nil, err
	}
	// Each probe on a connection of its own: a worker that serves one
	// connection at a time must not be held by an idle one.
	i.probes = &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: i.dialAddress},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	output, err := b.eng.attach(context.WithoutCancel(ctx), i.container)
	if err != nil {
		return nil, fmt.Errorf("docker: attach to the container of %s: %w", spec.Name, err)
	}
	if err := b.register(i); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	if err := brought.arrived(); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	if err := b.eng.start(ctx, i.container); err != nil {
		return nil, errors.Join(i.refused(a.Image, err), output.Close())
	}
	copied := make(chan struct{})
	go i.copyLog(output, copied)
	b.cleanup.Go(func() { i.watch(output, copied) })
	return i, nil
}

// register makes the instance's address known, before its first packet.
func (b *Backend) register(i *instance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	b.instances[i.address] = i
	return nil
}

// refused words what the engine says about a container that cannot be.
func (i *instance) refused(image string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "No command specified") || strings.Contains(text, "no command specified"):
		return &runner.Failure{Kind: runner.ImageFailed, Cause: err, Message: fmt.Sprintf("the image %s has neither a command nor an entrypoint", image)}
	case strings.Contains(text, "OCI runtime create failed") || strings.Contains(text, "failed to create task"):
		why := text
		for _, before := range []string{"starting container process caused: ", "unable to start container process: "} { // runc before 1.1, and since
			if i := strings.LastIndex(why, before); i >= 0 {
				why = why[i+len(before):]
			}
		}
		return &runner.Failure{Kind: runner.Crashed, Cause: err, Message: fmt.Sprintf("the command of the image %s cannot be started: %s", image, strings.TrimSuffix(why, ": unknown"))}
	}
	return fmt.Errorf("docker: run %s: %w", image, err)
}

func (i *instance) copyLog(output io.Reader, copied chan<- struct{}) {
	defer close(copied)
	log := &lines{out: i.log}
	stdout, stderr := log.stream(), log.stream()
	demultiplex(stdout, stderr, output) // ends with the container, or with output
	stdout.flush()
	stderr.flush()
}

// watch sees the container out.
func (i *instance) watch(output io.Closer, copied <-chan struct{}) {
	code, outOfMemory := i.b.awaitEnd(i.container)
	select {
	case <-copied:
	case <-time.After(10 * time.Second): // something the container left holds its output
	}
	_ = output.Close()
	<-copied
	if outOfMemory {
		_, _ = fmt.Fprintf(i.log, "amlocal: the instance was ended because it used more than its %d MiB of memory\n", i.memory>>20)
	}
	i.code.Store(int64(code))
	i.forget()
	close(i.done)
	i.release()
	close(i.gone)
}

// awaitEnd waits for the end of a container, also while the engine is away.
func (b *Backend) awaitEnd(id string) (code int, outOfMemory bool) {
	ctx := b.life
	for {
		if ctx.Err() != nil {
			return 137, false
		}
		code, err := b.eng.wait(ctx, id)
		if errors.Is(err, errNotFound) {
			return 137, false // removed behind our back
		}
		got, inspectErr := b.eng.container(ctx, id)
		switch {
		case errors.Is(inspectErr, errNotFound):
			if err != nil {
				code = 137
			}
			return code, false
		case inspectErr == nil && !got.running:
			return got.exitCode, got.outOfMemory
		case err == nil && inspectErr != nil:
			return code, false
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// forget takes the address out of use.
func (i *instance) forget() {
	i.b.mu.Lock()
	defer i.b.mu.Unlock()
	if i.b.instances[i.address] == i {
		delete(i.b.instances, i.address)
	}
}

// release removes what the instance was made of, as far as that is there.
func (i *instance) release() {
	i.forget()
	if i.forward != nil {
		i.forward.close()
	}
	if i.container != "" {
		ctx, cancel := cleaning()
		if err := i.b.eng.remove(ctx, i.container); err != nil {
			i.b.cfg.Logf("docker: remove the container of instance %s: %v", i.id, err)
		}
		cancel()
	}
	if i.set != nil {
		i.b.vols.release(i.set)
	}
	if i.subnet != nil {
		i.b.nets.release(i.subnet, i.address)
	}
}

// dial opens a connection to one of the instance's ports.
func (i *instance) dial(ctx context.Context, port int) (net.Conn, error) {
	select {
	case <-i.done: // its address may be another's by now
		return nil, errors.New("the instance has ended")
	default:
	}
	l, err := i.b.agent.link(ctx)
	if err != nil {
		return nil, err
	}
	return l.dial(ctx, netip.AddrPortFrom(i.address, uint16(port))) //nolint:gosec // a port
}

func (i *instance) dialAddress(ctx context.Context, _, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return i.dial(ctx, int(at.Port()))
}

// Target is the server as the forwarder shows it on loopback.
func (i *instance) Target() runner.Target { return runner.Target{Instance: i.id, URL: i.forward.url()} }

// Probe asks one route once.
func (i *instance) Probe(ctx context.Context, route runner.Route) (int, error) {
	if route.Port < 1 || route.Port > 65535 {
		return 0, fmt.Errorf("%d is not a port", route.Port)
	}
	url := "http://" + netip.AddrPortFrom(i.address, uint16(route.Port)).String() + route.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := i.probes.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Done is closed when the container has ended and its log is complete.
func (i *instance) Done() <-chan struct{} { return i.done }

// ExitCode is the container's; 128 and the signal for one that was killed.
func (i *instance) ExitCode() int { return int(i.code.Load()) }

// stopLimit is how long the engine may take to do what Stop asked.
const stopLimit = 20 * time.Second

// Stop sends the image's stop signal, SIGTERM unless it names another, and
// SIGKILL when ctx ends. When it returns without error, nothing of the instance
// is left.
func (i *instance) Stop(ctx context.Context) error {
	i.send(i.stopSignal)
	select {
	case <-i.done:
	case <-ctx.Done():
		i.send("SIGKILL")
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-i.gone:
		return nil
	case <-limit.C:
		return fmt.Errorf("docker: the container engine does not end instance %s", i.id)
	}
}

func (i *instance) send(signal string) {
	select {
	case <-i.done:
		return
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	err := i.b.eng.signal(ctx, i.container, signal)
	if err != nil && !errors.Is(err, errNotFound) && !errors.Is(err, errConflict) { // it has just ended
		i.b.cfg.Logf("docker: %s to instance %s: %v", signal, i.id, err)
	}
}
