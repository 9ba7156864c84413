package docker

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// TestInside looks around from inside two deployments' containers.
func TestInside(t *testing.T) {
	covers.C(t, "go net/http in a FROM scratch container", "R-516", "R-504")
	w := newWorld(t, nil)
	importProgram(t, probeImage, "probe", `["/probe", ":8080"]`)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t, w.cfg)
	})
	model := t.TempDir()
	if err := os.WriteFile(filepath.Join(model, "m.txt"), []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	const target = "/var/azureml-app/azureml-models/m/1"
	blue, blueLog := w.run(t, probeImage, func(s *runner.InstanceSpec) {
		s.ID, s.Name = "blue", "ep/blue"
		s.Mounts = []runner.Mount{{Source: model, Target: target}}
		s.Env["REQUESTS_CA_BUNDLE"], s.Env["JAVA_TOOL_OPTIONS"] = "/own.pem", "-Xmx1g"
	})
	green, _ := w.run(t, probeImage, func(s *runner.InstanceSpec) { s.ID, s.Name = "green", "ep/green" })
	b, g := blue.(*instance), green.(*instance)
	host := func(i *instance, n int) string { return relay.Host(i.subnet.prefix, n).String() }
	own := "http://" + host(b, relay.AgentHost) + ":8911/v1/token/msi/xds"

	t.Run("the blob store by its public name, TLS verified", func(t *testing.T) {
		for range 100 {
			if got := ask(t, blue, "/get", "url", "https://"+blobHost+"/"); got != "200 hello from "+blobHost {
				t.Fatal(got)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.arrivals) != 1 || w.arrivals[0] != (Source{Instance: b.id, Owner: "blue", Name: "ep/blue", Port: 443}) {
			t.Errorf("100 requests of one client came as %v", w.arrivals)
		}
	})
	t.Run("names that do not exist", func(t *testing.T) {
		for _, name := range []string{"nosuch.blob.core.windows.net", "example.com", b.id} {
			if got := ask(t, blue, "/resolve", "name", name); !strings.Contains(got, "no such host") {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
	t.Run("identity by secret and source", func(t *testing.T) {
		if got := ask(t, blue, "/env", "name", "MSI_ENDPOINT"); got != own {
			t.Errorf("MSI_ENDPOINT %s, want %s", got, own)
		}
		if got := ask(t, blue, "/get", "url", own, "secret", "secret of blue"); got != "200 blue "+b.id {
			t.Error(got)
		}
		if got := ask(t, green, "/get", "url", "http://"+host(g, relay.AgentHost)+":8911/v1/token/msi/xds", "secret", "secret of blue"); !strings.HasPrefix(got, "401") {
			t.Errorf("another deployment's secret: %s", got)
		}
	})
	t.Run("trust never overwrites the deployment's own", func(t *testing.T) {
		for name, want := range map[string]string{"SSL_CERT_FILE": bundleFile, "NODE_EXTRA_CA_CERTS": bundleFile, "REQUESTS_CA_BUNDLE": "/own.pem", "HTTPS_PROXY": "", "JAVA_TOOL_OPTIONS": "-Xmx1g"} {
			if got := ask(t, blue, "/env", "name", name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if !strings.Contains(blueLog.String(), "the deployment sets REQUESTS_CA_BUNDLE itself") {
			t.Errorf("no warning in the log: %s", blueLog)
		}
	})
	t.Run("nothing else can be reached", func(t *testing.T) {
		everywhere, err := net.Listen("tcp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = everywhere.Close() }()
		_, port, _ := net.SplitHostPort(everywhere.Addr().String())
		record := w.agent.record
		targets := map[string]string{
			"another deployment's instance":        netip.AddrPortFrom(g.address, 8080).String(),
			"the agent on another network":         host(g, relay.AgentHost) + ":8911",
			"the emulator's port of the agent":     net.JoinHostPort(relay.Host(record.Control, relay.AgentHost).String(), "8900"),
			"the same on the own network":          host(b, relay.AgentHost) + ":8900",
			"the internet":                         "1.1.1.1:443",
			"the machine at the gateway's address": host(b, 1) + ":" + port,
			"the machine at the default bridge":    "172.17.0.1:" + port,
			"a cloud's metadata service":           "169.254.169.254:80",
			"the machine at the control network":   relay.Host(record.Control, 1).String() + ":" + port,
		}
		for _, address := range machineAddresses(t) {
			targets["the machine at "+address] = net.JoinHostPort(address, port)
		}
		for what, to := range targets {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				if got := ask(t, blue, "/dial", "to", to); !strings.HasPrefix(got, "blocked") {
					t.Errorf("%s: %s", to, got)
				}
			})
		}
	})
	t.Run("the agent dials instances only", func(t *testing.T) {
		l, err := w.agent.link(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"127.0.0.1:8900", "172.17.0.1:22", host(b, 1) + ":80", host(b, relay.AgentHost) + ":443", "10.213.255.250:80", "1.1.1.1:443"} {
			if c, err := l.dial(t.Context(), netip.MustParseAddrPort(to)); err == nil {
				_ = c.Close()
				t.Errorf("it dialled %s", to)
			}
		}
	})
	t.Run("mounts are there and read-only", func(t *testing.T) {
		if got := ask(t, blue, "/file", "name", target+"/m.txt"); got != "weights" {
			t.Error(got)
		}
		for _, name := range []string{target + "/m.txt", target + "/new", "/etc/resolv.conf", bundleFile} {
			if got := ask(t, blue, "/write", "name", name); !strings.Contains(got, "read-only file system") {
				t.Errorf("write %s: %s", name, got)
			}
		}
		if got := ask(t, blue, "/file", "name", "/etc/resolv.conf"); !strings.HasPrefix(got, "nameserver "+host(b, relay.AgentHost)+"\n") {
			t.Error(got)
		}
	})
	t.Run("few capabilities", func(t *testing.T) {
		status := ask(t, blue, "/file", "name", "/proc/self/status")
		for _, want := range []string{"NoNewPrivs:\t1\n", fmt.Sprintf("CapBnd:\t%016x\n", 0x4fb)} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in\n%s", want, status)
			}
		}
	})
}

func machineAddresses(t *testing.T) []string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			out = append(out, n.IP.String())
		}
	}
	return out
}
