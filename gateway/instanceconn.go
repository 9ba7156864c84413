package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/express"
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

// readResponse reads the head of an answer. Most are short, plain and of known
// length: they are read in place, and the rest by net/http.
func (c *instanceConn) readResponse(r *http.Request) (*http.Response, error) {
	if _, err := c.reader.Peek(1); err != nil { // waits
		if errors.Is(err, io.EOF) && c.read > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	p, _ := c.reader.Peek(c.reader.Buffered())
	resp, head := plainResponse(p)
	if resp == nil || r.Method == http.MethodHead {
		return http.ReadResponse(c.reader, r)
	}
	_, _ = c.reader.Discard(head)
	resp.Request = r
	resp.Body = http.NoBody
	if resp.ContentLength > 0 {
		resp.Body = &knownBody{r: c.reader, left: resp.ContentLength}
	}
	return resp, nil
}

// plainResponse reads a final answer whose head is all there and has a length,
// and nothing about connection or coding; nil is any other.
func plainResponse(p []byte) (resp *http.Response, head int) {
	const version = "HTTP/1.1 "
	head = bytes.Index(p, []byte("\r\n\r\n"))
	if head < 0 || !bytes.HasPrefix(p, []byte(version)) {
		return nil, 0
	}
	head += len("\r\n\r\n")
	line, fields, _ := strings.Cut(string(p[:head-2]), "\r\n")
	if strings.ContainsAny(line, "\r\n") {
		return nil, 0
	}
	code, _, _ := strings.Cut(line[len(version):], " ")
	status, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < http.StatusOK || status == http.StatusNoContent || status == http.StatusNotModified {
		return nil, 0
	}
	h, ok := express.Fields(fields)
	if !ok {
		return nil, 0
	}
	for _, name := range []string{"Transfer-Encoding", "Trailer", "Upgrade", "Pragma"} {
		if _, ok := h[name]; ok {
			return nil, 0
		}
	}
	for _, value := range h["Connection"] {
		if !strings.EqualFold(value, "keep-alive") {
			return nil, 0
		}
	}
	length := h["Content-Length"]
	if len(length) != 1 {
		return nil, 0
	}
	n, err := strconv.ParseUint(length[0], 10, 63)
	if err != nil {
		return nil, 0
	}
	return &http.Response{
		Status: line[len(version):], StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: int64(n), //nolint:gosec // it has 63 bits
	}, head
}

// knownBody is a body of known length.
type knownBody struct {
	r    io.Reader
	left int64
}

// Read reads on; the end comes with the last bytes.
func (b *knownBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	switch b.left -= int64(n); {
	case b.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// Close does nothing: what is unread ends the connection.
func (b *knownBody) Close() error { return nil }

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
