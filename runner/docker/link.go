package docker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

const agentPort = relay.Port

const (
	// parkedConns are ready for instances' connections, so that these do not
	// wait for a handshake.
	parkedConns = 16
	linkTimeout = 10 * time.Second
)

// errLinkLost says that the agent went away.
var errLinkLost = errors.New("docker: the connection with the agent is lost")

// handlers are what a link does with what comes from instances.
type handlers struct {
	arrive func(net.Conn, relay.Arrival)
	dns    func(query []byte, self netip.Addr) []byte
}

// link is the emulator's session with the agent. It ends when the agent does.
type link struct {
	address string
	config  *tls.Config
	session string
	control *tls.Conn
	handlers
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	writing sync.Mutex

	mu   sync.Mutex
	seq  uint64
	acks map[uint64]chan relay.Ack
	open map[net.Conn]struct{}
}

// newLink dials the agent.
func newLink(ctx context.Context, address string, side relay.Side, h handlers) (*link, error) {
	config, err := side.TLS()
	if err != nil {
		return nil, err
	}
	l := &link{address: address, config: config, session: rand.Text(), handlers: h,
		acks: map[uint64]chan relay.Ack{}, open: map[net.Conn]struct{}{}}
	if l.control, err = l.connect(ctx, relay.Hello{Kind: relay.KindControl, Session: l.session}); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.listen)
	for range parkedConns {
		l.work.Go(l.park)
	}
	return l, nil
}

// connect opens a connection for one purpose.
func (l *link) connect(ctx context.Context, hello relay.Hello) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.address)
	if err != nil {
		return nil, fmt.Errorf("docker: agent: %w", err)
	}
	c := tls.Client(raw, l.config)
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("docker: agent: %w", err), raw.Close())
	}
	if err := relay.WriteMessage(c, hello); err != nil {
		return nil, errors.Join(fmt.Errorf("docker: agent: %w", err), raw.Close())
	}
	if !stop() {
		return nil, errors.Join(ctx.Err(), raw.Close())
	}
	return c, nil
}

// ended is closed when the session is over.
func (l *link) ended() <-chan struct{} { return l.ctx.Done() }

// close ends the session and everything that came by it.
func (l *link) close() {
	l.cancel()
	_ = l.control.Close()
	l.mu.Lock()
	for c := range l.open {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
}

// track makes close close c; false says it is too late.
func (l *link) track(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		_ = c.Close()
		return false
	}
	l.open[c] = struct{}{}
	return true
}

func (l *link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// listen reads the control connection until it breaks.
func (l *link) listen() {
	defer l.cancel()
	for {
		var m relay.Control
		if err := relay.ReadMessage(l.control, &m); err != nil {
			return
		}
		switch {
		case m.Ack != nil:
			l.mu.Lock()
			waiting := l.acks[m.Ack.Seq]
			delete(l.acks, m.Ack.Seq)
			l.mu.Unlock()
			if waiting != nil {
				waiting <- *m.Ack
			}
		case m.Query != nil:
			q := *m.Query
			l.work.Go(func() {
				if answer := l.dns(q.Message, q.Local.Addr()); answer != nil {
					_ = l.write(relay.Control{Reply: &relay.Reply{ID: q.ID, Message: answer}})
				}
			})
		}
	}
}

func (l *link) write(m relay.Control) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_ = l.control.SetWriteDeadline(clock.System{}.Now().Add(linkTimeout))
	return relay.WriteMessage(l.control, m)
}

// serve tells the agent which networks there are, and waits until it listens
// on them.
func (l *link) serve(ctx context.Context, networks []netip.Prefix) error {
	answer := make(chan relay.Ack, 1)
	l.mu.Lock()
	l.seq++
	seq := l.seq
	l.acks[seq] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.acks, seq)
	}()
	if err := l.write(relay.Control{Serve: &relay.Wanted{Seq: seq, Networks: networks}}); err != nil {
		l.cancel()
		return fmt.Errorf("%w: %w", errLinkLost, err)
	}
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	select {
	case ack := <-answer:
		if ack.Error != "" {
			return fmt.Errorf("docker: the agent cannot serve: %s", ack.Error)
		}
		return nil
	case <-l.ended():
		return errLinkLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// park keeps one connection waiting for an instance, and another one when that
// is taken.
func (l *link) park() {
	for l.ctx.Err() == nil {
		c, err := l.connect(l.ctx, relay.Hello{Kind: relay.KindPark, Session: l.session})
		if err != nil {
			select { // the control connection tells whether the agent is gone
			case <-l.ended():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if !l.track(c) {
			return
		}
		var who relay.Arrival
		if err = relay.ReadMessage(c, &who); err == nil {
			err = relay.WriteMessage(c, relay.Answer{})
		}
		l.forget(c)
		if err != nil {
			_ = c.Close()
			select { // the agent refused it or restarts
			case <-l.ended():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		l.arrive(&instanceConn{Conn: c, who: who}, who)
	}
}

// dial reaches an instance.
func (l *link) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	c, err := l.connect(ctx, relay.Hello{Kind: relay.KindDial, Session: l.session, Target: target})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.NetConn().SetDeadline(time.Unix(1, 0)) })
	var answer relay.Answer
	err = relay.ReadMessage(c, &answer)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = ctx.Err()
		}
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// instanceConn is an instance's connection as if it had come directly: with the
// addresses of its own two ends.
type instanceConn struct {
	net.Conn
	who relay.Arrival
}

// RemoteAddr is the instance's.
func (c *instanceConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.who.Source) }

// LocalAddr is the agent's on the instance's network.
func (c *instanceConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.who.Local) }

// CloseWrite ends our half.
func (c *instanceConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
