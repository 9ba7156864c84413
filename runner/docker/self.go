package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// emulatorHost is the emulator's place on the control network when it is a
// container itself.
const emulatorHost = relay.FirstHost

// mountTable names, on Linux, what is mounted in this process's namespace.
const mountTable = "/proc/self/mountinfo"

var containerID = regexp.MustCompile(`/([0-9a-f]{64})/`)

// possibleSelves are the ids of the container this process may run in: engines
// mount a container's own /etc/hostname and its like from a folder that bears
// its id. Nothing there is believed before the engine knows the id.
func possibleSelves(mountinfo string) []string {
	var ids []string
	for line := range strings.Lines(mountinfo) {
		field := strings.Fields(line)
		if len(field) < 5 || !slices.Contains([]string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}, field[4]) {
			continue
		}
		if m := containerID.FindStringSubmatch(field[3]); m != nil && !slices.Contains(ids, m[1]) {
			ids = append(ids, m[1])
		}
	}
	return ids
}

// findSelf is the container this emulator is on the engine it uses, "" for one
// that is none: a process of the host, or a container of another engine.
func findSelf(ctx context.Context, eng engine) (string, error) {
	raw, err := os.ReadFile(mountTable)
	if err != nil {
		return "", nil //nolint:nilerr // no Linux, so no container
	}
	for _, id := range possibleSelves(string(raw)) {
		got, err := eng.container(ctx, id)
		switch {
		case errors.Is(err, errNotFound):
		case err != nil:
			return "", fmt.Errorf("docker: look for the emulator's own container: %w", err)
		case got.running:
			return got.id, nil
		}
	}
	return "", nil
}

// controlNetwork is where the agent meets the emulator. A host process comes by
// a published port; a container is on the network itself, and nobody else is.
func (b *Backend) controlNetwork() networkSpec {
	spec := networkSpec{name: b.thing("control"), labels: b.labels("control")}
	if b.selfID() != "" {
		spec.internal, spec.options = true, deploymentNetwork
		return spec
	}
	// Not internal, or no port could be published; but nothing goes out.
	spec.options = map[string]string{
		"com.docker.network.bridge.enable_icc":           "false",
		"com.docker.network.bridge.enable_ip_masquerade": "false",
		"com.docker.network.bridge.host_binding_ipv4":    "127.0.0.1",
	}
	return spec
}

// join puts the emulator's own container on the control network, if it is not
// there: a restarted container still is.
func (b *Backend) join(ctx context.Context, networkID string, control netip.Prefix) error {
	self := b.selfID()
	if self == "" {
		return nil
	}
	got, err := b.eng.container(ctx, self)
	if err != nil {
		return fmt.Errorf("docker: the emulator's own container: %w", err)
	}
	if slices.Contains(got.networks, networkID) {
		return nil
	}
	if err := b.eng.connect(ctx, networkID, self, relay.Host(control, emulatorHost)); err != nil {
		return fmt.Errorf("docker: meet the agent on its network: %w", err)
	}
	return nil
}

// removeControl removes a control network after taking the emulator off it, the
// present one or the one that made it: a stopped container that still names a
// network which is gone cannot be started again.
func (b *Backend) removeControl(ctx context.Context, networkID string, emulators ...string) error {
	for _, id := range emulators {
		if id != "" {
			_ = b.eng.disconnect(ctx, networkID, id) // it may not be on it, or be gone
		}
	}
	return b.eng.removeNetwork(ctx, networkID)
}

// sweepOrphans removes what emulators in containers that are there no more left
// behind: removed with their state, they have no successor to do it.
func (b *Backend) sweepOrphans(ctx context.Context) error {
	containers, err := b.eng.containers(ctx, emulatorLabel)
	if err != nil {
		return err
	}
	nets, err := b.eng.networks(ctx, emulatorLabel)
	if err != nil {
		return err
	}
	makers := map[string]bool{} // whether they are gone
	add := func(labels map[string]string) {
		if labels[stateLabel] != b.cfg.StateUUID {
			makers[labels[emulatorLabel]] = false
		}
	}
	for _, c := range containers {
		add(c.labels)
	}
	for _, n := range nets {
		add(n.labels)
	}
	for id := range makers {
		if _, err := b.eng.container(ctx, id); !errors.Is(err, errNotFound) {
			continue
		}
		b.cfg.Logf("docker: the emulator of container %.12s is gone; what it left is removed", id)
		label := emulatorLabel + "=" + id
		theirs, err := b.eng.containers(ctx, label)
		if err == nil {
			err = b.removeAll(ctx, label, theirs, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
