package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

// containerSpec is what this package can ask for. It has no word for privilege,
// devices, the host's namespaces or folders of the host: the one file bound by
// path is the engine's own (resolvConf).
type containerSpec struct {
	name   string
	image  string
	cmd    []string // empty: the image's
	env    []string
	user   string // empty: the image's
	labels map[string]string

	network string
	address netip.Addr
	// publish is a port forwarded from a loopback port of the engine's
	// choice; 0 for none.
	publish int

	volumes    []volumeMount
	resolvConf string // a file on the engine's machine, below a volume

	capabilities []string // of none
	readOnly     bool
	sysctls      map[string]string
	memory       int64
	cpus         float64
	pids         int64
	restart      bool
}

type volumeMount struct {
	volume, target string
	readOnly       bool
}

type containerInfo struct {
	id, name, image string
	labels          map[string]string
	running         bool
	exitCode        int
	outOfMemory     bool
	published       int // where relay.Port is forwarded from
	networks        []string
}

func (e *dockerEngine) create(ctx context.Context, c containerSpec) (string, error) {
	ctx, cancel := wholly(ctx)
	defer cancel()
	config := &container.Config{Image: c.image, Cmd: c.cmd, Env: c.env, User: c.user, Labels: c.labels, AttachStdout: true, AttachStderr: true}
	host := &container.HostConfig{
		CapDrop: []string{"ALL"}, CapAdd: c.capabilities, SecurityOpt: []string{"no-new-privileges"},
		ReadonlyRootfs: c.readOnly, Sysctls: c.sysctls,
		// The deployment's log is kept by the emulator; this one is for
		// whoever looks with the engine's own tools.
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
		Resources: container.Resources{Memory: c.memory, MemorySwap: c.memory, NanoCPUs: int64(c.cpus * 1e9)},
	}
	if c.pids > 0 {
		host.PidsLimit = &c.pids
	}
	if c.restart {
		host.RestartPolicy.Name = container.RestartPolicyUnlessStopped
	}
	if c.publish != 0 {
		port := nat.Port(strconv.Itoa(c.publish) + "/tcp")
		config.ExposedPorts = nat.PortSet{port: {}}
		host.PortBindings = nat.PortMap{port: {{HostIP: "127.0.0.1"}}}
	}
	for _, v := range c.volumes {
		host.Mounts = append(host.Mounts, mount.Mount{
			Type: mount.TypeVolume, Source: v.volume, Target: v.target, ReadOnly: v.readOnly,
			VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		})
	}
	if c.resolvConf != "" {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: c.resolvConf, Target: "/etc/resolv.conf", ReadOnly: true})
	}
	networking := &network.NetworkingConfig{}
	if c.network == "" {
		host.NetworkMode = "none"
	} else {
		host.NetworkMode = container.NetworkMode(c.network)
		networking.EndpointsConfig = map[string]*network.EndpointSettings{c.network: endpoint(c.address)}
	}
	made, err := e.api.ContainerCreate(ctx, config, host, networking, nil, c.name)
	return made.ID, tell(err)
}

func (e *dockerEngine) copyTo(ctx context.Context, id, dir string, archive io.Reader) error {
	return tell(e.api.CopyToContainer(ctx, id, dir, archive, container.CopyToContainerOptions{}))
}

func (e *dockerEngine) start(ctx context.Context, id string) error {
	return tell(e.api.ContainerStart(ctx, id, container.StartOptions{}))
}

// attach streams what the container writes, from now on, in the engine's
// framing of stdout and stderr. Attached before the start it misses nothing.
func (e *dockerEngine) attach(ctx context.Context, id string) (io.ReadCloser, error) {
	got, err := e.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, tell(err)
	}
	return attached{got.Reader, got.Conn}, nil
}

// demultiplex takes attach's framing apart until its end.
func demultiplex(stdout, stderr io.Writer, framed io.Reader) {
	_, _ = stdcopy.StdCopy(stdout, stderr, framed)
}

type attached struct {
	io.Reader
	io.Closer
}

// wait waits until the container does not run. An error may also mean that the
// engine went away meanwhile.
func (e *dockerEngine) wait(ctx context.Context, id string) (int, error) {
	ended, failed := e.api.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	select {
	case answer := <-ended:
		if answer.Error != nil {
			return 0, errors.New(answer.Error.Message)
		}
		return int(answer.StatusCode), nil
	case err := <-failed:
		return 0, tell(err)
	}
}

func (e *dockerEngine) signal(ctx context.Context, id, signal string) error {
	return tell(e.api.ContainerKill(ctx, id, signal))
}

// remove ends the container if it runs. A removal already under way is none of
// the caller's trouble.
func (e *dockerEngine) remove(ctx context.Context, id string) error {
	err := tell(e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

func (e *dockerEngine) container(ctx context.Context, id string) (containerInfo, error) {
	got, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return containerInfo{}, tell(err)
	}
	if got.ContainerJSONBase == nil || got.State == nil || got.Config == nil {
		return containerInfo{}, fmt.Errorf("docker: the engine says too little about container %s", id)
	}
	info := containerInfo{
		id: got.ID, name: got.Name, image: got.Config.Image, labels: got.Config.Labels,
		running: got.State.Running, exitCode: got.State.ExitCode, outOfMemory: got.State.OOMKilled,
		published: publishedPort(got, agentPort),
	}
	if got.NetworkSettings != nil {
		for _, n := range got.NetworkSettings.Networks {
			info.networks = append(info.networks, n.NetworkID)
		}
	}
	return info, nil
}

func (e *dockerEngine) containers(ctx context.Context, label string) ([]containerInfo, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled(label)})
	if err != nil {
		return nil, tell(err)
	}
	out := make([]containerInfo, 0, len(list))
	for _, c := range list {
		out = append(out, containerInfo{id: c.ID, image: c.Image, labels: c.Labels, running: c.State == "running"})
	}
	return out, nil
}
