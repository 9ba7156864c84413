package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// keepIdle is how long an idle connection is kept, at most. Servers drop
	// idle connections on their own (gunicorn after 2 s), and a POST sent in
	// that moment cannot be repeated. Let go first.
	keepIdle = time.Second
	// maxHead bounds an answer's head.
	maxHead = 10 << 20
)

var errHeadTooLarge = errors.New("the head of the instance's answer is larger than 10 MiB")

// past is a deadline that ends what waits for a connection.
var past = time.Unix(1, 0)

// instanceConn is a connection to an instance. One request's goroutine has it
// at a time, from get to end.
type instanceConn struct {
	pool    *instancePool
	address string
	conn    net.Conn
	reader  *bufio.Reader
	// used says that it has carried a request before; old that a sweep of the
	// pool saw it idle.
	used, old bool
	// read counts the bytes of the running request's answer, headLeft how many
	// more its head may have; -1: it is over.
	read, headLeft int64
	// reusable is set once the answer is complete.
	reusable bool
	release  func() (clean bool)
}

// begin makes the end of ctx end the connection.
func (c *instanceConn) begin(ctx context.Context) {
	c.reusable = false
	c.release = context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(past) })
}

// end keeps the connection, or closes it.
func (c *instanceConn) end() {
	clean := c.release()
	if !clean || !c.reusable || c.reader.Buffered() > 0 {
		_ = c.conn.Close()
		return
	}
	c.used = true
	c.pool.put(c)
}

// Read is what the reader of answers reads from.
func (c *instanceConn) Read(p []byte) (int, error) {
	if c.headLeft == 0 {
		return 0, errHeadTooLarge
	}
	if c.headLeft > 0 && int64(len(p)) > c.headLeft {
		p = p[:c.headLeft]
	}
	n, err := c.conn.Read(p)
	c.read += int64(n)
	if c.headLeft > 0 {
		c.headLeft -= int64(n)
	}
	return n, err
}

// instancePool keeps idle connections by address.
type instancePool struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	keep time.Duration // keepIdle, but in tests

	mu     sync.Mutex
	idle   map[string][]*instanceConn // the last used last
	sweep  *time.Timer                // set while any is idle
	closed bool
}

func newInstancePool(dial func(ctx context.Context, network, address string) (net.Conn, error)) *instancePool {
	return &instancePool{dial: dial, keep: keepIdle, idle: map[string][]*instanceConn{}}
}

// get finds a connection that its instance has not closed, or makes one.
func (p *instancePool) get(ctx context.Context, address string) (*instanceConn, error) {
	for {
		c := p.take(address)
		if c == nil {
			break
		}
		if silent(c.conn) {
			return c, nil
		}
		_ = c.conn.Close()
	}
	conn, err := p.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &instanceConn{pool: p, address: address, conn: conn}
	c.reader = bufio.NewReaderSize(readerOnly{c}, 4<<10)
	return c, nil
}

// readerOnly hides all but Read.
type readerOnly struct{ io.Reader }

func (p *instancePool) take(address string) *instanceConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.idle[address]
	if len(kept) == 0 {
		return nil
	}
	c := kept[len(kept)-1]
	kept[len(kept)-1] = nil
	if p.idle[address] = kept[:len(kept)-1]; len(kept) == 1 {
		delete(p.idle, address)
	}
	return c
}

func (p *instancePool) put(c *instanceConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.conn.Close()
		return
	}
	c.old = false
	p.idle[c.address] = append(p.idle[c.address], c)
	if p.sweep == nil {
		p.sweep = time.AfterFunc(p.keep/2, p.clean)
	}
}

// clean closes what was idle at the sweep before, too.
func (p *instancePool) clean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, kept := range p.idle {
		stay := kept[:0]
		for _, c := range kept {
			if c.old {
				_ = c.conn.Close()
				continue
			}
			c.old = true
			stay = append(stay, c)
		}
		clear(kept[len(stay):])
		if p.idle[address] = stay; len(stay) == 0 {
			delete(p.idle, address)
		}
	}
	p.sweep = nil
	if len(p.idle) > 0 && !p.closed {
		p.sweep = time.AfterFunc(p.keep/2, p.clean)
	}
}

// close drops all idle connections and keeps no more.
func (p *instancePool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	for _, kept := range p.idle {
		for _, c := range kept {
			_ = c.conn.Close()
		}
	}
	clear(p.idle)
}
