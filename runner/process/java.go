package process

import (
	"net/url"
	"strings"
)

// Java reads no bundle and no proxy variable, but takes options from a variable.
const (
	javaOptions    = "JAVA_TOOL_OPTIONS"
	javaTrustStore = "javax.net.ssl.trustStore="
	javaProxy      = "https.proxyHost="
)

// withJava adds to a deployment's own Java options those that lead to the
// emulator: its certificates, and where there is a proxy the proxy. These hold
// no user and password, as the JVM sends none for a tunnel, so what Java asks for
// is not told apart by instance in the audit log. What is at this address goes
// without the proxy, like the identity endpoint; and so does the metadata
// service, which answers nobody it does not know.
func withJava(own, store, password, proxy string, warn func(string, ...any)) string {
	options := []string{}
	if own != "" {
		options = append(options, own)
	}
	if u, err := url.Parse(proxy); proxy != "" && err == nil {
		if strings.Contains(own, javaProxy) {
			warn("the deployment's %s names a proxy itself: what Java asks for may not reach the emulator", javaOptions)
		} else {
			for _, scheme := range []string{"http", "https"} {
				options = append(options, "-D"+scheme+".proxyHost="+u.Hostname(), "-D"+scheme+".proxyPort="+u.Port())
			}
			options = append(options, "-Dhttp.nonProxyHosts=localhost|127.0.0.1|169.254.169.254")
		}
	}
	if strings.Contains(own, javaTrustStore) {
		warn("the deployment's %s names a trust store itself: Java will not trust the emulator unless it holds the certificates of %s", javaOptions, store)
	} else {
		options = append(options, javaQuote("-D"+javaTrustStore+store),
			"-Djavax.net.ssl.trustStorePassword="+password, "-Djavax.net.ssl.trustStoreType=PKCS12")
	}
	return strings.Join(options, " ")
}

// javaQuote keeps an option with blanks in one piece: the JVM splits the variable
// at them, but for what stands in quotes.
func javaQuote(option string) string {
	switch {
	case !strings.ContainsAny(option, " \t"):
		return option
	case strings.Contains(option, `"`):
		return "'" + option + "'"
	}
	return `"` + option + `"`
}
