package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// network is one deployment's network with our listeners on it.
type network struct {
	prefix    netip.Prefix
	listeners []net.Listener
	datagrams *net.UDPConn
}

// serve opens and closes listeners until exactly the wanted networks are
// served.
func (a *Agent) serve(wanted []netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	keep := make(map[netip.Prefix]bool, len(wanted))
	for _, prefix := range wanted {
		keep[prefix] = true
	}
	for prefix, n := range a.networks {
		if !keep[prefix] {
			n.close()
			delete(a.networks, prefix)
		}
	}
	var failed error
	for prefix := range keep {
		if a.networks[prefix] != nil {
			continue
		}
		n, err := a.open(prefix)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		a.networks[prefix] = n
	}
	return failed
}

// open listens on the agent's address of one network.
func (a *Agent) open(prefix netip.Prefix) (_ *network, err error) {
	if !prefix.IsValid() || !prefix.Addr().Is4() || prefix.Bits() > 29 {
		return nil, fmt.Errorf("%s is not a network", prefix)
	}
	own := Host(prefix, AgentHost)
	n := &network{prefix: prefix}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	for _, port := range []uint16{a.ports.dns, a.ports.tls, a.ports.identity} {
		ln, err := net.Listen("tcp4", netip.AddrPortFrom(own, port).String())
		if err != nil {
			return nil, err
		}
		n.listeners = append(n.listeners, ln)
	}
	if n.datagrams, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, a.ports.dns))); err != nil {
		return nil, err
	}
	for _, ln := range n.listeners {
		go a.accept(n, ln)
	}
	go a.receive(n)
	return n, nil
}

func (n *network) close() {
	for _, ln := range n.listeners {
		_ = ln.Close()
	}
	if n.datagrams != nil {
		_ = n.datagrams.Close()
	}
}

func (a *Agent) shut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.networks {
		n.close()
	}
	if a.control != nil {
		_ = a.control.conn.Close()
	}
}

// accept hands each connection of an instance to the emulator.
func (a *Agent) accept(n *network, ln net.Listener) {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			time.Sleep(10 * time.Millisecond)
			continue
		}
		who := Arrival{Source: addrPort(c.RemoteAddr()), Local: addrPort(c.LocalAddr())}
		source := who.Source.Addr()
		// Routes added inside a container lead past the engine's rules to
		// our other addresses: the source tells.
		if !isInstance(n.prefix, source) || !a.slots.take(source) {
			_ = c.Close()
			continue
		}
		go func() {
			defer a.slots.give(source)
			emulator, err := a.take(who)
			if err != nil {
				a.logf("%s to %s: %v", who.Source, who.Local, err)
				_ = c.Close()
				return
			}
			Pipe(c, emulator)
		}()
	}
}

// receive passes DNS questions on; answers return on their own.
func (a *Agent) receive(n *network) {
	local := addrPort(n.datagrams.LocalAddr())
	buf := make([]byte, 4096)
	for {
		size, from, err := n.datagrams.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if err != nil || !isInstance(n.prefix, from.Addr()) {
			continue
		}
		c := a.inCharge()
		if c == nil {
			continue // resolvers ask again
		}
		message := append([]byte(nil), buf[:size]...)
		id := a.queries.add(func(answer []byte) { _, _ = n.datagrams.WriteToUDPAddrPort(answer, from) })
		go func() { // a slow emulator must not hold up the listener
			if c.write(Control{Query: &Query{ID: id, Source: from, Local: local, Message: message}}) != nil {
				_ = c.conn.Close()
			}
		}()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		at = a.AddrPort()
	case *net.UDPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// slots counts connections by source.
type slots struct {
	mu   sync.Mutex
	all  int
	each map[netip.Addr]int
}

func (s *slots) take(source netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= inAll || s.each[source] >= perSource {
		return false
	}
	if s.each == nil {
		s.each = map[netip.Addr]int{}
	}
	s.all++
	s.each[source]++
	return true
}

func (s *slots) give(source netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.each[source]--; s.each[source] == 0 {
		delete(s.each, source)
	}
}

// queries are DNS questions the emulator has not answered yet. The oldest ones
// give way: their asker has asked again by then.
type queries struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]func([]byte)
}

func (q *queries) add(answer func([]byte)) (id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		q.waiting = map[uint64]func([]byte){}
	}
	q.last++
	q.waiting[q.last] = answer
	delete(q.waiting, q.last-dnsInFlight)
	return q.last
}

func (q *queries) answer(r Reply) {
	q.mu.Lock()
	answer := q.waiting[r.ID]
	delete(q.waiting, r.ID)
	q.mu.Unlock()
	if answer != nil {
		answer(r.Message)
	}
}
