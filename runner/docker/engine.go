package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
)

// engine is all that this package asks of a container engine, in words of its
// own. The rest of the package knows no type of the client library, so that a
// change of library (docker/docker/client is being succeeded by
// moby/moby/client) stays in this file and enginecontainer.go.
type engine interface {
	machine(ctx context.Context) (machine, error)

	image(ctx context.Context, ref string) (imageInfo, error)
	importImage(ctx context.Context, repository, tag string, layer io.Reader) error
	removeOtherImages(ctx context.Context, repository, tag string)

	createNetwork(ctx context.Context, n networkSpec) (id string, err error)
	connect(ctx context.Context, networkID, containerID string, address netip.Addr) error
	disconnect(ctx context.Context, networkID, containerID string) error
	removeNetwork(ctx context.Context, id string) error
	networks(ctx context.Context, label string) ([]networkInfo, error)

	createVolume(ctx context.Context, name string, labels map[string]string) (mountpoint string, err error)
	removeVolume(ctx context.Context, name string) error
	volumes(ctx context.Context, label string) ([]string, error)

	create(ctx context.Context, c containerSpec) (id string, err error)
	copyTo(ctx context.Context, id, dir string, archive io.Reader) error
	start(ctx context.Context, id string) error
	attach(ctx context.Context, id string) (io.ReadCloser, error)
	wait(ctx context.Context, id string) (code int, err error)
	signal(ctx context.Context, id, signal string) error
	remove(ctx context.Context, id string) error
	container(ctx context.Context, id string) (containerInfo, error)
	containers(ctx context.Context, label string) ([]containerInfo, error)

	close() error
}

// Errors of an engine that the package tells apart.
var (
	errNotFound  = errors.New("not found")
	errConflict  = errors.New("in use")
	errNoNetwork = errors.New("the address range is taken")
)

// machine is what runs the engine.
type machine struct {
	cpus         int
	memory       int64
	os, arch     string // as Go names them
	emulatesArch bool   // runs images of other architectures
	description  string
}

type imageInfo struct {
	id         string
	os, arch   string
	user       string
	env        []string
	stopSignal string
}

type networkSpec struct {
	name     string
	prefix   netip.Prefix
	internal bool
	options  map[string]string
	labels   map[string]string
}

type networkInfo struct {
	id, name string
	prefixes []netip.Prefix
	labels   map[string]string
}

// dockerEngine is an engine that speaks Docker's API.
type dockerEngine struct{ api *client.Client }

// dial makes a client. host is as in DOCKER_HOST, empty for the environment's.
// It contacts nobody.
func dial(host string) (*dockerEngine, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "" {
		options = append(options, client.WithHost(host))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &dockerEngine{api}, nil
}

// wholly is for what must not be broken off: the engine would go on, and nobody
// would know the name of what it made.
func wholly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}

func (e *dockerEngine) close() error { return e.api.Close() }

// tell gives the errors the package tells apart their names.
func tell(err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %w", errNotFound, err)
	case strings.Contains(err.Error(), "Pool overlaps") || strings.Contains(err.Error(), "conflicts with network") || strings.Contains(err.Error(), "overlaps with"):
		return fmt.Errorf("%w: %w", errNoNetwork, err)
	case errdefs.IsConflict(err):
		return fmt.Errorf("%w: %w", errConflict, err)
	}
	return err
}

func (e *dockerEngine) machine(ctx context.Context) (machine, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return machine{}, err
	}
	return machine{
		cpus: info.NCPU, memory: info.MemTotal, os: info.OSType, arch: goArch(info.Architecture),
		// Docker Desktop brings emulation for the other architecture.
		emulatesArch: strings.Contains(info.OperatingSystem, "Docker Desktop"),
		description:  info.OperatingSystem + ", engine " + info.ServerVersion,
	}, nil
}

// goArch translates the kernel's names.
func goArch(name string) string {
	switch name {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armv7l", "armv6l", "armhf":
		return "arm"
	}
	return name
}

func (e *dockerEngine) image(ctx context.Context, ref string) (imageInfo, error) {
	got, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return imageInfo{}, tell(err)
	}
	info := imageInfo{id: got.ID, os: got.Os, arch: goArch(got.Architecture)}
	if got.Config != nil {
		info.user, info.env, info.stopSignal = got.Config.User, got.Config.Env, got.Config.StopSignal
	}
	return info, nil
}

func (e *dockerEngine) importImage(ctx context.Context, repository, tag string, layer io.Reader) error {
	answer, err := e.api.ImageImport(ctx, image.ImportSource{Source: layer, SourceName: "-"}, repository+":"+tag, image.ImportOptions{})
	if err != nil {
		return tell(err)
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

// removeOtherImages removes a repository's other images, as far as no container
// uses them.
func (e *dockerEngine) removeOtherImages(ctx context.Context, repository, tag string) {
	list, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
	if err != nil {
		return
	}
	for _, i := range list {
		for _, ref := range i.RepoTags {
			if ref != repository+":"+tag {
				_, _ = e.api.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
			}
		}
	}
}

func (e *dockerEngine) createNetwork(ctx context.Context, n networkSpec) (string, error) {
	ctx, cancel := wholly(ctx)
	defer cancel()
	made, err := e.api.NetworkCreate(ctx, n.name, network.CreateOptions{
		Driver: "bridge", Internal: n.internal, Options: n.options, Labels: n.labels,
		IPAM: &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: n.prefix.String()}}},
	})
	return made.ID, tell(err)
}

func (e *dockerEngine) connect(ctx context.Context, networkID, containerID string, address netip.Addr) error {
	return tell(e.api.NetworkConnect(ctx, networkID, containerID, endpoint(address)))
}

func endpoint(address netip.Addr) *network.EndpointSettings {
	return &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: address.String()}}
}

func (e *dockerEngine) disconnect(ctx context.Context, networkID, containerID string) error {
	return tell(e.api.NetworkDisconnect(ctx, networkID, containerID, true))
}

func (e *dockerEngine) removeNetwork(ctx context.Context, id string) error {
	return tell(e.api.NetworkRemove(ctx, id))
}

// networks lists those with a label, all for an empty one.
func (e *dockerEngine) networks(ctx context.Context, label string) ([]networkInfo, error) {
	list, err := e.api.NetworkList(ctx, network.ListOptions{Filters: labelled(label)})
	if err != nil {
		return nil, tell(err)
	}
	out := make([]networkInfo, 0, len(list))
	for _, n := range list {
		info := networkInfo{id: n.ID, name: n.Name, labels: n.Labels}
		for _, c := range n.IPAM.Config {
			if prefix, err := netip.ParsePrefix(c.Subnet); err == nil {
				info.prefixes = append(info.prefixes, prefix.Masked())
			}
		}
		out = append(out, info)
	}
	return out, nil
}

func labelled(label string) filters.Args {
	if label == "" {
		return filters.NewArgs()
	}
	return filters.NewArgs(filters.Arg("label", label))
}

func (e *dockerEngine) createVolume(ctx context.Context, name string, labels map[string]string) (string, error) {
	v, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Driver: "local", Labels: labels})
	return v.Mountpoint, tell(err)
}

func (e *dockerEngine) removeVolume(ctx context.Context, name string) error {
	return tell(e.api.VolumeRemove(ctx, name, true))
}

func (e *dockerEngine) volumes(ctx context.Context, label string) ([]string, error) {
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: labelled(label)})
	if err != nil {
		return nil, tell(err)
	}
	var out []string
	for _, v := range list.Volumes {
		out = append(out, v.Name)
	}
	return out, nil
}

// publishedPort is where the engine forwards a container's port from.
func publishedPort(got container.InspectResponse, port int) int {
	if got.NetworkSettings == nil {
		return 0
	}
	for _, binding := range got.NetworkSettings.Ports[nat.Port(strconv.Itoa(port)+"/tcp")] {
		if n, err := strconv.Atoi(binding.HostPort); err == nil {
			return n
		}
	}
	return 0
}

// Client is the engine's client as package images wants it. The caller closes
// it.
func Client(host string) (*client.Client, error) {
	eng, err := dial(host)
	if err != nil {
		return nil, err
	}
	return eng.api, nil
}

// HasImages tells whether an engine answers that has images of a repository.
func HasImages(ctx context.Context, host, repository string) bool {
	eng, err := dial(host)
	if err != nil {
		return false
	}
	defer eng.close() //nolint:errcheck // idle connections only
	found, err := eng.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
	return err == nil && len(found) > 0
}
