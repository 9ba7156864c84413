package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// The agent's own limits: what a hundred instances cost it was measured
// (wire/runner.md section 8).
const (
	agentUser   = "65534"
	agentMemory = 256 << 20
	agentPids   = 64
)

// agentSysctls let a program without capabilities listen where instances expect
// it, and keep it from passing packets between networks.
var agentSysctls = map[string]string{
	"net.ipv4.ip_forward":                 "0",
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.conf.all.rp_filter":         "1",
	"net.ipv4.conf.all.arp_ignore":        "1",
}

// agentRecord is what the next emulator needs in order to go on with the agent.
// It holds a key: 0600.
type agentRecord struct {
	Container string       `json:"container"`
	Image     string       `json:"image"`
	Control   netip.Prefix `json:"control"`
	Network   string       `json:"network"` // the control network's id
	// Emulator is the emulator's own container when that was made, "" for a
	// process of the host.
	Emulator string     `json:"emulator,omitempty"`
	Side     relay.Side `json:"side"`
}

// agent keeps the agent container going and a link with it.
type agent struct {
	b *Backend

	// turn is held while the agent is brought up or its networks change.
	turn chan struct{}

	mu      sync.Mutex
	current *link
	closed  bool
	keeping sync.WaitGroup

	// Below: only with turn held.
	record   agentRecord
	attached map[string]netip.Prefix // network id to its range
}

func newAgent(b *Backend) *agent {
	return &agent{b: b, turn: make(chan struct{}, 1), attached: map[string]netip.Prefix{}}
}

func (a *agent) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *agent) unlock() { <-a.turn }

// live is the link if there is one now.
func (a *agent) live() *link {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current.ctx.Err() == nil {
		return a.current
	}
	return nil
}

// link is the present link, brought up when need be.
func (a *agent) link(ctx context.Context) (*link, error) {
	if l := a.live(); l != nil {
		return l, nil
	}
	if err := a.lock(ctx); err != nil {
		return nil, err
	}
	defer a.unlock()
	return a.upLocked(ctx)
}

// attach puts the agent on a network.
func (a *agent) attach(ctx context.Context, networkID string, prefix netip.Prefix) error {
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	if _, err := a.upLocked(ctx); err != nil {
		return err
	}
	if err := a.b.eng.connect(ctx, networkID, a.record.Container, relay.Host(prefix, relay.AgentHost)); err != nil {
		return fmt.Errorf("docker: attach the agent: %w", err)
	}
	a.attached[networkID] = prefix
	l, err := a.upLocked(ctx)
	if err != nil {
		return err
	}
	if err := l.serve(ctx, a.wantedLocked()); err != nil {
		if !errors.Is(err, errLinkLost) {
			return err
		}
		_, err = a.upLocked(ctx) // tells it all again
		return err
	}
	return nil
}

// detach takes it off again.
func (a *agent) detach(ctx context.Context, networkID string) error {
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	delete(a.attached, networkID)
	if l := a.live(); l != nil {
		if err := l.serve(ctx, a.wantedLocked()); err != nil {
			a.b.cfg.Logf("docker: %v", err)
		}
	}
	if a.record.Container == "" {
		return nil
	}
	if err := a.b.eng.disconnect(ctx, networkID, a.record.Container); err != nil && !errors.Is(err, errNotFound) {
		return err
	}
	return nil
}

func (a *agent) wantedLocked() []netip.Prefix {
	return slices.SortedFunc(maps.Values(a.attached), func(x, y netip.Prefix) int { return x.Addr().Compare(y.Addr()) })
}

// upLocked gives a link that serves all attached networks: the one there is, or
// a new one to the agent that runs, to the agent started again, or to a new one.
func (a *agent) upLocked(ctx context.Context) (*link, error) {
	if l := a.live(); l != nil {
		return l, nil
	}
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	image, err := a.b.agentImage(ctx)
	if err != nil {
		return nil, err
	}
	l, err := a.resumeLocked(ctx, image)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		if !errors.Is(err, errNotFound) {
			a.b.cfg.Logf("docker: the agent is made anew: %v", err)
		}
		if l, err = a.renewLocked(ctx, image); err != nil {
			return nil, err
		}
	}
	if err := l.serve(ctx, a.wantedLocked()); err != nil {
		l.close()
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		l.close()
		return nil, errClosed
	}
	if a.current == nil {
		a.keeping.Go(a.keep)
	}
	a.current = l
	return l, nil
}

// resumeLocked goes on with the agent of the record. The networks it should be
// on are part of the container.
func (a *agent) resumeLocked(ctx context.Context, image string) (*link, error) {
	if a.record.Container == "" {
		return nil, errNotFound
	}
	got, err := a.b.eng.container(ctx, a.record.Container)
	if err != nil {
		return nil, err
	}
	if a.record.Image != image || got.labels[stateLabel] != a.b.cfg.StateUUID {
		return nil, fmt.Errorf("it is of another build (%s)", a.record.Image)
	}
	if a.record.Emulator != a.b.selfID() {
		return nil, errors.New("it was another container's")
	}
	if !got.running {
		// After a kill the engine's own policy does not act.
		if err := a.b.eng.start(ctx, got.id); err != nil {
			return nil, err
		}
	}
	return a.dialLocked(ctx)
}

// dialLocked dials the running agent. The port is another after each start.
func (a *agent) dialLocked(ctx context.Context) (*link, error) {
	if err := a.b.join(ctx, a.record.Network, a.record.Control); err != nil {
		return nil, err
	}
	var last error
	for range 100 {
		got, err := a.b.eng.container(ctx, a.record.Container)
		switch {
		case err != nil:
			return nil, err
		case !got.running:
			return nil, fmt.Errorf("docker: the agent exited with code %d", got.exitCode)
		case got.published == 0 && a.record.Emulator == "":
			last = errors.New("docker: the agent's port is not published")
		default:
			at := net.JoinHostPort("127.0.0.1", strconv.Itoa(got.published))
			if a.record.Emulator != "" {
				at = netip.AddrPortFrom(relay.Host(a.record.Control, relay.AgentHost), relay.Port).String()
			}
			l, err := newLink(ctx, at, a.record.Side, a.b.handlers())
			if err == nil {
				return l, nil
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil, last
}

// renewLocked makes a new agent in place of what is there and puts it on all
// networks.
func (a *agent) renewLocked(ctx context.Context, image string) (_ *link, err error) {
	eng := a.b.eng
	if err := a.removeLocked(ctx); err != nil {
		return nil, err
	}
	labels := a.b.labels("agent")
	networkID, control, err := a.b.nets.carve(ctx, a.b.controlNetwork())
	if err != nil {
		return nil, err
	}
	emulator, own, err := relay.NewPair()
	if err != nil {
		return nil, err
	}
	settings, err := relay.Settings{Side: own, Pool: a.b.cfg.NetworkPool, Control: control}.Encode()
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	keyVolume := a.b.thing("key")
	if _, err := eng.createVolume(ctx, keyVolume, labels); err != nil {
		return nil, fmt.Errorf("docker: agent: %w", err)
	}
	publish := relay.Port
	if a.b.selfID() != "" {
		publish = 0
	}
	id, err := a.b.createFromAgent(ctx, containerSpec{
		name: a.b.thing("agent"), image: image, cmd: append([]string{agentProgram}, a.b.cfg.AgentArgs...), user: agentUser, labels: labels,
		network: networkID, address: relay.Host(control, relay.AgentHost), publish: publish,
		volumes:  []volumeMount{{volume: keyVolume, target: relay.SettingsDir}},
		readOnly: true, sysctls: agentSysctls, memory: agentMemory, pids: agentPids, restart: true,
	})
	if err != nil {
		return nil, fmt.Errorf("docker: agent: %w", err)
	}
	// Not a file of the agent's image: an image can be read by anyone.
	key := archive(func(w *tar.Writer) error {
		head := &tar.Header{Name: relay.SettingsFile, Typeflag: tar.TypeReg, Mode: 0o400, Uid: 65534, Gid: 65534, Size: int64(len(settings)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		_, err := w.Write(settings)
		return err
	})
	defer key.Close()
	if err := eng.copyTo(ctx, id, relay.SettingsDir, key); err != nil {
		return nil, fmt.Errorf("docker: give the agent its key: %w", err)
	}
	for network, prefix := range a.attached {
		if err := eng.connect(ctx, network, id, relay.Host(prefix, relay.AgentHost)); err != nil {
			return nil, fmt.Errorf("docker: attach the agent: %w", err)
		}
	}
	a.record = agentRecord{Container: id, Image: image, Control: control, Network: networkID, Emulator: a.b.selfID(), Side: emulator}
	if err := a.save(); err != nil {
		return nil, err
	}
	if err := eng.start(ctx, id); err != nil {
		return nil, fmt.Errorf("docker: start the agent: %w", err)
	}
	return a.dialLocked(ctx)
}

// removeLocked removes the agent, its network and its key; none there is no
// error.
func (a *agent) removeLocked(ctx context.Context) error {
	eng := a.b.eng
	before := a.record.Emulator
	a.record = agentRecord{}
	if err := eng.remove(ctx, a.b.thing("agent")); err != nil {
		return fmt.Errorf("docker: remove the agent: %w", err)
	}
	for _, err := range []error{a.b.removeControl(ctx, a.b.thing("control"), a.b.selfID(), before), eng.removeVolume(ctx, a.b.thing("key"))} {
		if err != nil && !errors.Is(err, errNotFound) {
			return fmt.Errorf("docker: remove the agent's things: %w", err)
		}
	}
	if err := os.Remove(a.recordPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// keep brings the agent up again whenever it is lost.
func (a *agent) keep() {
	for {
		a.mu.Lock()
		l, closed := a.current, a.closed
		a.mu.Unlock()
		if closed {
			return
		}
		<-l.ended()
		l.close()
		pause := 20 * time.Millisecond
		for a.live() == nil {
			a.mu.Lock()
			closed := a.closed
			a.mu.Unlock()
			if closed {
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			_, err := a.link(ctx)
			cancel()
			if err == nil || errors.Is(err, errClosed) {
				continue
			}
			a.b.cfg.Logf("docker: the agent is away: %v", err)
			time.Sleep(pause)
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// close ends the link and removes the agent.
func (a *agent) close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	l := a.current
	a.mu.Unlock()
	if l != nil {
		l.close()
	}
	a.keeping.Wait()
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	if a.record.Container == "" {
		return nil
	}
	return a.removeLocked(ctx)
}

func (a *agent) recordPath() string { return filepath.Join(a.b.cfg.StateDir, "agent.json") }

func (a *agent) save() error {
	raw, err := json.Marshal(a.record)
	if err == nil {
		err = os.WriteFile(a.recordPath(), raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}

// load reads what an earlier emulator left; a broken record is none.
func (a *agent) load() {
	raw, err := os.ReadFile(a.recordPath())
	if err != nil {
		return
	}
	var r agentRecord
	if json.Unmarshal(raw, &r) == nil {
		a.record = r
	}
}
