package express

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// bodyPatience is how long a body may stay behind its head: clients send
	// them apart, in two packets.
	bodyPatience = 50 * time.Millisecond
	// watchAfter is when a request's caller begins to be watched.
	watchAfter = 100 * time.Millisecond
	// idleTicks is after how many ticks an idle connection is closed: 5 minutes.
	idleTicks = 10
	tick      = 30 * time.Second
)

// Server serves any number of connections. The zero value is ready.
type Server struct {
	// Handler answers the requests.
	Handler http.Handler
	// Logf receives panics of the handler; may be nil.
	Logf func(format string, args ...any)

	dates  dates
	closed atomic.Bool // set under mu

	mu     sync.Mutex
	conns  map[*conn]struct{}
	ticker *time.Timer // set while there are connections
	served sync.WaitGroup
}

// Serve answers the requests on c, which it is called with before anything was
// read, until c ends or a request is not ordinary. Then rest is c with all that
// was read of that request, for someone else to serve; nil says that c is
// closed. ctx is the base of the requests' contexts, state their TLS.
func (s *Server) Serve(ctx context.Context, c net.Conn, state *tls.ConnectionState) (rest net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	base := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: c.RemoteAddr().String(), TLS: state}
	own := &conn{server: s, net: c, base: base.WithContext(ctx), cancel: cancel}
	own.ticks.Store(idleTicks - 1) // who says nothing at all is not waited for that long
	if s.add(own) {
		rest = own.serve()
		s.remove(own)
	}
	if rest == nil {
		_ = c.Close()
	}
	return rest
}

// Close takes no more requests: idle connections are closed at once, those
// with a request when it is answered, or when ctx ends: then the contexts of
// the requests end too. It returns when all are gone.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed.Store(true)
	for c := range s.conns {
		if c.state.CompareAndSwap(idle, ended) {
			_ = c.net.Close()
		}
	}
	if s.ticker != nil {
		s.ticker.Stop()
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			c.cancel()
			_ = c.net.Close()
		}
	})
	defer stop()
	s.served.Wait()
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.served.Add(1)
	if s.ticker == nil {
		s.ticker = time.AfterFunc(tick, s.tick)
	}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.ticker != nil {
		s.ticker.Stop()
		s.ticker = nil
	}
	s.served.Done()
}

// tick closes connections that have been idle for long.
func (s *Server) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.ticks.Add(1) > idleTicks && c.state.CompareAndSwap(idle, ended) {
			_ = c.net.Close()
		}
	}
	if len(s.conns) > 0 && !s.closed.Load() && s.ticker != nil {
		s.ticker.Reset(tick)
	}
}

func (s *Server) logf(format string, args ...any) {
	if s.Logf != nil {
		s.Logf(format, args...)
	}
}
