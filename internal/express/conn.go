package express

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

// What a connection is doing. Who moves it from idle to ended closes it.
const (
	idle int32 = iota
	busy
	ended
)

// maxSpare is how many line ends between two requests are no error, as
// net/http has it.
const maxSpare = 4

// past is a deadline that ends a Read under way.
var past = time.Unix(1, 0)

// conn is a connection and its buffers.
type conn struct {
	server *Server
	net    net.Conn
	base   *http.Request // what all requests have in common
	cancel context.CancelFunc

	state atomic.Int32
	// ticks counts the server's ticks since the last request.
	ticks atomic.Int32

	// in holds what was read and not yet answered: from..to.
	in       []byte
	from, to int
	answer   *answer
	watch    watch
}

// serve is the connection's loop; rest is what Serve gives back.
func (c *conn) serve() (rest net.Conn) {
	c.in = make([]byte, 4<<10)
	c.watch.init(c)
	defer c.watch.timer.Stop()
	spare := 0 // of line ends behind a body, which some clients send
	for {
		for ; spare > 0 && c.from < c.to && (c.in[c.from] == '\r' || c.in[c.from] == '\n'); spare-- {
			c.from++
		}
		if c.from == c.to {
			c.from, c.to = 0, 0
			// Others go first, if any are ready: meanwhile the next request may
			// come, and a Read that finds it is cheaper than one that has to wait.
			runtime.Gosched()
			n, err := c.net.Read(c.in)
			c.to = n
			if n == 0 {
				if err != nil {
					return nil
				}
			}
			if n == 0 || spare > 0 {
				continue
			}
		}
		r, head, length := parse(c.base, c.in[c.from:c.to])
		if r == nil || !c.complete(head+length) {
			return c.handOver()
		}
		if !c.state.CompareAndSwap(idle, busy) {
			return nil
		}
		c.ticks.Store(0)
		var sent *body
		if r.Body = http.NoBody; length > 0 {
			sent = &body{rest: c.in[c.from+head : c.from+head+length]}
			r.Body = sent
		}
		c.from += head + length
		keep := c.handle(r)
		if sent != nil {
			_ = sent.Close() // its bytes are the next request's now
		}
		if spare = 0; r.Method == http.MethodPost {
			spare = maxSpare
		}
		c.ticks.Store(0)
		c.state.Store(idle)
		if !keep || c.server.closed.Load() {
			return nil
		}
	}
}

// complete makes the buffer hold a request of that size, if it arrives soon.
func (c *conn) complete(size int) bool {
	if c.to-c.from >= size {
		return true
	}
	if len(c.in)-c.from < size {
		into := c.in
		if len(into) < size {
			into = make([]byte, maxHead+maxBody)
		}
		c.to = copy(into, c.in[c.from:c.to])
		c.in, c.from = into, 0
	}
	_ = c.net.SetReadDeadline(clock.System{}.Now().Add(bodyPatience))
	defer func() { _ = c.net.SetReadDeadline(time.Time{}) }()
	for c.to-c.from < size {
		n, err := c.net.Read(c.in[c.to:])
		c.to += n
		if err != nil {
			break // net/http meets it again
		}
	}
	return c.to-c.from >= size
}

// handle answers a request, and says whether the connection can be used on.
func (c *conn) handle(r *http.Request) (keep bool) {
	w := newAnswer(c, c.answer)
	c.answer = w
	c.watch.begin()
	left, aborted := true, false
	func() {
		defer func() {
			v := recover()
			left = c.watch.end()
			if v == nil {
				return
			}
			aborted = true
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				c.server.logf("panic serving %s: %v\n%s", r.RemoteAddr, v, debug.Stack())
			}
		}()
		c.server.Handler.ServeHTTP(w, r)
	}()
	if aborted {
		w.abort()
		return false
	}
	return w.finish() == nil && !w.last && !left // who closed one way only still listens
}

// handOver leaves the connection to whoever serves it next.
func (c *conn) handOver() net.Conn {
	if !c.state.CompareAndSwap(idle, ended) {
		return nil
	}
	return &Rest{Conn: c.net, head: bytes.Clone(c.in[c.from:c.to])}
}

// Rest is a connection whose first bytes were read already.
type Rest struct {
	net.Conn
	head []byte
}

// Read gives what was read already first.
func (r *Rest) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite ends our half of the connection.
func (r *Rest) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// body is a request's body. A transport may still read it when its handler has
// returned, hence the lock.
type body struct {
	mu     sync.Mutex
	rest   []byte
	closed bool
}

// Read reads on. The end comes with the last bytes, as net/http has it.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n := copy(p, b.rest)
	if b.rest = b.rest[n:]; len(b.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Close drops what is unread.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest, b.closed = nil, true
	return nil
}

// Complete tells handlers that no Read of this body waits for the caller.
func (b *body) Complete() {}
