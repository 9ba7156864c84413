package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
)

var noDeadline time.Time

var (
	errDialsUs       = errors.New("the address is the emulator itself")
	errDialsMetadata = errors.New("the address is a cloud's metadata or host service, which the emulator never contacts")
)

// cloudHostAddresses answer from inside a cloud machine and hand out real
// credentials or settings: Azure's wire server, AWS's IPv6 metadata.
var cloudHostAddresses = []netip.Addr{
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("fd00:ec2::254"),
}

// dialer refuses, after name resolution, addresses no client may reach through
// us, whatever name or notation they came by.
func (s *Server) dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: dialTimeout,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("dial %q: %w", address, err)
			}
			ip := at.Addr().Unmap().WithZone("")
			if ip.IsLinkLocalUnicast() || slices.Contains(cloudHostAddresses, ip) {
				return errDialsMetadata
			}
			if s.isOurs(ip.String(), strconv.Itoa(int(at.Port()))) {
				return errDialsUs
			}
			return nil
		},
	}
}

// isOurs reports whether host:port is one of our listeners. Names other than
// our own are not resolved here; the dialer checks again.
func (s *Server) isOurs(host, port string) bool {
	number, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	s.mu.Lock()
	_, ours := s.ports[number]
	s.mu.Unlock()
	return ours && (s.isLocal(host) || isInterfaceAddress(host))
}

func isInterfaceAddress(host string) bool {
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	if ip.IsUnspecified() {
		return true // dialling it reaches this machine
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true // unknown: better refused than looped
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// upstream is Deps.Upstream, but for ourselves: the emulator may have been
// started in a shell that already points here.
func (s *Server) upstream(r *http.Request) (*url.URL, error) {
	if isLoopback(azure.CanonicalHost(r.URL.Host)) {
		return nil, nil
	}
	u, err := s.deps.Upstream(r)
	if err != nil || u == nil {
		return nil, err
	}
	if s.isOurs(azure.CanonicalHost(u.Host), proxyPort(u)) {
		return nil, nil
	}
	return u, nil
}

func proxyPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// dialPassed opens a connection to target, by the upstream proxy if there is
// one.
func (s *Server) dialPassed(ctx context.Context, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	proxy, err := s.upstream(&http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: target}})
	if err != nil {
		return nil, fmt.Errorf("upstream proxy: %w", err)
	}
	if proxy == nil {
		return s.dialer().DialContext(ctx, "tcp", target)
	}
	c, err := s.dialVia(ctx, proxy, target)
	if err != nil {
		return nil, fmt.Errorf("upstream proxy %s: %w", proxy.Host, err)
	}
	return c, nil
}

func (s *Server) dialVia(ctx context.Context, proxy *url.URL, target string) (net.Conn, error) {
	if proxy.Scheme != "http" && proxy.Scheme != "https" {
		return nil, fmt.Errorf("scheme %q is not supported", proxy.Scheme)
	}
	c, err := s.dialer().DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), proxyPort(proxy)))
	if err != nil {
		return nil, err
	}
	if proxy.Scheme == "https" {
		c = tls.Client(c, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(clock.System{}.Now()) })
	defer stop()
	request := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{},
	}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		request.Header.Set("Proxy-Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(proxy.User.Username()+":"+password)))
	}
	if err := request.Write(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	reader := bufio.NewReader(c)
	answer, err := http.ReadResponse(reader, request) //nolint:bodyclose // it is the connection, which is closed or handed on
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("answered %s", answer.Status), c.Close())
	}
	if !stop() {
		return nil, errors.Join(ctx.Err(), c.Close())
	}
	return &conn{Conn: c, head: reader}, nil
}
