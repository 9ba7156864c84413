package intercept_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// proxy is a running server under test.
type proxy struct {
	*intercept.Server
	t         testing.TB
	authority *intercept.Authority
	audit     *audit.Log
	addr      string
	caDir     string
}

func startProxy(t testing.TB, change func(*intercept.Deps)) *proxy {
	t.Helper()
	p := &proxy{t: t, audit: audit.NewLog(100, nil), caDir: t.TempDir()}
	p.authority = openAuthority(t, p.caDir, clock.System{})
	deps := intercept.Deps{
		Authority: p.authority, Clock: clock.System{}, Audit: p.audit,
		Route: route,
		Local: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "local %s", r.URL.Path) }),
		Upstream: func(*http.Request) (*url.URL, error) {
			return nil, nil
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if change != nil {
		change(&deps)
	}
	var err error
	if p.Server, err = intercept.New(deps); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		// A test that ends at once may close the proxy before it serves.
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return p
}

// route knows one account and refuses two services.
func route(host string) (http.Handler, intercept.Verdict) {
	switch {
	case host == "acct.blob.core.windows.net", host == "management.azure.com":
		return http.HandlerFunc(echo), intercept.Verdict{Kind: intercept.Emulated, Express: host != "management.azure.com"}
	case strings.HasSuffix(host, ".blob.core.windows.net"):
		return nil, intercept.Verdict{Kind: intercept.NoSuchHost, Reason: "no storage account \"nobody\" exists here; create it with az storage account create"}
	case host == "telemetry.azure.com":
		return nil, intercept.Verdict{Kind: intercept.Refused, Service: "telemetry", Quiet: true}
	case strings.HasSuffix(host, ".azure.com"):
		return nil, intercept.Verdict{Kind: intercept.Refused, Service: "Azure Fancy Service"}
	default:
		return nil, intercept.Verdict{Kind: intercept.Passed}
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s %s%s tls=%t abs=%t proto=%d instance=%q proxyauth=%q body=%d", r.Method, r.Host, r.URL.EscapedPath(),
		r.TLS != nil, r.URL.IsAbs(), r.ProtoMajor, httpx.Instance(r.Context()), r.Header.Get("Proxy-Authorization"), len(body))
}

func (p *proxy) url(user *url.Userinfo) *url.URL {
	return &url.URL{Scheme: "http", Host: p.addr, User: user}
}

func (p *proxy) client(change func(*http.Transport)) *http.Client {
	tr := &http.Transport{Proxy: http.ProxyURL(p.url(nil)), TLSClientConfig: &tls.Config{RootCAs: pool(p.t, p.authority)}}
	if change != nil {
		change(tr)
	}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t testing.TB, c *http.Client, target string) (int, string) {
	t.Helper()
	status, body, err := tryGet(c, target)
	if err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
	return status, body
}

func tryGet(c *http.Client, target string) (int, string, error) {
	resp, err := c.Get(target)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestTunnelToEmulatedHost(t *testing.T) {
	p := startProxy(t, nil)
	for _, h2 := range []bool{false, true} {
		c := p.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = h2 })
		want := map[bool]string{false: "proto=1", true: "proto=2"}[h2]
		for _, target := range []string{"https://acct.blob.core.windows.net/a%2Fb//c", "https://acct.blob.core.windows.net:8443/a%2Fb//c"} {
			status, body := get(t, c, target)
			if status != 200 || !strings.Contains(body, "/a%2Fb//c tls=true") || !strings.Contains(body, want) {
				t.Errorf("h2=%t %s: %d %s", h2, target, status, body)
			}
		}
	}
	// Plain HTTP inside a tunnel, as a client with CONNECT for everything does.
	conn := p.dial()
	fmt.Fprintf(conn, "CONNECT acct.blob.core.windows.net:80 HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: acct.blob.core.windows.net\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "acct.blob.core.windows.net/x tls=false") {
		t.Errorf("plain tunnel: %q %v", answer, err)
	}
}

func (p *proxy) dial() net.Conn {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute)) // names may be slow to be found missing
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (p *proxy) raw(request string) string {
	conn := p.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		p.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(answer)
}

func TestOnePortSpeaksTLSAndHTTP(t *testing.T) {
	p := startProxy(t, nil)
	direct := p.client(func(tr *http.Transport) {
		tr.Proxy = nil
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", p.addr)
		}
	})
	for target, want := range map[string]string{
		"http://" + p.addr + "/account/container":     "local /account/container",
		"https://" + p.addr + "/metadata/endpoints":   "local /metadata/endpoints",
		"https://localhost:4390/metadata/endpoints":   "local /metadata/endpoints",
		"https://management.azure.com/subscriptions":  "GET management.azure.com/subscriptions tls=true",
		"http://acct.blob.core.windows.net/container": "GET acct.blob.core.windows.net/container tls=false",
	} {
		if status, body := get(t, direct, target); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
	if status, body := get(t, direct, "http://rebound.example/_amlocal/state"); status != http.StatusMisdirectedRequest {
		t.Errorf("a rebound name was served: %d %s", status, body)
	}
	if status, _ := get(t, direct, "https://nobody.blob.core.windows.net/"); status != http.StatusBadGateway {
		t.Errorf("missing account over direct TLS: %d", status)
	}
	if _, _, err := tryGet(direct, "https://bank.example/"); err == nil {
		t.Error("answered TLS for a foreign name")
	}
	req, err := http.NewRequest("GET", "https://management.azure.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "acct.blob.core.windows.net"
	resp, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a request for another host on the connection: %d", resp.StatusCode)
	}
}

func TestMissingNamesSpeakInTheReasonPhrase(t *testing.T) {
	covers.R(t, "R-1018")
	p := startProxy(t, nil)
	_, _, err := tryGet(p.client(nil), "https://nobody.blob.core.windows.net/c")
	if err == nil || !strings.Contains(err.Error(), "create it with az storage account create") {
		t.Errorf("Go says %v", err)
	}
	answer := p.raw("CONNECT nobody.blob.core.windows.net:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 502 no storage account \"nobody\" exists here") {
		t.Errorf("answer: %q", answer)
	}
	entries := p.audit.Recent(1, false)
	if len(entries) != 1 || entries[0].Code != "NoSuchHost" || entries[0].Status != 502 {
		t.Errorf("audit: %+v", entries)
	}
	if status, body := get(t, p.client(nil), "http://nobody.blob.core.windows.net/c"); status != 502 || !strings.Contains(body, "no storage account") {
		t.Errorf("plain: %d %s", status, body)
	}
}

func TestRefusedServices(t *testing.T) {
	p := startProxy(t, nil)
	for _, scheme := range []string{"https", "http"} {
		status, body := get(t, p.client(nil), scheme+"://x.azure.com/things?sig=secret")
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != 501 || e.Error.Code != "NotEmulated" || !strings.Contains(e.Error.Message, "Azure Fancy Service") {
			t.Errorf("%s: %d %s %v", scheme, status, body, err)
		}
	}
	seen := len(p.audit.Recent(100, false))
	if seen != 2 {
		t.Errorf("%d audit entries, want 2", seen)
	}
	if status, _ := get(t, p.client(nil), "https://telemetry.azure.com/track"); status != 501 {
		t.Errorf("telemetry: %d", status)
	}
	if after := len(p.audit.Recent(100, false)); after != seen {
		t.Error("telemetry was audited")
	}
}

func TestPassedHosts(t *testing.T) {
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "outside") }))
	defer target.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "outside %s auth=%q via=%q", r.URL.EscapedPath(), r.Header.Get("Proxy-Authorization"), r.Header.Get("X-Forwarded-For"))
	}))
	defer plain.Close()
	for _, offline := range []bool{false, true} { // loopback is not the network
		p := startProxy(t, func(d *intercept.Deps) { d.Offline = offline })
		c := p.client(func(tr *http.Transport) {
			tr.TLSClientConfig = target.Client().Transport.(*http.Transport).TLSClientConfig
			tr.Proxy = http.ProxyURL(p.url(url.UserPassword("u", "nobody")))
		})
		if status, body := get(t, c, target.URL); status != 200 || body != "outside" {
			t.Errorf("tunnel: %d %s", status, body)
		}
		if status, body := get(t, c, plain.URL+"/a%2Fb"); status != 200 || body != `outside /a%2Fb auth="" via=""` {
			t.Errorf("forwarded: %d %s", status, body)
		}
	}
}

func TestOffline(t *testing.T) {
	p := startProxy(t, func(d *intercept.Deps) { d.Offline = true })
	if _, _, err := tryGet(p.client(nil), "https://pypi.org/"); err == nil || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("tunnel: %v", err)
	}
	if status, body := get(t, p.client(nil), "http://pypi.org/"); status != 502 || !strings.Contains(body, "--offline") {
		t.Errorf("forwarded: %d %s", status, body)
	}
	if status, _ := get(t, p.client(nil), "https://management.azure.com/"); status != 200 {
		t.Errorf("emulated: %d", status)
	}
}

func TestUpstreamProxy(t *testing.T) {
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "outside") }))
	defer target.Close()
	var asked atomic.Value
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization"))
		if r.Method != http.MethodConnect {
			fmt.Fprintf(w, "upstream saw %s", r.URL)
			return
		}
		if r.Host == "closed.example:443" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		remote, err := net.Dial("tcp", target.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(remote, c); _ = remote.Close() }()
		go func() { _, _ = io.Copy(c, remote); _ = c.Close() }()
	}))
	defer upstream.Close()
	via, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	via.User = url.UserPassword("me", "pw")
	p := startProxy(t, func(d *intercept.Deps) { d.Upstream = http.ProxyURL(via) })
	c := p.client(func(tr *http.Transport) {
		tr.TLSClientConfig = target.Client().Transport.(*http.Transport).TLSClientConfig
	})
	if status, body := get(t, c, "https://example.com/"); status != 200 || body != "outside" {
		t.Errorf("tunnel: %d %s", status, body)
	}
	if want := "CONNECT example.com:443 Basic " + base64.StdEncoding.EncodeToString([]byte("me:pw")); asked.Load() != want {
		t.Errorf("upstream was asked %q, want %q", asked.Load(), want)
	}
	if status, body := get(t, c, "http://example.com/x"); status != 200 || body != "upstream saw http://example.com/x" {
		t.Errorf("forwarded: %d %s", status, body)
	}
	if _, _, err := tryGet(c, "https://closed.example/"); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("refused by upstream: %v", err)
	}
}

func TestOwnPortIsNotProxied(t *testing.T) {
	var self atomic.Pointer[url.URL]
	p := startProxy(t, func(d *intercept.Deps) {
		d.Upstream = func(*http.Request) (*url.URL, error) { return self.Load(), nil }
	})
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1", "localhost", "127.9.9.9", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "0x7f.1"}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
				hosts = append(hosts, n.IP.String())
				break
			}
		}
	}
	for _, host := range hosts {
		if answer := p.raw("CONNECT " + host + ":" + port + " HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 403 ") && !strings.HasPrefix(answer, "HTTP/1.1 502 ") {
			t.Errorf("CONNECT %s: %q", host, answer)
		}
		if answer := p.raw("GET http://" + host + ":" + port + "/_amlocal/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 403 ") && !strings.HasPrefix(answer, "HTTP/1.1 502 ") {
			t.Errorf("GET %s: %q", host, answer)
		}
	}
	// Started inside an environment that points at ourselves.
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "outside") }))
	defer outside.Close()
	self.Store(p.url(nil))
	if status, body := get(t, p.client(nil), outside.URL); status != 200 || body != "outside" {
		t.Errorf("with ourselves as upstream: %d %s", status, body)
	}
}

func TestMetadataAddressIsNeverTheRealOne(t *testing.T) {
	bare := startProxy(t, nil)
	faked := startProxy(t, func(d *intercept.Deps) { d.IMDS = http.HandlerFunc(echo) })
	for _, target := range []string{"http://169.254.169.254/metadata/instance/compute", "http://169.254.169.254:80/metadata/identity/oauth2/token/"} {
		status, body := get(t, bare.client(nil), target)
		if status != 404 || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s", target, status, body)
		}
		if status, body := get(t, faked.client(nil), target); status != 200 || !strings.Contains(body, "abs=false") {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
	tunnel := "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\nGET /m HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n"
	if answer := faked.raw(tunnel); !strings.Contains(answer, "GET 169.254.169.254/m") {
		t.Errorf("tunnel: %q", answer)
	}
	// Other notations of the address, and other such services.
	for _, host := range []string{"2852039166", "0xA9FEA9FE", "[::ffff:169.254.169.254]", "168.63.129.16", "169.254.170.2"} {
		answer := bare.raw("CONNECT " + host + ":80 HTTP/1.1\r\nHost: x\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 502 ") {
			t.Errorf("%s: %q", host, answer)
		}
	}
}

func TestInstanceAttribution(t *testing.T) {
	type failure struct{ instance, host string }
	failures := make(chan failure, 10)
	p := startProxy(t, func(d *intercept.Deps) {
		d.Instance = func(secret string) (string, bool) { return "ep/blue", secret == "s3cret" }
		d.HandshakeFailed = func(instance, host string, err error) { failures <- failure{instance, host} }
	})
	for secret, want := range map[string]string{"s3cret": `instance="ep/blue"`, "wrong": `instance=""`} {
		c := p.client(func(tr *http.Transport) { tr.Proxy = http.ProxyURL(p.url(url.UserPassword("i-1", secret))) })
		for _, target := range []string{"https://acct.blob.core.windows.net/x", "http://acct.blob.core.windows.net/x"} {
			status, body := get(t, c, target)
			if status != 200 || !strings.Contains(body, want) || !strings.Contains(body, `proxyauth=""`) {
				t.Errorf("%s %s: %d %s", secret, target, status, body)
			}
		}
	}
	distrustful := p.client(func(tr *http.Transport) {
		tr.Proxy = http.ProxyURL(p.url(url.UserPassword("i-1", "s3cret")))
		tr.TLSClientConfig = nil
	})
	if _, _, err := tryGet(distrustful, "https://acct.blob.core.windows.net/x"); err == nil {
		t.Fatal("the system trusts our root")
	}
	if got := <-failures; got != (failure{"ep/blue", "acct.blob.core.windows.net"}) {
		t.Errorf("handshake failure: %+v", got)
	}
}

func TestHTTPSProxy(t *testing.T) {
	p := startProxy(t, nil)
	c := p.client(func(tr *http.Transport) { tr.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: p.addr}) })
	if status, body := get(t, c, "https://management.azure.com/x"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

func TestBadProxyRequests(t *testing.T) {
	p := startProxy(t, nil)
	for request, want := range map[string]string{
		"CONNECT nothing HTTP/1.1\r\nHost: x\r\n\r\n":                                        "HTTP/1.1 400 ",
		"CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n":                                           "HTTP/1.1 400 ",
		"GET https://management.azure.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": "HTTP/1.1 400 ",
		"GET ftp://management.azure.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":   "HTTP/1.1 400 ",
		"\x00\x01\x02 garbage\r\n\r\n":                                                       "HTTP/1.1 400 ",
		"CONNECT closed.localhost:1 HTTP/1.1\r\nHost: x\r\n\r\n":                             "HTTP/1.1 502 ",
	} {
		if answer := p.raw(request); !strings.HasPrefix(answer, want) {
			t.Errorf("%q: %q", request, answer)
		}
	}
	if _, err := intercept.New(intercept.Deps{}); err == nil {
		t.Error("New accepts nothing")
	}
}
