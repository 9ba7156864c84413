package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/internal/express"
)

// maxDirect is the largest request body that goes the direct way: it is read
// into memory first, and every socket buffer takes it, so that an instance that
// answers without reading holds up nobody.
const maxDirect = 32 << 10

// direct passes a small, ordinary request on in the handler's own goroutine.
// net/http's transport hands each request from goroutine to goroutine four
// times, which costs more than all the rest of the front door. Whatever is not
// ordinary goes by httputil.ReverseProxy: bodies of unknown or large size,
// `Expect`, trailers, and headers about the connection.
//
// What differs for the instance: it sees a request when its body is complete.
type direct struct {
	pool    *instancePool
	buffers *bufferPool
}

// takes reports whether a request is ordinary.
func (d *direct) takes(r *http.Request, scheme string) bool {
	if !canPeek || scheme != "http" || r.ContentLength < 0 || r.ContentLength > maxDirect || len(r.TransferEncoding) > 0 ||
		r.Method == http.MethodConnect || len(r.Trailer) > 0 || !express.PlainHost(r.Host) {
		return false
	}
	for _, name := range []string{"Expect", "Te", "Trailer", "Upgrade"} {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	for _, value := range r.Header["Connection"] {
		if !strings.EqualFold(value, "keep-alive") && !strings.EqualFold(value, "close") {
			return false
		}
	}
	return true
}

// serve asks the instance and answers. An error is returned only while nothing
// is answered yet; an answer that breaks off panics with http.ErrAbortHandler.
func (d *direct) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	buffer := d.buffers.Get()
	defer d.buffers.Put(buffer)
	// The body lies behind the place of the head, which is written when the
	// body is complete.
	sent := buffer[bufferSize-maxDirect:][:r.ContentLength]
	if err := readBody(r.Body, sent); err != nil {
		return err
	}
	if callOf(ctx).router {
		u := *r.URL
		strip(&u)
		r = r.WithContext(ctx)
		r.URL = &u
	}
	head := appendHead(buffer[:0:bufferSize-maxDirect], r, len(sent))
	message := append(head, sent...) // in place behind the head, unless the head is huge

	c, resp, err := d.ask(ctx, r, message, len(sent) == 0) //nolint:bodyclose // it is passed on to its end, or its connection closed
	if err != nil {
		return err
	}
	defer c.end()
	body := resp.Body
	removeHopByHop(resp.Header)
	if err := modifyResponse(resp); err != nil {
		return err
	}
	header := w.Header()
	for name, values := range resp.Header {
		header[name] = append(header[name], values...)
	}
	announced := len(resp.Trailer)
	for name := range resp.Trailer {
		header.Add("Trailer", name)
	}
	w.WriteHeader(resp.StatusCode)
	if err := d.copy(w, resp, buffer); err != nil {
		panic(http.ErrAbortHandler)
	}
	c.reusable = !resp.Close && resp.Body == body // one that was replaced may be unread
	if len(resp.Trailer) > 0 {
		_ = http.NewResponseController(w).Flush() // or a length is calculated, and trailers need chunks
	}
	for name, values := range resp.Trailer {
		if len(resp.Trailer) != announced {
			name = http.TrailerPrefix + name
		}
		header[name] = append(header[name], values...)
	}
	return nil
}

// readBody fills p with a body of that size, and sees its end.
func readBody(r io.Reader, p []byte) error {
	if r == nil {
		return nil
	}
	n := 0
	for {
		var spare [1]byte
		into := p[n:]
		if len(into) == 0 {
			into = spare[:]
		}
		m, err := r.Read(into)
		if n += m; n > len(p) {
			return errors.New("the body is longer than its Content-Length")
		}
		switch {
		case errors.Is(err, io.EOF) && n == len(p):
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// appendHead writes the head the instance sees, by the rules of rewrite, as
// net/http would.
func appendHead(b []byte, r *http.Request, length int) []byte {
	c := callOf(r.Context())
	line := func(name, value string) {
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.URL.RequestURI()...)
	b = append(b, " HTTP/1.1\r\n"...)
	line("Host", r.Host)
	if length > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		line("Content-Length", strconv.Itoa(length))
	}
	for name, values := range r.Header {
		if ownHeader(name) {
			continue
		}
		for _, value := range values {
			if name != "User-Agent" || value != "" {
				line(name, value)
			}
		}
	}
	line(headerRequestID, c.requestID)
	if c.clientRequestID != "" {
		line(headerClientRequestID, c.clientRequestID)
	}
	return append(b, "\r\n"...)
}

// ownHeader names what the front door does not pass on as it came: what it
// speaks of with its callers, and what it says itself.
func ownHeader(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"Authorization", "Host", "Content-Length", headerRequestID, headerClientRequestID:
		return true
	}
	return false
}

// ask sends a request and reads the head of its answer. A kept connection may
// turn out to be closed: then a request of which nothing was sent is sent on
// another one, and so is one without effects that was not answered at all.
func (d *direct) ask(ctx context.Context, r *http.Request, message []byte, empty bool) (*instanceConn, *http.Response, error) {
	for {
		c, err := d.pool.get(ctx, callOf(ctx).target.Host)
		if err != nil {
			return nil, nil, err
		}
		kept := c.used
		c.begin(ctx)
		resp, sent, err := c.exchange(r, message)
		if err == nil {
			return c, resp, nil
		}
		answered := c.read > 0
		c.end()
		again := kept && !answered && (sent == 0 || empty && replayable(r))
		if !again || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// replayable is the transport's rule.
func replayable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

// exchange writes a request and reads the head of the answer to it, past
// informational ones.
func (c *instanceConn) exchange(r *http.Request, message []byte) (resp *http.Response, sent int, err error) {
	c.read, c.headLeft = 0, maxHead
	if sent, err = c.conn.Write(message); err != nil {
		return nil, sent, err
	}
	// Others go first, if any are ready: meanwhile the answer may come, and a
	// read that finds it is cheaper than one that has to wait.
	runtime.Gosched()
	for {
		resp, err := c.readResponse(r)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF) && c.read == 0:
			return nil, sent, io.EOF
		case err != nil:
			return nil, sent, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, sent, fmt.Errorf("the instance switched protocols unasked: %s", resp.Status)
		case resp.StatusCode >= http.StatusOK:
			c.headLeft = -1
			return resp, sent, nil
		}
	}
}

// copy passes the answer's body on, at once where its length is not known.
func (d *direct) copy(w http.ResponseWriter, resp *http.Response, buffer []byte) error {
	var flush func() error
	if contentType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); resp.ContentLength == -1 || strings.EqualFold(strings.TrimSpace(contentType), "text/event-stream") {
		flush = http.NewResponseController(w).Flush
		if err := flush(); err != nil {
			return err
		}
	}
	for {
		n, err := resp.Body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if flush != nil {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// hopByHop are the headers about a connection (RFC 9110, 7.6.1).
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// removeHopByHop removes them, and those that `Connection` names.
func removeHopByHop(h http.Header) {
	for _, value := range slices.Clone(h["Connection"]) {
		for name := range strings.SplitSeq(value, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}
