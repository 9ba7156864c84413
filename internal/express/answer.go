package express

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/amlocal/amlocal/internal/clock"
)

// maxHeld is how much of an answer of unknown length is held back, to be sent
// with a Content-Length and in one piece.
const maxHeld = 16 << 10

var errShort = errors.New("the answer is shorter than its Content-Length")

// answer writes a request's answer. Its buffers are the connection's, used for
// one answer after the other.
type answer struct {
	net    net.Conn
	server *Server
	header http.Header

	// status, fields and what follows are fixed when the status is written.
	status int
	fields []byte // those that do not depend on the body
	// length is the declared one; -1: none is.
	length   int64
	sniff    bool // the type is to be told from the body
	bodiless bool
	last     bool // the connection ends with this answer
	trailers []string

	held     []byte // of the body, until the head is sent
	out      []byte // the piece being sent
	written  int64
	headSent bool
	chunked  bool
	broken   bool
}

// newAnswer makes an answer with the buffers of the one before, which may be nil
// and is not to be used any more.
func newAnswer(c *conn, before *answer) *answer {
	w := &answer{net: c.net, server: c.server, header: make(http.Header, 12), length: -1}
	if before != nil {
		w.fields, w.held, w.out = modest(before.fields), modest(before.held), modest(before.out)
		before.fields, before.held, before.out, before.broken = nil, nil, nil, true
	}
	return w
}

// modest keeps a buffer that has not grown out of all proportion.
func modest(b []byte) []byte {
	if cap(b) > 2*maxHeld {
		return nil
	}
	return b[:0]
}

// Header is the answer's.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader fixes status and header. Informational ones are not sent.
func (w *answer) WriteHeader(status int) {
	if w.status != 0 || status < http.StatusOK {
		return
	}
	w.status = status
	w.bodiless = status == http.StatusNoContent || status == http.StatusNotModified
	w.last = hasToken(w.header["Connection"], "close") || w.server.closed.Load()
	if value := w.header["Content-Length"]; len(value) == 1 {
		if n, err := strconv.ParseInt(value[0], 10, 64); err == nil && n >= 0 {
			w.length = n
		}
	}
	for _, value := range w.header["Trailer"] {
		for name := range strings.SplitSeq(value, ",") {
			w.trailers = append(w.trailers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	_, typed := w.header["Content-Type"]
	w.sniff = !typed && w.header["Content-Encoding"] == nil
	for name, values := range w.header {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection":
			continue
		}
		if !strings.HasPrefix(name, http.TrailerPrefix) && !slices.Contains(w.trailers, name) {
			w.fields = appendField(w.fields, name, values)
		}
	}
	if _, ok := w.header["Date"]; !ok {
		w.fields = append(w.fields, "Date: "...)
		w.fields = append(w.fields, w.server.dates.text()...)
		w.fields = append(w.fields, "\r\n"...)
	}
	if w.last {
		w.fields = append(w.fields, "Connection: close\r\n"...)
	}
}

// appendField writes a field. As with net/http, a name that is none is left out,
// and a value has no space around it.
func appendField(b []byte, name string, values []string) []byte {
	if !isToken(name) {
		return b
	}
	for _, value := range values {
		b = append(b, name...)
		b = append(b, ": "...)
		if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
			value = strings.NewReplacer("\n", " ", "\r", " ").Replace(value)
		}
		b = append(b, strings.Trim(value, " \t")...)
		b = append(b, "\r\n"...)
	}
	return b
}

// Write holds p back, or sends it.
func (w *answer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.broken:
		return 0, net.ErrClosed
	case len(p) == 0:
		return 0, nil
	case w.bodiless:
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength // and so is what follows
	}
	if !w.headSent {
		if w.held = append(w.held, p...); len(w.held) <= maxHeld {
			return len(p), nil
		}
		return len(p), w.FlushError()
	}
	if w.out = w.appendBody(w.out, p); len(w.out) > maxHeld {
		return len(p), w.send()
	}
	return len(p), nil
}

// appendBody appends a part of the body as it goes over the wire.
func (w *answer) appendBody(b, p []byte) []byte {
	if !w.chunked {
		return append(b, p...)
	}
	if len(p) == 0 {
		return b // would be the last chunk
	}
	b = strconv.AppendInt(b, int64(len(p)), 16)
	b = append(b, "\r\n"...)
	b = append(b, p...)
	return append(b, "\r\n"...)
}

// FlushError sends what is held back.
func (w *answer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.headSent {
		w.chunked = w.length < 0 && !w.bodiless
		w.appendHead()
	}
	return w.send()
}

// Flush is FlushError for http.Flusher.
func (w *answer) Flush() { _ = w.FlushError() }

// appendHead puts the head, and the body held back, in the piece to be sent.
func (w *answer) appendHead() {
	b := append(w.out, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	if text := http.StatusText(w.status); text != "" {
		b = append(b, text...)
	} else {
		b = append(b, "status code "...)
		b = strconv.AppendInt(b, int64(w.status), 10)
	}
	b = append(b, "\r\n"...)
	b = append(b, w.fields...)
	if w.sniff && len(w.held) > 0 {
		b = append(b, "Content-Type: "...)
		b = append(b, http.DetectContentType(w.held)...)
		b = append(b, "\r\n"...)
	}
	switch {
	case w.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case w.status == http.StatusNoContent || w.length < 0:
	default:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, w.length, 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	w.out, w.headSent = w.appendBody(b, w.held), true
	w.held = w.held[:0]
}

// send sends the piece.
func (w *answer) send() error {
	if w.broken {
		return net.ErrClosed
	}
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.net.Write(w.out)
	w.broken = err != nil
	w.out = w.out[:0]
	return err
}

// abort gives up an answer: what would have been on its way with net/http, which
// sends a head with the first 2 KiB, is sent.
func (w *answer) abort() {
	if w.status != 0 && (w.headSent || len(w.held) >= 2<<10) {
		_ = w.FlushError()
	}
	w.broken = true
}

// finish sends the rest of the answer.
func (w *answer) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	trailer := w.trailer()
	if !w.headSent {
		switch {
		case w.bodiless, w.length >= 0:
		case len(trailer) > 0:
			w.chunked = true
		default:
			w.length = w.written
		}
		w.appendHead()
	}
	if w.chunked {
		w.out = append(w.out, "0\r\n"...)
		w.out = append(w.out, trailer...)
		w.out = append(w.out, "\r\n"...)
	}
	if err := w.send(); err != nil {
		return err
	}
	if w.length >= 0 && w.written != w.length && !w.bodiless {
		return errShort
	}
	return nil
}

// trailer are the fields behind the body.
func (w *answer) trailer() (b []byte) {
	for _, name := range w.trailers {
		b = appendField(b, name, w.header[name])
	}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			b = appendField(b, name, values)
		}
	}
	return b
}

func hasToken(values []string, want string) bool {
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), want) {
				return true
			}
		}
	}
	return false
}

// dates keeps the Date of the running second: making one takes a microsecond.
type dates struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

func (d *dates) text() string {
	now := clock.System{}.Now()
	last := d.last.Load()
	if last == nil || last.second != now.Unix() {
		last = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		d.last.Store(last)
	}
	return last.text
}
