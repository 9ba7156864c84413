package docker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// forward makes an instance's scoring port reachable on loopback, for whoever
// speaks to it by URL.
type forward struct {
	ln   net.Listener
	dial func(ctx context.Context) (net.Conn, error)
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

func newForward(dial func(ctx context.Context) (net.Conn, error)) (*forward, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("docker: no port: %w", err)
	}
	f := &forward{ln: ln, dial: dial, open: map[net.Conn]struct{}{}}
	f.work.Go(f.accept)
	return f, nil
}

func (f *forward) url() string { return "http://" + f.ln.Addr().String() }

func (f *forward) accept() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			f.mu.Lock()
			closed := f.closed
			f.mu.Unlock()
			if closed {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		if !f.track(c) {
			return
		}
		f.work.Go(func() {
			defer f.forget(c)
			ctx, cancel := context.WithTimeout(context.Background(), linkTimeout)
			defer cancel()
			to, err := f.dial(ctx)
			if err != nil || !f.track(to) {
				reset(c)
				return
			}
			defer f.forget(to)
			relay.Pipe(c, to)
		})
	}
}

// reset ends a connection so that the other end sees a failure, not an empty
// answer.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (f *forward) track(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		_ = c.Close()
		return false
	}
	f.open[c] = struct{}{}
	return true
}

func (f *forward) forget(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

// close cuts what is still open.
func (f *forward) close() {
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		_ = c.Close()
	}
	f.mu.Unlock()
	_ = f.ln.Close()
	f.work.Wait()
}
