package process

import (
	"fmt"
	"strings"
	"testing"
)

func TestJavaOptions(t *testing.T) {
	const proxy = "http://instance:secret@127.0.0.1:1234"
	for name, tt := range map[string]struct {
		own, store, proxy string
		want              string
		warnings          int
	}{
		"sandboxed": {"", "/store.p12", "", "-Djavax.net.ssl.trustStore=/store.p12 -Djavax.net.ssl.trustStorePassword=changeit -Djavax.net.ssl.trustStoreType=PKCS12", 0},
		"plain": {"-Xmx1g", "/my folder/store.p12", proxy,
			"-Xmx1g -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=1234 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1234 -Dhttp.nonProxyHosts=localhost|127.0.0.1|169.254.169.254" +
				` "-Djavax.net.ssl.trustStore=/my folder/store.p12" -Djavax.net.ssl.trustStorePassword=changeit -Djavax.net.ssl.trustStoreType=PKCS12`, 0},
		"its own": {"-Dhttps.proxyHost=p -Djavax.net.ssl.trustStore=s", "/store.p12", proxy, "-Dhttps.proxyHost=p -Djavax.net.ssl.trustStore=s", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			got := withJava(tt.own, tt.store, "changeit", tt.proxy, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
			if got != tt.want || len(said) != tt.warnings || strings.Contains(got, "secret") {
				t.Errorf("options %s\nwant    %s\nwarnings %q", got, tt.want, said)
			}
		})
	}
}
