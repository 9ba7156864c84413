package intercept_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/covers"
)

// tool finds a program, or says that its part of the suite did not run.
func tool(t *testing.T, name string, check ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil && len(check) > 0 {
		err = exec.Command(path, check...).Run()
	}
	if err == nil {
		return path
	}
	covers.NotRun(t, strings.Join(append([]string{name}, check...), " "), err.Error())
	return ""
}

const pythonFetch = `
import ssl, sys, urllib.request
ctx = ssl.create_default_context(cafile=None)
ctx.load_verify_locations(__import__("os").environ["SSL_CERT_FILE"])
ctx.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13's default
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=ctx), urllib.request.ProxyHandler())
try:
    print(opener.open(sys.argv[1], timeout=60).read().decode())
except urllib.error.HTTPError as e:
    print(e.code, e.reason, e.read().decode())
`

const pythonRequests = `
import sys, requests
s = requests.Session()
r = s.get(sys.argv[1], timeout=60)
assert s.get(sys.argv[1], timeout=60).status_code == r.status_code
print(r.status_code, r.text)
`

const pythonHandshake = `
import os, socket, ssl, sys
ctx = ssl.create_default_context()
ctx.load_verify_locations(os.environ["SSL_CERT_FILE"])
ctx.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=60) as s:
    with ctx.wrap_socket(s, server_hostname=sys.argv[1]):
        print("trusted")
`

const nodeFetch = `
const http = require("http"), https = require("https");
const proxy = new URL(process.env.HTTPS_PROXY), target = new URL(process.argv[1]);
http.request({host: proxy.hostname, port: proxy.port, method: "CONNECT", path: target.host + ":443"})
  .on("connect", (res, socket) => {
    if (res.statusCode !== 200) { console.log(res.statusCode, res.statusMessage); process.exit(0); }
    https.get({host: target.hostname, path: target.pathname, agent: false, socket}, r => {
      console.log(r.statusCode);
      r.on("data", d => process.stdout.write(d)); r.on("end", () => process.exit(0));
    }).on("error", e => { console.error(e); process.exit(1); });
  }).end();
`

const nodeHandshake = `
require("tls").connect({host: "127.0.0.1", port: process.argv[2], servername: process.argv[1]}, function () {
  console.log("trusted"); this.end();
}).on("error", e => { console.error(e.message); process.exit(1); });
`

const javaClient = `
import java.io.*; import java.net.*; import java.net.http.*; import java.util.*; import javax.net.ssl.*;
public class Client {
  public static void main(String[] a) throws Exception {
    if (a[0].equals("fetch")) {
      var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[1])).build(), HttpResponse.BodyHandlers.ofString());
      System.out.println(r.statusCode() + " " + r.body());
      return;
    }
    var plain = new Socket("127.0.0.1", Integer.parseInt(a[2]));
    var s = (SSLSocket) ((SSLSocketFactory) SSLSocketFactory.getDefault()).createSocket(plain, a[1], plain.getPort(), true);
    var p = s.getSSLParameters(); p.setEndpointIdentificationAlgorithm("HTTPS"); s.setSSLParameters(p);
    s.startHandshake();
    System.out.println("trusted");
    s.close();
  }
}
`

func TestRealClients(t *testing.T) {
	p := startProxy(t, nil)
	system, err := intercept.SystemRoots("")
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.authority.WriteTrust(t.TempDir(), system)
	if err != nil {
		t.Fatal(err)
	}
	javaOptions := []string{
		"-Djavax.net.ssl.trustStore=" + files.TrustStore, "-Djavax.net.ssl.trustStorePassword=" + intercept.TrustStorePassword,
		"-Djavax.net.ssl.trustStoreType=PKCS12", "-Dhttps.proxyHost=127.0.0.1", "-Dhttps.proxyPort=" + p.addr[strings.LastIndex(p.addr, ":")+1:],
		"-XX:TieredStopAtLevel=1", "-Xshare:auto",
	}
	classPath := ""
	java := func(t *testing.T, mode string) []string {
		if classPath == "" {
			classPath = compileJava(t)
		}
		return append(slices.Clone(javaOptions), "-cp", classPath, "Client", mode)
	}
	env := append(os.Environ(),
		"HTTPS_PROXY=http://"+p.addr, "HTTP_PROXY=http://"+p.addr, "https_proxy=http://"+p.addr, "http_proxy=http://"+p.addr,
		"NO_PROXY=", "no_proxy=", "REQUESTS_CA_BUNDLE="+files.Bundle, "SSL_CERT_FILE="+files.Bundle, "CURL_CA_BUNDLE="+files.Bundle,
		"NODE_EXTRA_CA_CERTS="+files.CA)

	for _, c := range []struct {
		name, program    string
		check            []string
		fetch, handshake func(t *testing.T, program string, args ...string) *exec.Cmd
	}{
		{
			"curl", "curl", nil,
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, "-sS", "-w", " %{http_code}", args[0])
			},
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, "-sS", "--noproxy", "*", "--resolve", args[0]+":"+args[1]+":127.0.0.1", "https://"+args[0]+":"+args[1]+"/")
			},
		},
		{
			"python-urllib-strict", "python3", []string{"-c", "import ssl"},
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append([]string{"-c", pythonFetch}, args...)...)
			},
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append([]string{"-c", pythonHandshake}, args...)...)
			},
		},
		{
			"python-requests", "python3", []string{"-c", "import requests"},
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append([]string{"-c", pythonRequests}, args...)...)
			},
			nil,
		},
		{
			"node", "node", nil,
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append([]string{"-e", nodeFetch}, args...)...)
			},
			func(_ *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append([]string{"-e", nodeHandshake}, args...)...)
			},
		},
		{
			"java", "java", nil,
			func(t *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append(java(t, "fetch"), args...)...)
			},
			func(t *testing.T, program string, args ...string) *exec.Cmd {
				return exec.Command(program, append(java(t, "handshake"), args...)...)
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := tool(t, c.program, c.check...)
			run := func(cmd *exec.Cmd) (string, error) {
				cmd.Env = env
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := run(c.fetch(t, program, "https://acct.blob.core.windows.net/container/blob")); err != nil || !strings.Contains(out, "acct.blob.core.windows.net/container/blob tls=true") {
				t.Errorf("emulated: %v\n%s", err, out)
			}
			if out, _ := run(c.fetch(t, program, "https://fancy.azure.com/")); !strings.Contains(out, "501") {
				t.Errorf("refused: %s", out)
			}
			if c.handshake == nil {
				return
			}
			// What a thief of the authority's key could do.
			for host, trusted := range map[string]bool{"x.blob.core.windows.net": true, "bank.example": false} {
				port := serveForged(t, p.caDir, host)
				if out, err := run(c.handshake(t, program, host, port)); (err == nil) != trusted {
					t.Errorf("a certificate for %s: %v\n%s", host, err, out)
				}
			}
		})
	}
}

func compileJava(t *testing.T) (classPath string) {
	t.Helper()
	compiler := tool(t, "javac")
	dir := t.TempDir()
	source := filepath.Join(dir, "Client.java")
	if err := os.WriteFile(source, []byte(javaClient), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(compiler, "-d", dir, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func serveForged(t *testing.T, caDir, host string) (port string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "trusted\n") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{forge(t, caDir, host)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
