package intercept

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/express"
	"github.com/amlocal/amlocal/internal/httpx"
)

// VerdictKind is what happens to a host name.
type VerdictKind int

// The verdicts.
const (
	// Passed hosts belong to the network.
	Passed VerdictKind = iota
	// Emulated hosts are served by the handler beside the verdict.
	Emulated
	// NoSuchHost names could be ours, but nothing of that name exists here.
	NoSuchHost
	// Refused hosts are Azure's and not emulated: 501.
	Refused
)

// Verdict is the decision on one host name.
type Verdict struct {
	Kind VerdictKind
	// Reason is the sentence a client reads for NoSuchHost.
	Reason string
	// Service names what is refused; Quiet keeps it out of the audit log.
	Service string
	Quiet   bool
	// Express says that an Emulated host gets many small requests, so that
	// they are worth the express server (package express says what differs
	// for its handler).
	Express bool
}

// Deps are what the proxy needs.
type Deps struct {
	Authority *Authority
	Clock     clock.Clock
	Audit     *audit.Log
	// Route decides on a canonical host name (azure.CanonicalHost). The
	// handler is used with Emulated only.
	Route func(host string) (http.Handler, Verdict)
	// Local serves origin-form requests to the emulator's own address:
	// loopback, or one of LocalHosts (names without port).
	Local      http.Handler
	LocalHosts []string
	// IMDS serves 169.254.169.254; nil answers 404. The machine's own
	// metadata service is never reached.
	IMDS http.Handler
	// Instance finds the deployment instance whose secret a client sent as
	// proxy password; may be nil.
	Instance func(secret string) (name string, ok bool)
	// HandshakeFailed hears of TLS handshakes that clients broke off, most
	// often because they do not trust the authority. instance may be empty;
	// the function may be nil.
	HandshakeFailed func(instance, host string, err error)
	// Offline refuses Passed hosts, but for loopback ones.
	Offline bool
	// Upstream is the proxy by which Passed hosts are reached; nil asks the
	// process's own environment. Ourselves as upstream is ignored.
	Upstream func(*http.Request) (*url.URL, error)
	// ErrorLog receives the HTTP servers' complaints; nil: log's default.
	ErrorLog *log.Logger
}

// Limits on a client's patience with us and ours with it.
const (
	sniffTimeout      = 60 * time.Second
	handshakeTimeout  = 30 * time.Second
	readHeaderTimeout = 30 * time.Second
	idleTimeout       = 5 * time.Minute
	dialTimeout       = 30 * time.Second
)

// Server is the proxy. It serves any number of listeners.
type Server struct {
	deps      Deps
	plane     *httpx.Plane
	tlsConfig *tls.Config
	// transport carries absolute-form requests to passed hosts.
	transport *http.Transport
	// plain and secure are fed with sniffed connections.
	plain, secure         *http.Server
	plainFeed, secureFeed *express.Feed
	express               *express.Server
	// base is the base of its requests' contexts.
	base    context.Context
	running sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	ports     map[int]struct{}
	// conns are those no HTTP server closes for us: being sniffed, in a
	// handshake, or raw tunnels.
	conns map[net.Conn]struct{}
}

// New makes a proxy without listeners. Close must be called.
func New(deps Deps) (*Server, error) {
	if deps.Authority == nil || deps.Clock == nil || deps.Audit == nil || deps.Route == nil || deps.Local == nil {
		return nil, errors.New("intercept: Authority, Clock, Audit, Route and Local are required")
	}
	if deps.IMDS == nil {
		deps.IMDS = http.HandlerFunc(noMetadata)
	}
	if deps.Upstream == nil {
		deps.Upstream = http.ProxyFromEnvironment
	}
	s := &Server{
		deps:       deps,
		plane:      &httpx.Plane{Name: "intercept", Clock: deps.Clock, Audit: deps.Audit, Encode: encode},
		tlsConfig:  deps.Authority.serverConfig(),
		plainFeed:  express.NewFeed(),
		secureFeed: express.NewFeed(),
		listeners:  map[net.Listener]struct{}{},
		ports:      map[int]struct{}{},
		conns:      map[net.Conn]struct{}{},
	}
	s.transport = &http.Transport{
		Proxy:               s.upstream,
		DialContext:         s.dialer().DialContext,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
	}
	s.plain, s.secure = s.httpServer(), s.httpServer()
	s.express = &express.Server{Handler: s, Logf: s.logf}
	// httputil.ReverseProxy asks for the key to know that a server runs it.
	s.base = context.WithValue(context.Background(), http.ServerContextKey, s.secure)
	s.running.Go(func() { _ = s.plain.Serve(s.plainFeed) })
	s.running.Go(func() { _ = s.secure.Serve(s.secureFeed) })
	return s, nil
}

func (s *Server) logf(format string, args ...any) {
	if s.deps.ErrorLog == nil {
		log.Printf(format, args...)
		return
	}
	s.deps.ErrorLog.Printf(format, args...)
}

func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:           s,
		TLSConfig:         s.tlsConfig.Clone(), // makes Serve speak HTTP/2 on connections that negotiated it
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       withConn,
		ErrorLog:          s.deps.ErrorLog,
	}
}

// Serve accepts connections until ctx ends, Close is called or the listener
// fails. It closes the listener. The first two are not errors.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if !s.addListener(ln) {
		return errors.Join(http.ErrServerClosed, ln.Close())
	}
	s.noteOurPort(ln)
	defer s.dropListener(ln)
	return s.accept(ctx, ln, func(c net.Conn) { s.start(newConn(c)) })
}

func (s *Server) accept(ctx context.Context, ln net.Listener, take func(net.Conn)) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	pause := time.Duration(0)
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || s.isClosed() {
				return nil
			}
			var temporary interface{ Temporary() bool }
			if !errors.As(err, &temporary) || !temporary.Temporary() {
				return err
			}
			// Out of descriptors, most likely: let some connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		take(c)
	}
}

// Close stops accepting, cuts raw tunnels, lets running requests finish until
// ctx ends, and then cuts those too: their handlers see their context end. No
// other goroutine of the server is left when it returns.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()

	var wg sync.WaitGroup
	for _, server := range []*http.Server{s.plain, s.secure} {
		wg.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	wg.Go(func() { s.express.Close(ctx) })
	wg.Wait()
	_ = s.plainFeed.Close()
	_ = s.secureFeed.Close()
	s.running.Wait()
	s.transport.CloseIdleConnections()
	return nil
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

// noteOurPort keeps the proxy from dialling ln.
func (s *Server) noteOurPort(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
		s.ports[tcp.Port] = struct{}{}
	}
}

func (s *Server) dropListener(ln net.Listener) {
	_ = ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// track makes Close close c and wait for untrack; false says the server is
// closed already.
func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

// handOver leaves closing c to the HTTP server that is given it next.
func (s *Server) handOver(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) untrack(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.running.Done()
}
