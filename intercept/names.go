package intercept

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
)

// NameServer is the DNS server of an instance: names that lead to the emulator
// have its address there, every other name does not exist. It asks nobody.
type NameServer struct {
	// Known reports whether a canonical host name leads to us.
	Known func(host string) bool
	// Address is where the instance reaches us.
	Address netip.Addr
	// Unknown hears of names that do not exist; may be nil.
	Unknown func(host string)
}

const (
	// nameLife is short: an account made a moment ago must be found.
	nameLife = 5 // seconds
	// maxNameRequest is more than any client of ours asks.
	maxNameRequest  = 4096
	nameIdleTimeout = 10 * time.Second
	// maxNameConns bounds what one instance may hold open.
	maxNameConns = 32
)

// Known reports whether a name leads to the emulator: emulated hosts, and those
// it refuses by name, so that the refusal can be read.
func (s *Server) Known(host string) bool {
	_, verdict := s.deps.Route(azure.CanonicalHost(host))
	return verdict.Kind == Emulated || verdict.Kind == Refused
}

// ServePacket answers requests over UDP until ctx ends or pc fails. It closes
// pc; the end of ctx is no error.
func (n NameServer) ServePacket(ctx context.Context, pc net.PacketConn) error {
	defer pc.Close() //nolint:errcheck // read from no more
	stop := context.AfterFunc(ctx, func() { _ = pc.Close() })
	defer stop()
	buf := make([]byte, maxNameRequest)
	for {
		size, from, err := pc.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if answer := n.Answer(buf[:size]); answer != nil {
			_, _ = pc.WriteTo(answer, from)
		}
	}
}

// ServeStream answers requests over TCP until ctx ends or ln fails. It closes
// ln and its connections; the end of ctx is no error.
func (n NameServer) ServeStream(ctx context.Context, ln net.Listener) error {
	defer ln.Close() //nolint:errcheck // accepted from no more
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	places := make(chan struct{}, maxNameConns)
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		select {
		case places <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-places }()
			n.stream(ctx, c)
		})
	}
}

func (n NameServer) stream(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	for {
		_ = c.SetDeadline(clock.System{}.Now().Add(nameIdleTimeout))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		request := make([]byte, binary.BigEndian.Uint16(size[:]))
		if len(request) > maxNameRequest {
			return
		}
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		answer := n.Answer(request)
		if answer == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil { //nolint:gosec // one question, one address
			return
		}
	}
}

// Answer is the answer to one DNS message, nil where none is due.
func (n NameServer) Answer(request []byte) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(request)
	if err != nil || header.Response {
		return nil
	}
	out := dnsmessage.Header{ID: header.ID, Response: true, OpCode: header.OpCode, Authoritative: true,
		RecursionDesired: header.RecursionDesired, RecursionAvailable: true}
	question, err := p.Question()
	if err == nil {
		if _, more := p.Question(); !errors.Is(more, dnsmessage.ErrSectionDone) {
			err = errors.New("more than one question")
		}
	}
	switch {
	case header.OpCode != 0:
		out.RCode = dnsmessage.RCodeNotImplemented
	case err != nil:
		out.RCode = dnsmessage.RCodeFormatError
	}
	if out.RCode != dnsmessage.RCodeSuccess {
		return finishName(dnsmessage.NewBuilder(nil, out))
	}
	host := azure.CanonicalHost(question.Name.String())
	known := question.Class == dnsmessage.ClassINET && n.Known(host)
	if !known {
		out.RCode = dnsmessage.RCodeNameError
		if n.Unknown != nil {
			n.Unknown(host)
		}
	}
	b := dnsmessage.NewBuilder(nil, out)
	if b.StartQuestions() != nil || b.Question(question) != nil {
		return nil
	}
	// Any other type of a known name: it exists, and has none of those.
	if known && question.Type == dnsmessage.TypeA && n.Address.Is4() {
		resource := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: nameLife}
		if b.StartAnswers() != nil || b.AResource(resource, dnsmessage.AResource{A: n.Address.As4()}) != nil {
			return nil
		}
	}
	return finishName(b)
}

func finishName(b dnsmessage.Builder) []byte {
	answer, err := b.Finish()
	if err != nil {
		return nil
	}
	return answer
}
