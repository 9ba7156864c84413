//go:build linux

package process_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/runner/process/sandbox"
	"github.com/amlocal/amlocal/runner/runnertest"
)

// BenchmarkReach scores 1 KiB at 16 at once: a plain child, a sandboxed
// instance by its Target, and by DialContext.
func BenchmarkReach(b *testing.B) {
	bin := runnertest.BuildServer(b)
	for _, mode := range []process.SandboxMode{process.SandboxOff, process.SandboxOn} {
		back, err := process.New(process.Config{
			StateDir: b.TempDir(), CacheDir: b.TempDir(), IdentityURL: "http://127.0.0.1:1/", Sandbox: mode, Agent: "/proc/self/exe",
			Images: map[string][]string{"own": {bin, "127.0.0.1:{port}"}},
			Serve:  func(_ runner.InstanceSpec, s sandbox.Sockets) func() { return s.Close },
		})
		if err != nil {
			b.Skip(err)
		}
		defer back.Close() //nolint:errcheck // ends the instances
		spec := runner.InstanceSpec{Spec: runner.Spec{Scoring: runner.Route{Port: 8080}, Environment: runner.Environment{Image: "own"}}, InstanceID: "i1", Log: io.Discard}
		if spec.Artifact, err = back.Build(b.Context(), spec.Environment, false, io.Discard); err != nil {
			b.Fatal(err)
		}
		i, err := back.Start(b.Context(), spec)
		if err != nil {
			b.Fatal(err)
		}
		runnertest.Eventually(b, "readiness", func() bool {
			status, err := i.Probe(b.Context(), runner.Route{Port: 8080, Path: "/readyz"})
			return err == nil && status == 200
		})
		for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){"target": nil, "dial": back.DialContext} {
			if dial != nil && mode == process.SandboxOff {
				continue
			}
			b.Run(string(mode)+"/"+name, func(b *testing.B) {
				client := &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}}
				defer client.CloseIdleConnections()
				body := bytes.Repeat([]byte("x"), 1024)
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						resp, err := client.Post(i.Target().URL+"/score", "text/plain", bytes.NewReader(body))
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
				})
			})
		}
	}
}
