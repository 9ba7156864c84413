package intercept_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/intercept"
)

// dialDirect is a client whose names all lead to the direct listener.
func dialDirect(t *testing.T, p *proxy) (*http.Client, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.ServeDirect(ctx, ln, "ep/blue") }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeDirect: %v", err)
		}
	})
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool(t, p.authority)},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, ln.Addr().String())
		},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, ln.Addr().String()
}

func TestDirectConnections(t *testing.T) {
	p := startProxy(t, nil)
	client, addr := dialDirect(t, p)
	status, body := get(t, client, "https://acct.blob.core.windows.net/box/x")
	if status != 200 || !strings.Contains(body, `instance="ep/blue"`) || !strings.Contains(body, "proto=2") {
		t.Errorf("an emulated host: %d %s", status, body)
	}
	if status, body := get(t, client, "https://nobody.blob.core.windows.net/"); status != 502 || !strings.Contains(body, "create it with") {
		t.Errorf("a missing account: %d %s", status, body)
	}
	if status, body := get(t, client, "https://fancy.azure.com/"); status != 501 || !strings.Contains(body, "Fancy Service") {
		t.Errorf("a refused host: %d %s", status, body)
	}
	// Neither the emulator itself nor a way out is there.
	if status, body := get(t, client, "https://localhost/_amlocal/status"); status != 421 || strings.Contains(body, "local /") {
		t.Errorf("localhost: %d %s", status, body)
	}
	request, _ := http.NewRequest(http.MethodGet, "https://acct.blob.core.windows.net/", nil)
	request.Host = "management.azure.com"
	if resp, err := client.Do(request); err != nil {
		t.Error(err)
	} else if _ = resp.Body.Close(); resp.StatusCode != 421 {
		t.Errorf("another host in one connection: %s", resp.Status)
	}
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool(t, p.authority), ServerName: "acct.blob.core.windows.net"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 405" {
		t.Errorf("CONNECT: %q %v", answer, err)
	}
}

func TestDirectSpeaksOnlyTLS(t *testing.T) {
	p := startProxy(t, nil)
	_, addr := dialDirect(t, p)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /_amlocal/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if raw, err := io.ReadAll(c); len(raw) != 0 {
		t.Errorf("plain HTTP was answered: %q %v", raw, err)
	}
}

func TestDirectHandshakeFailureNamesTheInstance(t *testing.T) {
	heard := make(chan string, 1)
	p := startProxy(t, func(d *intercept.Deps) {
		d.HandshakeFailed = func(instance, host string, _ error) { heard <- instance + " " + host }
	})
	_, addr := dialDirect(t, p)
	if c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "acct.blob.core.windows.net"}); err == nil {
		_ = c.Close()
		t.Fatal("a client without our authority trusted us")
	}
	if got := <-heard; got != "ep/blue acct.blob.core.windows.net" {
		t.Errorf("heard %q", got)
	}
}

func TestDirectAfterClose(t *testing.T) {
	p := startProxy(t, nil)
	get(t, p.client(nil), "https://acct.blob.core.windows.net/") // it serves
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { p.ServeDirectConn(there, "ep/blue") })
	wg.Wait()
	if _, err := here.Read(make([]byte, 1)); err == nil {
		t.Error("a closed server kept a connection")
	}
}
