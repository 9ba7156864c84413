package tcamlocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/amlocal/amlocal"
)

// DefaultImage is the name `make image` gives.
const DefaultImage = "amlocal/emulator:dev"

// port is the emulator's inside its container.
const port = "4390/tcp"

const (
	startLimit = time.Minute
	// stopGrace is for the emulator to end its deployments and remove what it
	// made for them.
	stopGrace = time.Minute
)

// Container is an emulator that runs.
type Container struct {
	testcontainers.Container
	access     amlocal.Access
	dir        string // the clients' files
	http       *http.Client
	credential azcore.TokenCredential
}

// Run starts an emulator and waits until it serves. Options are testcontainers'
// own and WithWorld; testcontainers.WithCmdArgs adds flags of `amlocal up`. On
// error the container, as far as there is one, has been removed.
func Run(ctx context.Context, image string, opts ...testcontainers.ContainerCustomizer) (_ *Container, err error) {
	all := []testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(port),
		testcontainers.WithCmd("up", "--runner", "docker", "--listen", "0.0.0.0"),
		// Asked inside: by which address the port is reached is not the same
		// everywhere.
		testcontainers.WithWaitStrategyAndDeadline(startLimit, wait.ForExec([]string{"amlocal", "status"})),
	}
	all = append(append(all, opts...), testcontainers.CustomizeRequestOption(confine))
	made, err := testcontainers.Run(ctx, image, all...)
	c := &Container{}
	if made != nil { // also when it did not become ready
		c.Container = made
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("tcamlocal: %w", err), c.abandon(ctx))
		}
	}()
	if err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "tcamlocal-"); err != nil {
		return nil, err
	}
	token, err := c.adminToken(ctx)
	if err != nil {
		return nil, err
	}
	mapped, err := made.MappedPort(ctx, port)
	if err != nil {
		return nil, err
	}
	if c.access, err = amlocal.FetchAccess(ctx, "http://127.0.0.1:"+mapped.Port(), token, c.dir); err != nil {
		return nil, err
	}
	return c, c.client()
}

// abandon removes what a start that failed leaves.
func (c *Container) abandon(ctx context.Context) error {
	if c.Container == nil {
		return nil
	}
	return c.Terminate(context.WithoutCancel(ctx))
}

// adminToken is read where it lies; there is no other way to it.
func (c *Container) adminToken(ctx context.Context) (string, error) {
	code, out, err := c.Exec(ctx, []string{"amlocal", "admin-token"}, tcexec.Multiplexed())
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(out)
	if err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("amlocal admin-token: exit code %d: %s", code, raw)
	}
	return strings.TrimSpace(string(raw)), nil
}

// Terminate stops the emulator, which removes its deployments, and removes the
// container and its state. More time to stop than a minute can be given with
// testcontainers.StopTimeout.
func (c *Container) Terminate(ctx context.Context, opts ...testcontainers.TerminateOption) error {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	err := c.Container.Terminate(ctx, append([]testcontainers.TerminateOption{testcontainers.StopTimeout(stopGrace)}, opts...)...)
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}
