package express

import (
	"net"
	"sync"
)

// Feed is a net.Listener that is given its connections: for a server that gets
// those another one has had first.
type Feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewFeed makes a feed.
func NewFeed() *Feed { return &Feed{conns: make(chan net.Conn), done: make(chan struct{})} }

// Push gives a connection to whoever accepts, and waits for that. After Close it
// is closed.
func (f *Feed) Push(c net.Conn) {
	select {
	case f.conns <- c:
	case <-f.done:
		_ = c.Close()
	}
}

// Accept waits for the next connection. Its error is net.ErrClosed.
func (f *Feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (f *Feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr is no address: requests carry their connection's own.
func (f *Feed) Addr() net.Addr { return &net.TCPAddr{} }
