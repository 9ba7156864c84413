package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

// Limits of the agent, whose memory all deployments share. A connection costs
// two buffers of 32 KiB.
const (
	perSource        = 128
	inAll            = 1024
	dnsInFlight      = 256
	maxParked        = 64
	handshakeTimeout = 10 * time.Second
	// patience is how long a new connection waits for an emulator that is
	// being restarted.
	patience    = 10 * time.Second
	dialTimeout = 5 * time.Second
	// announceTimeout bounds how long a parked connection may keep silent.
	announceTimeout = 5 * time.Second
)

// SettingsDir is where the emulator puts SettingsFile before the agent starts.
const (
	SettingsDir  = "/key"
	SettingsFile = "settings.json"
)

// Agent is the relay inside the agent container.
type Agent struct {
	settings Settings
	tls      *tls.Config
	logf     func(format string, args ...any)
	ports    ports
	slots    slots
	parked   chan parked
	queries  queries

	mu       sync.Mutex
	control  *control
	networks map[netip.Prefix]*network
}

// parked is a connection waiting for an arrival.
type parked struct {
	conn    net.Conn
	session string
}

// control is the connection of the emulator that is in charge.
type control struct {
	conn    net.Conn
	session string
	mu      sync.Mutex // orders writes
}

func (c *control) write(m Control) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.SetWriteDeadline(clock.System{}.Now().Add(handshakeTimeout))
	return WriteMessage(c.conn, m)
}

// Run serves until ctx ends or the emulator's port cannot be served. dir holds
// SettingsFile.
func Run(ctx context.Context, dir string, logf func(format string, args ...any)) error {
	raw, err := os.ReadFile(filepath.Join(dir, SettingsFile))
	if err != nil {
		return fmt.Errorf("relay: settings: %w", err)
	}
	settings, err := ParseSettings(raw)
	if err != nil {
		return err
	}
	// Bound to its own address: a wildcard would answer every instance.
	at := netip.AddrPortFrom(Host(settings.Control, AgentHost), Port)
	ln, err := net.Listen("tcp4", at.String())
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return Serve(ctx, ln, settings, logf)
}

// Serve is Run on a listener; it closes it.
func Serve(ctx context.Context, ln net.Listener, settings Settings, logf func(format string, args ...any)) error {
	return serve(ctx, ln, settings, ports{DNSPort, TLSPort, IdentityPort}, logf)
}

// ports are those for instances; only tests have others.
type ports struct{ dns, tls, identity uint16 }

func serve(ctx context.Context, ln net.Listener, settings Settings, at ports, logf func(format string, args ...any)) error {
	config, err := settings.Side.TLS()
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	a := &Agent{
		settings: settings, tls: config, ports: at, logf: logf,
		parked: make(chan parked, maxParked), networks: map[netip.Prefix]*network{},
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer a.shut()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("relay: %w", err)
		}
		if !a.mayControl(c.RemoteAddr()) {
			_ = c.Close()
			continue
		}
		go a.welcome(tls.Server(c, a.tls))
	}
}

// mayControl refuses instances. Only the pool is looked at: what an engine's
// port forwarder uses as source differs.
func (a *Agent) mayControl(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return true
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return !a.settings.Pool.Contains(ip) || a.settings.Control.Contains(ip)
}

// welcome reads what a connection of the emulator is for.
func (a *Agent) welcome(c *tls.Conn) {
	_ = c.SetDeadline(clock.System{}.Now().Add(handshakeTimeout))
	var hello Hello
	if err := ReadMessage(c, &hello); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	switch hello.Kind {
	case KindControl:
		a.obey(&control{conn: c, session: hello.Session})
	case KindPark:
		a.park(parked{c, hello.Session})
	case KindDial:
		a.dial(c, hello.Target)
	default:
		_ = c.Close()
	}
}

// obey makes a control connection the one in charge, until it ends.
func (a *Agent) obey(c *control) {
	a.mu.Lock()
	before := a.control
	a.control = c
	a.mu.Unlock()
	if before != nil {
		_ = before.conn.Close()
	}
	defer func() {
		_ = c.conn.Close()
		a.mu.Lock()
		if a.control == c {
			a.control = nil
		}
		a.mu.Unlock()
	}()
	for {
		var m Control
		if err := ReadMessage(c.conn, &m); err != nil {
			return
		}
		switch {
		case m.Serve != nil:
			ack := Ack{Seq: m.Serve.Seq}
			if err := a.serve(m.Serve.Networks); err != nil {
				ack.Error = err.Error()
			}
			if c.write(Control{Ack: &ack}) != nil {
				return
			}
		case m.Reply != nil:
			a.queries.answer(*m.Reply)
		}
	}
}

// inCharge is the present emulator's control connection, or nil.
func (a *Agent) inCharge() *control {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.control
}

func (a *Agent) park(p parked) {
	if c := a.inCharge(); c == nil || c.session != p.session {
		_ = p.conn.Close()
		return
	}
	select {
	case a.parked <- p:
	default:
		_ = p.conn.Close()
	}
}

// take finds a parked connection of the emulator in charge and announces who
// came. It waits for one while the emulator is being restarted.
func (a *Agent) take(who Arrival) (net.Conn, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case p := <-a.parked:
			c := a.inCharge()
			if c == nil || c.session != p.session || announce(p.conn, who) != nil {
				_ = p.conn.Close() // of an emulator that has gone
				continue
			}
			return p.conn, nil
		case <-deadline.C:
			return nil, errors.New("no emulator")
		}
	}
}

// announce says who came and waits until the emulator knows: a connection to one
// that was killed a moment ago still takes what is written to it.
func announce(c net.Conn, who Arrival) error {
	_ = c.SetDeadline(clock.System{}.Now().Add(announceTimeout))
	if err := WriteMessage(c, who); err != nil {
		return err
	}
	var answer Answer
	if err := ReadMessage(c, &answer); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// dial connects the emulator with an instance, and with nothing else.
func (a *Agent) dial(c net.Conn, target netip.AddrPort) {
	refuse := func(format string, args ...any) {
		_ = WriteMessage(c, Answer{Error: fmt.Sprintf(format, args...)})
		_ = c.Close()
	}
	if !a.reaches(target.Addr()) {
		refuse("%s is not an instance", target)
		return
	}
	to, err := net.DialTimeout("tcp4", target.String(), dialTimeout)
	if err != nil {
		refuse("%v", err)
		return
	}
	if err := WriteMessage(c, Answer{}); err != nil {
		_, _ = c.Close(), to.Close()
		return
	}
	Pipe(c, to)
}

// reaches says whether addr can be an instance's on a network served.
func (a *Agent) reaches(addr netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for prefix := range a.networks {
		if isInstance(prefix, addr) {
			return true
		}
	}
	return false
}
