package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/amlocal/amlocal/internal/audit"
)

const (
	// maxMirror is the largest documented percentage.
	maxMirror = 50
	// maxCopy is the largest request body that is copied, maxCopies what all
	// copies may hold together. Both are ours: a copy lives in memory.
	maxCopy   = 4 << 20
	maxCopies = 64 << 20
)

// Codes of the audit entries of copies that were not sent.
const (
	codeCopyTooLarge   = "mirror_body_too_large"
	codeCopyNoMemory   = "mirror_over_budget"
	codeCopyIncomplete = "mirror_body_incomplete"
	codeCopyClosing    = "mirror_closing"
)

// opMirror names copies in the audit log. It is no row of the table: nobody
// can ask for it.
const opMirror = "gateway.Mirror"

// mirrorID is the audit log's id of a copy. The instance sees the caller's id,
// but to ask the log for that must find the caller's request.
func mirrorID(requestID string) string { return requestID + "-mirror" }

// mirrors sends copies of requests to the deployment that mirrors traffic. A
// copy starts when the caller's body has been read to its end, which the proxy
// does in passing: nothing waits for it.
type mirrors struct {
	s      *Service
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	held    int // bytes of bodies
	running sync.WaitGroup
}

func newMirrors(s *Service) *mirrors {
	m := &mirrors{s: s}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// close ends the running copies and lets none begin.
func (m *mirrors) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.running.Wait()
}

// reserve asks for memory; n is negative to give it back.
func (m *mirrors) reserve(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > 0 && m.held+n > maxCopies {
		return false
	}
	m.held += n
	return true
}

// begin runs f unless Close was called.
func (m *mirrors) begin(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.running.Go(f)
	}
	return !m.closed
}

// target draws whether a request that live answers is copied, and where to. A
// call that names its deployment is not.
func (m *mirrors) target(r *http.Request, e Endpoint, live Deployment) (Deployment, bool) {
	if strings.TrimSpace(r.Header.Get(headerDeployment)) != "" {
		return Deployment{}, false
	}
	for name, percent := range e.Mirror {
		for _, d := range e.Deployments {
			if percent > 0 && strings.EqualFold(name, d.Name) && d.Name != live.Name {
				return d, m.s.deps.Pick(100) < min(percent, maxMirror)
			}
		}
	}
	return Deployment{}, false
}

// watch arranges for a copy of r, if the draw says so, by listening to its
// body. The function it returns is to be called when r is answered.
func (m *mirrors) watch(r *http.Request, live Deployment) (answered func()) {
	c := callOf(r.Context())
	to, ok := m.target(r, c.endpoint, live)
	if !ok {
		return func() {}
	}
	cp := &mirrorCopy{m: m, to: to, endpoint: c.endpoint.Name, request: r.Clone(context.Background()), entry: &audit.Entry{
		RequestID: mirrorID(c.requestID), Time: m.s.deps.Clock.Now(), Plane: "scoring", Operation: opMirror,
		Method: r.Method, Host: r.Host, Path: r.URL.Path, Caller: c.entry.Caller, Instance: c.endpoint.Name + "/" + to.Name,
	}, requestID: c.requestID}
	cp.request.Header.Del("Expect") // the caller's affair: the body is here
	cp.request.Body = http.NoBody
	switch {
	case r.ContentLength > maxCopy:
		cp.drop(http.StatusRequestEntityTooLarge, codeCopyTooLarge, fmt.Errorf("the body has %d bytes, at most %d are mirrored", r.ContentLength, maxCopy))
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		cp.send(nil)
	default:
		tee := &teeBody{ReadCloser: r.Body, cp: cp, want: r.ContentLength}
		r.Body = tee
		return tee.answered
	}
	return func() {}
}

// mirrorCopy is one copy.
type mirrorCopy struct {
	m         *mirrors
	to        Deployment
	endpoint  string
	request   *http.Request
	requestID string
	entry     *audit.Entry
}

// drop records that the copy was not sent, and why.
func (cp *mirrorCopy) drop(status int, code string, cause error) {
	cp.entry.Status, cp.entry.Code, cp.entry.Cause = status, code, "not mirrored: "+cause.Error()
	cp.file()
}

func (cp *mirrorCopy) file() {
	cp.entry.Duration = cp.m.s.deps.Clock.Now().Sub(cp.entry.Time)
	cp.m.s.deps.Audit.Close(cp.entry)
}

// send starts the copy and does not wait for it.
func (cp *mirrorCopy) send(body []byte) {
	started := cp.m.begin(func() {
		defer cp.m.reserve(-cap(body))
		cp.run(body)
	})
	if !started {
		cp.m.reserve(-cap(body))
		cp.drop(http.StatusServiceUnavailable, codeCopyClosing, errors.New("the emulator is stopping"))
	}
}

// run makes the request as score would, for nobody.
func (cp *mirrorCopy) run(body []byte) {
	defer cp.file()
	err := cp.ask(body)
	switch {
	case err == nil:
		return
	case cp.m.ctx.Err() != nil:
		cp.entry.Status, cp.entry.Code = http.StatusServiceUnavailable, codeCopyClosing
	default:
		e := failureOf(err)
		cp.entry.Status, cp.entry.Code = e.Status, e.Code
	}
	cp.entry.Cause = err.Error()
}

func (cp *mirrorCopy) ask(body []byte) (err error) {
	s := cp.m.s
	ctx, cancel := context.WithTimeout(cp.m.ctx, cp.to.timeout())
	defer cancel()
	target, leave, err := s.admission.enter(ctx, cp.to, mirrored)
	if err != nil {
		return err
	}
	defer leave()
	c := &call{endpoint: Endpoint{Name: cp.endpoint}, entry: cp.entry, requestID: cp.requestID, clientRequestID: sanitizeClientRequestID(cp.request.Header.Get(headerClientRequestID))}
	if c.target, err = url.Parse(target.URL); err != nil {
		return fmt.Errorf("instance %s: %w", target.Instance, err)
	}
	// The proxy panics over an answer that breaks off, if it thinks that a
	// server runs it; otherwise it would only log.
	defer func() {
		if v := recover(); v != nil {
			if e, ok := v.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panic(v)
			}
			if err = context.Cause(ctx); err == nil {
				err = errors.New("the answer broke off")
			}
		}
	}()
	r := cp.request.WithContext(withCall(context.WithValue(ctx, http.ServerContextKey, &http.Server{}), c))
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	} else {
		r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil
	}
	s.proxy.ServeHTTP(&discard{header: http.Header{}, entry: cp.entry}, r)
	return c.err
}

// discard takes an answer nobody reads, but for its status.
type discard struct {
	header http.Header
	entry  *audit.Entry
}

// Header is thrown away.
func (d *discard) Header() http.Header { return d.header }

// Write takes everything.
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader notes the status for the audit log.
func (d *discard) WriteHeader(status int) {
	if status >= http.StatusOK {
		d.entry.Status = status
	}
}

// teeBody keeps what is read from a caller's body and sends the copy at its
// end. The transport may read in another goroutine than the handler's.
type teeBody struct {
	io.ReadCloser
	cp   *mirrorCopy
	want int64 // -1: unknown

	mu   sync.Mutex
	kept []byte
	done bool // sent, or given up
}

// Read reads on.
func (t *teeBody) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return n, err
	}
	if n > 0 && !t.keepLocked(p[:n]) {
		return n, err
	}
	if errors.Is(err, io.EOF) || int64(len(t.kept)) == t.want {
		body := t.kept
		t.done, t.kept = true, nil
		t.cp.send(body)
	}
	return n, err
}

// keepLocked reports whether the copy is still to be made.
func (t *teeBody) keepLocked(p []byte) bool {
	need := len(t.kept) + len(p)
	if need > maxCopy {
		t.giveUpLocked(http.StatusRequestEntityTooLarge, codeCopyTooLarge, fmt.Errorf("the body has more than %d bytes", maxCopy))
		return false
	}
	if need > cap(t.kept) {
		size := max(2*cap(t.kept), need, 4<<10)
		if t.want > 0 {
			size = max(int(t.want), need) // watch looked at its length
		}
		size = min(size, maxCopy)
		if !t.cp.m.reserve(size) {
			t.giveUpLocked(http.StatusTooManyRequests, codeCopyNoMemory, fmt.Errorf("the mirrored requests under way hold %d bytes", maxCopies))
			return false
		}
		grown := make([]byte, len(t.kept), size)
		copy(grown, t.kept)
		t.cp.m.reserve(-cap(t.kept))
		t.kept = grown
	}
	t.kept = append(t.kept, p...)
	return true
}

func (t *teeBody) giveUpLocked(status int, code string, cause error) {
	t.cp.m.reserve(-cap(t.kept))
	t.done, t.kept = true, nil
	t.cp.drop(status, code, cause)
}

// answered gives the copy up if the body was not read to its end until now.
func (t *teeBody) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.giveUpLocked(http.StatusBadRequest, codeCopyIncomplete, errors.New("the caller's request was answered, or broke off, before its body was read to its end"))
	}
}
