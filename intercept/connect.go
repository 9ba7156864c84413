package intercept

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/httpx"
)

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// connect answers CONNECT. A tunnel to a name we answer for ends here: there is
// no second dial, the client's TLS hello is the next thing read.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, instance string) {
	authority := r.URL.Host
	if authority == "" {
		authority = r.Host
	}
	host, port, err := net.SplitHostPort(authority)
	if err != nil || host == "" || port == "" {
		s.refuseTunnel(w, r, httpx.Errorf(http.StatusBadRequest, "InvalidTarget", "CONNECT needs host:port, got %q.", authority))
		return
	}
	host = azure.CanonicalHost(net.JoinHostPort(host, port))
	if host == metadataHost {
		s.endTunnel(w, r, host, instance)
		return
	}
	if s.isOurs(host, port) {
		s.refuseTunnel(w, r, errLoop(authority))
		return
	}
	verdict := Verdict{Kind: Passed}
	if !isLoopback(host) {
		_, verdict = s.deps.Route(host)
	}
	switch verdict.Kind {
	case Emulated, Refused:
		s.endTunnel(w, r, host, instance)
	case NoSuchHost:
		s.refuseTunnel(w, r, errNoSuchHost(verdict))
	default:
		if s.deps.Offline && !isLoopback(host) {
			s.refuseTunnel(w, r, errOffline(host))
			return
		}
		s.passTunnel(w, r, net.JoinHostPort(host, port))
	}
}

// endTunnel says yes and serves what the client sends next as host.
func (s *Server) endTunnel(w http.ResponseWriter, r *http.Request, host, instance string) {
	c, err := s.hijack(w, established)
	if err != nil {
		s.plane.Refuse(w, r, errNoHijack(err))
		return
	}
	c.host, c.instance = host, instance
	s.start(c)
}

// passTunnel connects the client with the network.
func (s *Server) passTunnel(w http.ResponseWriter, r *http.Request, target string) {
	remote, err := s.dialPassed(r.Context(), target)
	if err != nil {
		s.refuseTunnel(w, r, errUnreachable(target, err))
		return
	}
	c, err := s.hijack(w, established)
	if err != nil {
		_ = remote.Close()
		s.plane.Refuse(w, r, errNoHijack(err))
		return
	}
	s.splice(c, remote)
}

// splice copies both ways until both sides have said all.
func (s *Server) splice(client, remote net.Conn) {
	defer func() { _, _ = client.Close(), remote.Close() }()
	for _, c := range []net.Conn{client, remote} {
		if !s.track(c) {
			return
		}
		defer s.untrack(c)
	}
	oneWay := func(dst, src net.Conn) {
		if _, err := io.Copy(dst, src); err != nil {
			// The other direction is of no use to a broken peer.
			_, _ = dst.Close(), src.Close()
			return
		}
		_ = closeWrite(dst)
	}
	var upload sync.WaitGroup
	upload.Go(func() { oneWay(remote, client) })
	oneWay(client, remote)
	upload.Wait()
}

// hijack takes the connection over and writes greeting on it, if any.
func (s *Server) hijack(w http.ResponseWriter, greeting string) (*conn, error) {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(raw, greeting); err != nil {
		_ = raw.Close()
		return &conn{Conn: raw, head: buffered.Reader}, nil //nolint:nilerr // the client is gone; reading tells
	}
	return &conn{Conn: raw, head: buffered.Reader}, nil
}

// refuseTunnel answers a CONNECT with an error whose sentence is the reason
// phrase: the only part of such an answer that clients show.
func (s *Server) refuseTunnel(w http.ResponseWriter, r *http.Request, e *httpx.Error) {
	status := fmt.Sprintf("%d %s", e.Status, reasonPhrase(e.Message))
	body := e.Message + "\n"
	answer := fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, len(body), body)
	c, err := s.hijack(w, "")
	if err != nil { // HTTP/2: no reason phrases there
		s.plane.Refuse(w, r, e)
		return
	}
	defer func() { _ = c.Close() }()
	entry := &audit.Entry{
		RequestID: uuid.NewString(), Time: s.deps.Clock.Now(), Plane: s.plane.Name, Operation: "intercept.Connect",
		Method: r.Method, Host: r.Host, Instance: httpx.Instance(r.Context()), Status: e.Status, Code: e.Code, Cause: e.Message,
	}
	entry.Caller.Scheme = azure.Anonymous
	if cause := errors.Unwrap(e); cause != nil {
		entry.Cause = cause.Error()
	}
	s.deps.Audit.Close(entry) // before the client knows, who may ask why
	_, _ = io.WriteString(c, answer)
}

// reasonPhrase makes a sentence fit a status line.
func reasonPhrase(sentence string) string {
	const longest = 400
	if len(sentence) > longest {
		sentence = sentence[:longest]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, sentence)
}
