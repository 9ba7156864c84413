package amlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/express"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
	"github.com/amlocal/amlocal/runner/docker/images"
	"github.com/amlocal/amlocal/runner/process"
)

// AgentCommand is the argument by which the emulator's own program becomes the
// agent inside containers; see package relay.
const AgentCommand = "docker-agent"

// newDocker makes the back end that runs instances as containers.
func (e *Emulator) newDocker() (runner.Backend, error) {
	c := e.config
	agent, args, err := agentProgram(c.AgentBinary)
	if err != nil {
		return nil, err
	}
	pool := netip.Prefix{}
	if c.NetworkPool != "" {
		if pool, err = netip.ParsePrefix(c.NetworkPool); err != nil {
			return nil, fmt.Errorf("network pool: %w", err)
		}
	}
	api, err := docker.Client("")
	if err != nil {
		return nil, err
	}
	e.onClose(func(context.Context) error { return api.Close() })
	builder, err := images.New(images.Config{
		Engine: api, Pull: c.Pull && !c.Offline, BaseImages: c.BaseImages, Offline: c.Offline, RelaxConda: c.RelaxConda, Clock: c.Clock,
		OwnProxy: strings.TrimPrefix(e.access.URL(), "http://"),
	})
	if err != nil {
		return nil, err
	}
	identity := e.serveIdentity()
	return docker.New(docker.Config{
		StateUUID: e.state.UUID, StateDir: dockerDir(e.config.StateDir), AgentBinary: agent, AgentArgs: args,
		CABundle: e.access.Bundle, TrustStore: e.access.TrustStore, TrustStorePassword: intercept.TrustStorePassword,
		IdentityPath: identityPath, NetworkPool: pool, Images: builder, Logf: c.Logf,
		Serve: func(conn net.Conn, from docker.Source) {
			switch from.Port {
			case relay.TLSPort:
				e.proxy.ServeDirectConn(conn, from.Name)
			case relay.IdentityPort:
				identity.Push(instanceConn{conn, from})
			default:
				_ = conn.Close()
			}
		},
		DNS: func(query []byte, self netip.Addr) []byte {
			return intercept.NameServer{Known: e.proxy.Known, Address: self}.Answer(query)
		},
	})
}

func dockerDir(stateDir string) string { return filepath.Join(stateDir, "runner", "docker") }

// SweepContainers ends what an emulator of a state folder left in the container
// engine. The folder must be held.
func SweepContainers(ctx context.Context, stateDir string) error {
	var st state
	if err := readJSON(filepath.Join(stateDir, identityFile), &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return docker.SweepState(ctx, st.UUID, dockerDir(stateDir), "")
}

// sweep ends what an earlier emulator left running, which may have had another
// runner. What this one's back end can take over stays until the deployments are
// restored.
func (e *Emulator) sweep(ctx context.Context) error {
	var other error
	if e.config.Runner == "docker" {
		other = process.SweepState(ctx, e.path("runner"))
	} else {
		other = SweepContainers(ctx, e.config.StateDir)
	}
	if _, ok := e.backend.(runner.Adopter); ok {
		return other
	}
	return errors.Join(other, e.backend.Sweep(ctx))
}

// agentProgram is the program that becomes the agent: the one named, else this
// one where it is a Linux program, else amlocal-agent beside it.
func agentProgram(named string) (path string, args []string, err error) {
	if named != "" {
		return named, []string{AgentCommand}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("the agent's program: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), "amlocal-agent")
	if isFile(beside) {
		return beside, nil, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("containers need the agent, a Linux program, as %s", beside)
	}
	return self, []string{AgentCommand}, nil
}

// instanceConn is a connection whose other end the data path knows.
type instanceConn struct {
	net.Conn
	from docker.Source
}

type sourceKey struct{}

// serveIdentity answers instances where their variables say, each bound to the
// deployment it belongs to: a secret that leaked to another is of no use there.
func (e *Emulator) serveIdentity() *express.Feed {
	feed := express.NewFeed()
	server := &http.Server{
		ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if known, ok := c.(instanceConn); ok {
				ctx = context.WithValue(ctx, sourceKey{}, known.from)
			}
			return ctx
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from, _ := r.Context().Value(sourceKey{}).(docker.Source)
			if from.Owner == "" || !isIdentityPath(strings.ToLower(r.URL.Path)) {
				http.NotFound(w, r)
				return
			}
			ctx := msi.WithOwner(httpx.WithInstance(r.Context(), from.Name), from.Owner)
			e.msi.ServeHTTP(w, r.WithContext(ctx))
		}),
	}
	e.serving.Go(func() { _ = server.Serve(feed) })
	e.onClose(func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		return err
	})
	return feed
}

// pythonBase is the name package images gives the base image `make base-image`
// makes.
const pythonBase = "amlocal/python"

// chooseRunner takes containers where they can run what people deploy most: an
// engine answers, and an image with Python is there without a download.
func chooseRunner(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if docker.HasImages(ctx, "", pythonBase) {
		return "docker"
	}
	return "process"
}
