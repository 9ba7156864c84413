package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/express"
)

// conn is a client's connection with what we know about it.
type conn struct {
	net.Conn
	// head holds bytes read ahead.
	head *bufio.Reader
	// host is the name a CONNECT asked for; empty outside tunnels.
	host string
	// instance is the deployment instance that proved to be the client.
	instance string
	// sni is the name the client's TLS hello asked.
	sni string
	// direct says that an instance dialled a name, not a proxy.
	direct bool
	// state is the TLS's, where the express server had the connection first:
	// net/http does not see it then.
	state *tls.ConnectionState
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, head: bufio.NewReaderSize(c, 1024)}
}

// Read gives what was read ahead first.
func (c *conn) Read(p []byte) (int, error) {
	if c.head.Buffered() > 0 {
		return c.head.Read(p)
	}
	return c.Conn.Read(p)
}

// WriteTo and ReadFrom let io.Copy reach the socket below, and the kernel do
// the copying.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	head, _ := c.head.Peek(c.head.Buffered())
	n, err := w.Write(head)
	if err != nil {
		return int64(n), err
	}
	_, _ = c.head.Discard(n)
	m, err := io.Copy(w, c.Conn)
	return int64(n) + m, err
}

// ReadFrom copies r to the connection.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// CloseWrite ends our half of the connection.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// start looks at a connection's first byte and hands it to the server that
// speaks its protocol.
func (s *Server) start(c *conn) {
	if !s.track(c) {
		_ = c.Close()
		return
	}
	go func() {
		defer s.untrack(c)
		s.sniff(c)
	}()
}

const tlsHandshakeRecord = 0x16

func (s *Server) sniff(c *conn) {
	_ = c.SetReadDeadline(clock.System{}.Now().Add(sniffTimeout))
	first, err := c.head.Peek(1)
	if err != nil {
		_ = c.Close()
		return
	}
	if first[0] != tlsHandshakeRecord {
		if c.direct { // nothing but TLS is spoken on port 443
			_ = c.Close()
			return
		}
		_ = c.SetReadDeadline(noDeadline)
		s.handOver(c)
		s.plainFeed.Push(c)
		return
	}
	_ = c.SetDeadline(clock.System{}.Now().Add(handshakeTimeout))
	secured := tls.Server(c, s.tlsConfig)
	if err := secured.Handshake(); err != nil {
		_ = c.Close()
		if s.deps.HandshakeFailed != nil && !s.isClosed() {
			host := c.sni
			if host == "" {
				host = c.host
			}
			s.deps.HandshakeFailed(c.instance, azure.CanonicalHost(host), err)
		}
		return
	}
	_ = c.SetDeadline(noDeadline)
	s.handOver(c)
	if !s.isExpress(c, secured) {
		s.secureFeed.Push(secured)
		return
	}
	state := secured.ConnectionState()
	c.state = &state
	if rest := s.express.Serve(withConn(s.base, secured), secured, c.state); rest != nil {
		s.secureFeed.Push(rest)
	}
}

// isExpress reports whether a connection is for a host whose requests the
// express server takes.
func (s *Server) isExpress(c *conn, secured *tls.Conn) bool {
	if secured.ConnectionState().NegotiatedProtocol == "h2" {
		return false
	}
	host := c.sni
	if host == "" {
		host = c.host
	}
	host = azure.CanonicalHost(host)
	if host == "" || host == metadataHost || s.isLocal(host) {
		return false
	}
	_, verdict := s.deps.Route(host)
	return verdict.Kind == Emulated && verdict.Express
}

// nameWithoutSNI is the name a client without SNI must mean: the host it asked
// a tunnel to, or the address it dialled.
func nameWithoutSNI(c net.Conn) string {
	if ours, ok := c.(*conn); ok && ours.host != "" {
		return ours.host
	}
	if tcp, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return ""
}

type connKey struct{}

// withConn is the HTTP servers' ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if rest, ok := c.(*express.Rest); ok {
		c = rest.Conn
	}
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) *conn {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return &conn{}
	}
	return c
}
