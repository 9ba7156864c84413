package docker

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/runner"
)

func TestLinesStayWhole(t *testing.T) {
	var out bytes.Buffer
	l := &lines{out: &out}
	stdout, stderr := l.stream(), l.stream()
	for _, step := range []struct {
		to   *stream
		text string
	}{{stdout, "on"}, {stderr, "bad\nwor"}, {stdout, "e\ntwo\nthr"}, {stderr, "se\n"}, {stdout, "ee"}} {
		if n, err := step.to.Write([]byte(step.text)); n != len(step.text) || err != nil {
			t.Fatal(n, err)
		}
	}
	stdout.flush()
	stderr.flush()
	if got, want := out.String(), "bad\none\ntwo\nworse\nthree\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, _ = stdout.Write(bytes.Repeat([]byte("x"), maxLine+1))
	if out.Len() < maxLine {
		t.Error("a line without an end is kept back for good")
	}
}

func TestSlices(t *testing.T) {
	pool := netip.MustParsePrefix("10.213.0.0/16")
	for n, want := range map[uint32]string{0: "10.213.0.0/28", 1: "10.213.0.16/28", 4095: "10.213.255.240/28"} {
		if got := slice(pool, n).String(); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestPoolIsChecked(t *testing.T) {
	ok := Config{StateUUID: "u", StateDir: "d", AgentBinary: "a", CABundle: "b", Serve: func(_ net.Conn, _ Source) {}, DNS: func([]byte, netip.Addr) []byte { return nil }}
	for pool, good := range map[string]bool{"10.0.0.0/8": true, "192.168.7.0/27": true, "10.0.0.0/28": false, "8.8.8.0/24": false, "fd00::/64": false} {
		c := ok
		c.NetworkPool = netip.MustParsePrefix(pool)
		if _, err := c.withDefaults(); (err == nil) != good {
			t.Errorf("%s: %v", pool, err)
		}
	}
}

func TestEnviron(t *testing.T) {
	b := &Backend{cfg: Config{TrustStore: "t", TrustStorePassword: "changeit", IdentityPath: "/v1/token/msi/xds"}}
	var warnings []string
	warn := func(format string, _ ...any) { warnings = append(warnings, format) }
	env := func(spec runner.Spec, image ...string) []string {
		warnings = nil
		return b.environ(runner.InstanceSpec{Spec: spec, Secret: "s"}, imageInfo{env: image}, netip.MustParsePrefix("10.213.0.16/28"), warn)
	}
	has := func(got []string, want string) {
		t.Helper()
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %v", want, got)
		}
	}
	got := env(runner.Spec{Env: map[string]string{"A": "1"}, PathEnv: map[string]string{"P": "/p"}, IdentityURLVars: []string{"MSI_ENDPOINT"}, IdentitySecretVars: []string{"MSI_SECRET"}}, "JAVA_TOOL_OPTIONS=-Dx=1", "SSL_CERT_FILE=/conda.pem")
	for _, want := range []string{"A=1", "P=/p", "MSI_ENDPOINT=http://10.213.0.18:8911/v1/token/msi/xds", "MSI_SECRET=s", "SSL_CERT_FILE=" + bundleFile,
		"JAVA_TOOL_OPTIONS=-Dx=1 -Djavax.net.ssl.trustStore=" + storeFile + " -Djavax.net.ssl.trustStorePassword=changeit -Djavax.net.ssl.trustStoreType=PKCS12"} {
		has(got, want)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings %v", warnings)
	}
	for _, kv := range got {
		if strings.Contains(strings.ToLower(kv), "proxy") {
			t.Errorf("%s", kv)
		}
	}
	own := "-Djavax.net.ssl.trustStore=/own"
	got = env(runner.Spec{Env: map[string]string{"JAVA_TOOL_OPTIONS": own, "SSL_CERT_FILE": "/own.pem"}})
	has(got, "JAVA_TOOL_OPTIONS="+own)
	has(got, "SSL_CERT_FILE=/own.pem")
	if len(warnings) != 2 {
		t.Errorf("warnings %v", warnings)
	}
}

func TestCapabilities(t *testing.T) {
	for user, none := range map[string]bool{"": false, "root": false, "0:0": false, "1001": true, "dockeruser:users": true} {
		if got := capabilitiesFor(user); (got == nil) != none || slices.Contains(got, "NET_RAW") {
			t.Errorf("%q: %v", user, got)
		}
	}
}
