package compose

import (
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/amlocal/amlocal/runner/docker"
)

// apart checks who shares a network with whom, and what instances are given of
// the engine's machine.
func (p *project) apart() {
	p.t.Helper()
	api, err := docker.Client("")
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	emulator := p.theirs()["containers"][0]
	role := map[string]string{emulator: "emulator"}
	for _, id := range p.ours()["containers"] {
		got, err := api.ContainerInspect(p.t.Context(), id)
		if err != nil {
			p.t.Fatal(err)
		}
		role[id] = got.Config.Labels["io.amlocal.role"]
		confined(p.t, role[id], got)
	}
	for _, id := range p.ours()["networks"] {
		p.meet(api, id, role)
	}
}

// meet checks one network. An instance on the emulator's would reach its port.
func (p *project) meet(api *client.Client, id string, role map[string]string) {
	p.t.Helper()
	got, err := api.NetworkInspect(p.t.Context(), id, network.InspectOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	var there []string
	for container := range got.Containers {
		there = append(there, role[container])
	}
	slices.Sort(there)
	want := []string{"agent", "instance"}
	if got.Labels["io.amlocal.role"] == "control" {
		want = []string{"agent", "emulator"}
	}
	if !slices.Equal(there, want) || !got.Internal {
		p.t.Errorf("on %s, internal %v, are %v; %v were expected", got.Name, got.Internal, there, want)
	}
}

// confined has nothing of the engine's machine but files of volumes, and no
// published port.
func confined(t *testing.T, role string, got container.InspectResponse) {
	t.Helper()
	for _, m := range got.Mounts {
		inVolume := m.Type == "volume" || m.Destination == "/etc/resolv.conf" && strings.Contains(m.Source, "/amlocal-")
		if !inVolume || strings.Contains(m.Source, "docker.sock") {
			t.Errorf("the %s has %s of the engine's machine", role, m.Source)
		}
	}
	if len(got.HostConfig.PortBindings) > 0 || got.HostConfig.Privileged {
		t.Errorf("the %s has published ports %v, privileged %v", role, got.HostConfig.PortBindings, got.HostConfig.Privileged)
	}
}
