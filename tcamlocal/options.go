package tcamlocal

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
	"github.com/testcontainers/testcontainers-go"
)

// worldFile is where a world is put.
const worldFile = "/world.yaml"

// WithWorld starts with the accounts, identities and roles of a world file; see
// docs/world.md. Blobs' content must be in the file itself.
func WithWorld(path string) testcontainers.CustomizeRequestOption {
	return func(req *testcontainers.GenericContainerRequest) error {
		req.Files = append(req.Files, testcontainers.ContainerFile{HostFilePath: path, ContainerFilePath: worldFile, FileMode: 0o444})
		req.Cmd = append(req.Cmd, "--world", worldFile)
		return nil
	}
}

// confine gives the container what docker-compose.yml does: the socket, a port
// on loopback, and no more rights than it needs. The caller's own modifier comes
// after it. Into a read-only root file system testcontainers could put no files.
func confine(req *testcontainers.GenericContainerRequest) error {
	theirs := req.HostConfigModifier
	req.HostConfigModifier = func(host *container.HostConfig) {
		socket := testcontainers.MustExtractDockerSocket(context.Background())
		host.Binds = append(host.Binds, socket+":/var/run/docker.sock")
		host.PortBindings = nat.PortMap{port: {{HostIP: "127.0.0.1"}}}
		host.ReadonlyRootfs = len(req.Files) == 0
		host.Tmpfs = map[string]string{"/tmp": ""}
		host.CapDrop = []string{"ALL"}
		host.SecurityOpt = []string{"no-new-privileges"}
		if theirs != nil {
			theirs(host)
		}
	}
	return nil
}
