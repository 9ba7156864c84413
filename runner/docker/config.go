package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/amlocal/amlocal/runner"
)

// DefaultNetworkPool is cut into the deployments' networks unless told
// otherwise.
const DefaultNetworkPool = "10.213.0.0/16"

// Images makes images. Package images is the one of the emulator.
type Images interface {
	// Ensure gives the engine's reference of an image that holds the
	// environment, making or pulling it when need be and writing progress to
	// log. script says that the image must serve a scoring script. Errors
	// the user can mend are *runner.Failure.
	Ensure(ctx context.Context, env runner.Environment, script bool, log io.Writer) (image string, err error)
}

// Source is the instance at the other end of a connection, known by the
// network it stands on and its address there, which it cannot forge.
type Source struct {
	// Instance is its id, Owner its deployment's, Name the deployment's
	// name for people.
	Instance, Owner, Name string
	// Port is the agent's that it connected to: TLSPort or IdentityPort.
	Port int
}

// Config is what the back end needs.
type Config struct {
	// StateUUID labels everything made; the sweep goes by it. StateDir is a
	// folder of this back end's own.
	StateUUID, StateDir string
	// AgentBinary is a static Linux program that runs the agent when it is
	// started with AgentArgs.
	AgentBinary string
	AgentArgs   []string
	// CABundle is a file with the emulator's CA and the public roots,
	// TrustStore the same as PKCS#12, opened by TrustStorePassword.
	CABundle, TrustStore, TrustStorePassword string
	// IdentityPath is the path of the identity endpoint.
	IdentityPath string
	// NetworkPool is cut into networks of 12 instances; DefaultNetworkPool
	// when zero.
	NetworkPool netip.Prefix
	// Images makes images; nil runs only those the engine has.
	Images Images
	// Serve takes over an instance's connection.
	Serve func(c net.Conn, from Source)
	// DNS answers a DNS message; self is the address names lead to. nil
	// leaves the question unanswered.
	DNS func(query []byte, self netip.Addr) []byte
	// Host is the engine's address as in DOCKER_HOST; empty takes the
	// environment's.
	Host string
	// Logf gets the back end's own events; nil drops them.
	Logf func(format string, args ...any)
}

func (c Config) withDefaults() (Config, error) {
	if c.StateUUID == "" || c.StateDir == "" || c.AgentBinary == "" || c.CABundle == "" {
		return c, errors.New("docker: StateUUID, StateDir, AgentBinary and CABundle are needed")
	}
	if c.Serve == nil || c.DNS == nil {
		return c, errors.New("docker: Serve and DNS are needed")
	}
	if !c.NetworkPool.IsValid() {
		c.NetworkPool = netip.MustParsePrefix(DefaultNetworkPool)
	}
	if !c.NetworkPool.Addr().Is4() || c.NetworkPool.Bits() > 27 || !c.NetworkPool.Addr().IsPrivate() {
		return c, fmt.Errorf("network pool %s: it must be a private IPv4 range of /27 or larger", c.NetworkPool)
	}
	c.NetworkPool = c.NetworkPool.Masked()
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	var err error
	if c.StateDir, err = filepath.Abs(c.StateDir); err != nil {
		return c, fmt.Errorf("docker: %w", err)
	}
	return c, nil
}
