package process

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// maxConns bounds what one instance may hold open at one of its sockets.
const maxConns = 256

// limited is a listener with a bounded number of connections; more wait.
type limited struct {
	net.Listener
	places chan struct{}
	done   chan struct{}
	once   sync.Once
}

func limit(ln net.Listener) net.Listener {
	return &limited{Listener: ln, places: make(chan struct{}, maxConns), done: make(chan struct{})}
}

// Accept waits for a place first.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close ends Accept.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite ends our half.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// ReadFrom lets the kernel copy where it can.
func (c *limitedConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// DialContext connects to an address as net.Dialer does, except that a sandboxed
// instance's Target is reached straight away, without the listener that stands
// for it on this machine. It is for transports that dial many Targets.
func (b *Backend) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	b.mu.Lock()
	i := b.targets[address]
	b.mu.Unlock()
	if i == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return i.box.DialContext(ctx, i.main)
}

// frontDialTimeout bounds how long a server inside may leave a connection
// waiting to be accepted.
const frontDialTimeout = 10 * time.Second

// front makes a sandboxed instance's scoring port reachable at an address of
// this machine, for whoever does not use DialContext.
type front struct {
	ln   net.Listener
	box  *sandbox.Process
	port int

	mu    sync.Mutex
	conns map[net.Conn]bool // nil once closed
	wg    sync.WaitGroup
}

func newFront(box *sandbox.Process, port int) (*front, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{ln: ln, box: box, port: port, conns: map[net.Conn]bool{}}
	f.wg.Go(f.serve)
	return f, nil
}

func (f *front) serve() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.splice(c) })
	}
}

// track says whether the connection may go on; close ends it otherwise.
func (f *front) track(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		_ = c.Close()
		return false
	}
	f.conns[c] = true
	return true
}

func (f *front) drop(c net.Conn) {
	_ = c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

func (f *front) splice(outside net.Conn) {
	if !f.track(outside) {
		return
	}
	defer f.drop(outside)
	ctx, cancel := context.WithTimeout(context.Background(), frontDialTimeout)
	defer cancel()
	inside, err := f.box.DialContext(ctx, f.port)
	if err != nil {
		if tcp, ok := outside.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as a refused connection would look soonest
		}
		return
	}
	if !f.track(inside) {
		return
	}
	defer f.drop(inside)
	var up sync.WaitGroup
	up.Go(func() { oneWay(inside, outside) })
	oneWay(outside, inside)
	up.Wait()
}

func oneWay(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func (f *front) close() {
	_ = f.ln.Close()
	f.mu.Lock()
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	f.wg.Wait()
}
