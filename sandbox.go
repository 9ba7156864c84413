package amlocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// SandboxAgent is what a program whose path is Config.SandboxAgent calls before
// anything else: started as the agent of a sandbox, it does not return.
func SandboxAgent() { sandbox.Main() }

// isolation says in words what stands between deployments and this machine.
func (e *Emulator) isolation() string {
	if b, ok := e.backend.(interface{ Isolation() string }); ok {
		return b.Isolation()
	}
	return e.backend.Name()
}

// serveSandbox answers what a sandboxed instance dials. The sockets are its own,
// so whatever comes by them is from it.
func (e *Emulator) serveSandbox(spec runner.InstanceSpec, s sandbox.Sockets) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	run := func(what string, serve func() error) {
		serving.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				e.config.Logf("%s of an instance of %s: %v", what, spec.Name, err)
			}
		})
	}
	names := intercept.NameServer{Known: e.proxy.Known, Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Unknown: e.unknownNames(spec.ID)}
	run("names", func() error { return names.ServePacket(ctx, s.Names) })
	run("names", func() error { return names.ServeStream(ctx, s.NamesStream) })
	run("TLS", func() error { return e.proxy.ServeDirect(ctx, s.TLS, spec.Name) })
	owned := func(h http.Handler) *http.Server {
		return &http.Server{
			ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(msi.WithOwner(httpx.WithInstance(r.Context(), spec.Name), spec.ID)))
			}),
		}
	}
	identity := owned(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isIdentityPath(strings.ToLower(r.URL.Path)) {
			http.NotFound(w, r)
			return
		}
		e.msi.ServeHTTP(w, r)
	}))
	metadata := owned(e.msi.IMDS())
	run("identity", func() error { return identity.Serve(s.Identity) })
	run("metadata", func() error { return metadata.Serve(s.Metadata) })
	return func() {
		cancel()
		_, _ = identity.Close(), metadata.Close()
		s.Close()
		serving.Wait()
	}
}

// maxUnknownNames bounds what one instance may write into its log by asking.
const maxUnknownNames = 20

// unknownNames tells a deployment's log, once a name, why it is not found:
// clients only say that it is not.
func (e *Emulator) unknownNames(id string) func(host string) {
	var mu sync.Mutex
	told := map[string]bool{}
	return func(host string) {
		mu.Lock()
		known := told[host] || len(told) >= maxUnknownNames
		told[host] = true
		mu.Unlock()
		if known {
			return
		}
		why := "it is not a name the emulator answers for, and the sandbox has no internet (--sandbox off gives the deployment this machine's network)"
		if _, v := e.route(host); v.Kind == intercept.NoSuchHost {
			why = v.Reason
		}
		_, _ = fmt.Fprintf(e.manager.Log(id, runner.InferenceServer), "amlocal: the name %s does not resolve: %s\n", host, why)
	}
}
