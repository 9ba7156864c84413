package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

var errClosed = errors.New("docker: the back end is closed")

// Backend implements runner.Backend.
type Backend struct {
	cfg     Config
	eng     engine
	agent   *agent
	nets    *networks
	vols    *volumes
	cleanup sync.WaitGroup // of ended instances

	// life ends when waiting for the engine is given up.
	life   context.Context
	giveUp context.CancelFunc

	imageMu  sync.Mutex
	agentRef string

	mu        sync.Mutex
	closed    bool
	machine   *machine
	self      string // our own container, "" for a process of the host
	instances map[netip.Addr]*instance
}

var _ runner.Backend = (*Backend)(nil)

// Available asks the engine for a sign of life; host is as in DOCKER_HOST,
// empty for the environment's.
func Available(ctx context.Context, host string) error {
	eng, err := dial(host)
	if err != nil {
		return err
	}
	defer eng.close() //nolint:errcheck // idle connections only
	m, err := eng.machine(ctx)
	if err != nil {
		return fmt.Errorf("no container engine answers: %w", err)
	}
	if m.os != "linux" {
		return fmt.Errorf("the container engine runs %s containers, and Linux ones are needed", m.os)
	}
	return nil
}

// New contacts nobody and starts nothing.
func New(cfg Config) (*Backend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkProgram(cfg.AgentBinary, ""); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	eng, err := dial(cfg.Host)
	if err != nil {
		return nil, err
	}
	b := &Backend{cfg: cfg, eng: eng, instances: map[netip.Addr]*instance{}}
	b.life, b.giveUp = context.WithCancel(context.Background())
	b.agent, b.nets, b.vols = newAgent(b), newNetworks(b), newVolumes(b)
	b.agent.load()
	return b, nil
}

// Name is "docker".
func (b *Backend) Name() string { return "docker" }

// cleaning bounds the removal of what is no longer needed, whoever's context
// has ended by then.
func cleaning() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// about is the engine's machine, asked once.
func (b *Backend) about(ctx context.Context) (machine, error) {
	b.mu.Lock()
	known := b.machine
	b.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	m, err := b.eng.machine(ctx)
	if err != nil {
		return m, fmt.Errorf("docker: the container engine does not answer: %w", err)
	}
	self, err := findSelf(ctx, b.eng)
	if err != nil {
		return m, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.machine, b.self = &m, self
	return m, nil
}

// selfID is the emulator's own container, once about has asked.
func (b *Backend) selfID() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.self
}

// agentImage is the agent's image, loaded once.
func (b *Backend) agentImage(ctx context.Context) (string, error) {
	m, err := b.about(ctx)
	if err != nil {
		return "", err
	}
	b.imageMu.Lock()
	defer b.imageMu.Unlock()
	if b.agentRef != "" {
		return b.agentRef, nil
	}
	ref, err := ensureAgentImage(ctx, b.eng, b.cfg.AgentBinary, m.arch)
	if err == nil {
		b.agentRef = ref
	}
	return ref, err
}

// createFromAgent makes a container of the agent's image. When the engine lost
// that, most likely to an emulator of another version, it is loaded again.
func (b *Backend) createFromAgent(ctx context.Context, spec containerSpec) (string, error) {
	id, err := b.eng.create(ctx, spec)
	if !errors.Is(err, errNotFound) {
		return id, err
	}
	b.imageMu.Lock()
	b.agentRef = ""
	b.imageMu.Unlock()
	if spec.image, err = b.agentImage(ctx); err != nil {
		return "", err
	}
	return b.eng.create(ctx, spec)
}

// artifact is what Build hands to Start.
type artifact struct {
	Image string `json:"image"` // as the user knows it
	ID    string `json:"id"`    // what it was when it was checked
}

// Build finds the image, or has it made. An image that brings its own server
// and is here is used as it is.
func (b *Backend) Build(ctx context.Context, env runner.Environment, script bool, log io.Writer) (string, error) {
	m, err := b.about(ctx)
	if err != nil {
		return "", err
	}
	ref := env.Image
	info, err := imageInfo{}, errNotFound
	if asIs := !script && env.CondaFile == "" && env.Context == ""; asIs || b.cfg.Images == nil {
		if env.Image == "" {
			return "", imageFailed("the environment names no image")
		}
		info, err = b.eng.image(ctx, ref)
	}
	if errors.Is(err, errNotFound) && b.cfg.Images != nil {
		if ref, err = b.cfg.Images.Ensure(ctx, env, script, log); err != nil {
			return "", err
		}
		info, err = b.eng.image(ctx, ref)
	}
	switch {
	case errors.Is(err, errNotFound):
		return "", imageFailed("there is no image %s in the container engine, and none is pulled; `docker images` lists those there are", ref)
	case err != nil && strings.Contains(err.Error(), "invalid reference format"):
		return "", imageFailed("%q is not the name of an image", ref)
	case err != nil:
		return "", fmt.Errorf("docker: image %s: %w", ref, err)
	case info.os != "" && info.os != "linux":
		return "", imageFailed("the image %s is for %s; deployments run Linux images", ref, info.os)
	case info.arch != "" && m.arch != "" && info.arch != m.arch:
		if !m.emulatesArch {
			return "", imageFailed("the image %s is for %s, and this machine's engine runs %s", ref, info.arch, m.arch)
		}
		fmt.Fprintf(log, "The image %s is for %s and runs emulated on %s: expect it to be slow\n", ref, info.arch, m.arch)
	}
	fmt.Fprintf(log, "Image %s: %s\n", ref, info.id)
	fmt.Fprintf(log, "Runner: containers on %s\n", m.description)
	raw, err := json.Marshal(artifact{Image: ref, ID: info.id})
	if err != nil {
		return "", fmt.Errorf("docker: %w", err)
	}
	return string(raw), nil
}

func imageFailed(format string, args ...any) *runner.Failure {
	return &runner.Failure{Kind: runner.ImageFailed, Message: fmt.Sprintf(format, args...)}
}

// handlers are what the link does with what instances send.
func (b *Backend) handlers() handlers {
	return handlers{arrive: b.arrive, dns: b.cfg.DNS}
}

// arrive finds out whose connection it is.
func (b *Backend) arrive(c net.Conn, who relay.Arrival) {
	b.mu.Lock()
	i := b.instances[who.Source.Addr()]
	b.mu.Unlock()
	if i == nil {
		_ = c.Close() // an instance that has just ended
		return
	}
	port := int(who.Local.Port())
	if port == relay.DNSPort {
		go answerStream(c, who.Local.Addr(), b.cfg.DNS)
		return
	}
	b.cfg.Serve(c, Source{Instance: i.id, Owner: i.owner, Name: i.name, Port: port})
}

// Sweep ends everything an earlier process of this state folder left, but for
// an agent that can go on, and only that.
func (b *Backend) Sweep(ctx context.Context) error {
	containers, err := b.eng.containers(ctx, b.ours())
	if err != nil {
		if len(b.agent.record.Container) == 0 {
			// Nothing was ever started here as far as we know, and an
			// engine that is away runs nothing.
			b.cfg.Logf("docker: the container engine does not answer: %v", err)
			return nil
		}
		return fmt.Errorf("docker: the container engine does not answer: %w", err)
	}
	if _, err := b.about(ctx); err != nil {
		return err
	}
	agent := ""
	for _, c := range containers {
		if c.id == b.agent.record.Container && c.running && b.agent.record.Emulator == b.selfID() {
			agent = c.id
		}
	}
	if err := b.removeAll(ctx, b.ours(), containers, agent); err != nil {
		return err
	}
	if b.selfID() != "" {
		// Another emulator may be at the same; and it is not ours to fail for.
		if err := b.sweepOrphans(ctx); err != nil {
			b.cfg.Logf("docker: remove what emulators that are gone left: %v", err)
		}
	}
	return nil
}

// SweepState ends everything that emulators of a state folder left in the engine,
// the agent too. Without a StateDir there never was anything, and no engine is
// asked.
func SweepState(ctx context.Context, stateUUID, stateDir, host string) error {
	if _, err := os.Stat(stateDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	eng, err := dial(host)
	if err != nil {
		return err
	}
	defer eng.close() //nolint:errcheck // idle connections only
	b := &Backend{cfg: Config{StateUUID: stateUUID, StateDir: stateDir, Logf: func(string, ...any) {}}, eng: eng}
	containers, err := eng.containers(ctx, b.ours())
	if err == nil {
		err = b.removeAll(ctx, b.ours(), containers, "")
	}
	if err != nil {
		return fmt.Errorf("docker: end what is left in the container engine: %w", err)
	}
	return os.RemoveAll(stateDir)
}

// removeAll removes everything with a label, of which the containers are listed,
// but for one agent and what it needs.
func (b *Backend) removeAll(ctx context.Context, label string, containers []containerInfo, agent string) error {
	for _, c := range containers {
		if c.id == agent {
			continue
		}
		if err := b.eng.remove(ctx, c.id); err != nil {
			return fmt.Errorf("docker: remove container %s: %w", c.id, err)
		}
	}
	nets, err := b.eng.networks(ctx, label)
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	for _, n := range nets {
		if agent != "" && n.labels[roleLabel] == "control" {
			continue
		}
		if agent != "" {
			if err := b.eng.disconnect(ctx, n.id, agent); err != nil && !errors.Is(err, errNotFound) {
				b.cfg.Logf("docker: %v", err)
			}
		}
		remove := b.eng.removeNetwork
		if n.labels[roleLabel] == "control" {
			remove = func(ctx context.Context, id string) error { return b.removeControl(ctx, id, n.labels[emulatorLabel]) }
		}
		if err := remove(ctx, n.id); err != nil && !errors.Is(err, errNotFound) {
			return fmt.Errorf("docker: remove network %s: %w", n.name, err)
		}
	}
	vols, err := b.eng.volumes(ctx, label)
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	for _, v := range vols {
		if agent != "" && v == b.thing("key") {
			continue
		}
		if err := b.eng.removeVolume(ctx, v); err != nil && !errors.Is(err, errNotFound) {
			return fmt.Errorf("docker: remove volume %s: %w", v, err)
		}
	}
	return nil
}

// closeGrace is how long instances may take to end when the back end closes.
const closeGrace = 3 * time.Second

// Close ends every instance and removes everything that was made.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	left := make([]*instance, 0, len(b.instances))
	for _, i := range b.instances {
		left = append(left, i)
	}
	b.mu.Unlock()
	grace, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	var stops sync.WaitGroup
	for _, i := range left {
		stops.Go(func() {
			if err := i.Stop(grace); err != nil {
				b.cfg.Logf("docker: %v", err)
			}
		})
	}
	stops.Wait()
	b.giveUp()
	b.cleanup.Wait()
	ctx, cancel := cleaning()
	defer cancel()
	err := b.agent.close(ctx)
	if b.machine != nil { // the engine was spoken to
		containers, listing := b.eng.containers(ctx, b.ours())
		if listing == nil {
			listing = b.removeAll(ctx, b.ours(), containers, "")
		}
		if listing == nil {
			listing = os.RemoveAll(b.cfg.StateDir)
		}
		err = errors.Join(err, listing)
	}
	return errors.Join(err, b.eng.close())
}
