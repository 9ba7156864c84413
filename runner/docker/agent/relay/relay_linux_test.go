package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// testPorts are beyond those that need a right.
var testPorts = func() ports {
	base := uint16(20000 + os.Getpid()%4000*3) // two runs at once must not meet
	return ports{dns: base, tls: base + 1, identity: base + 2}
}()

// The machine's whole 127.0.0.0/8 is its own on Linux, so networks of it stand
// for container networks.
var (
	testNetwork = netip.MustParsePrefix("127.77.1.0/28")
	testControl = netip.MustParsePrefix("127.77.0.0/28")
)

type testAgent struct {
	t       *testing.T
	address string
	side    Side
	control *tls.Conn
}

// newAgent runs an agent and takes charge of it.
func newAgent(t *testing.T) *testAgent {
	t.Helper()
	side, own, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", Host(testControl, AgentHost).String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	settings := Settings{Side: own, Pool: netip.MustParsePrefix("127.77.0.0/16"), Control: testControl}
	go func() { done <- serve(ctx, ln, settings, testPorts, t.Logf) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	a := &testAgent{t: t, address: ln.Addr().String(), side: side}
	a.control = a.connect(Hello{Kind: KindControl, Session: "s"})
	a.serve(testNetwork)
	return a
}

func (a *testAgent) connect(hello Hello) *tls.Conn {
	a.t.Helper()
	config, err := a.side.TLS()
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := tls.Dial("tcp", a.address, config)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = c.Close() })
	if err := WriteMessage(c, hello); err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *testAgent) serve(networks ...netip.Prefix) {
	a.t.Helper()
	if err := WriteMessage(a.control, Control{Serve: &Wanted{Seq: 7, Networks: networks}}); err != nil {
		a.t.Fatal(err)
	}
	var m Control
	if err := ReadMessage(a.control, &m); err != nil || m.Ack == nil || m.Ack.Seq != 7 || m.Ack.Error != "" {
		a.t.Fatalf("%+v %v", m, err)
	}
}

// instance dials the agent as the n-th address of a network would.
func instance(t *testing.T, from netip.Addr, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: time.Minute}
	c, err := d.Dial("tcp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var agentTLS = netip.AddrPortFrom(Host(testNetwork, AgentHost), testPorts.tls)

func TestArrivalsSayWhoCame(t *testing.T) {
	a := newAgent(t)
	parked := a.connect(Hello{Kind: KindPark, Session: "s"})
	c := instance(t, Host(testNetwork, 5), agentTLS)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	who := arrival(t, parked)
	if who.Source.Addr() != Host(testNetwork, 5) || who.Local != agentTLS {
		t.Errorf("%+v", who)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(parked, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	// Each half ends on its own.
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(parked); err != nil || len(rest) != 0 {
		t.Fatalf("%q %v", rest, err)
	}
	if _, err := io.WriteString(parked, "bye"); err != nil {
		t.Fatal(err)
	}
	_ = parked.CloseWrite()
	if rest, err := io.ReadAll(c); err != nil || string(rest) != "bye" {
		t.Fatalf("%q %v", rest, err)
	}
}

func TestConnectionsWaitForTheNextEmulator(t *testing.T) {
	a := newAgent(t)
	before := a.connect(Hello{Kind: KindPark, Session: "s"})
	_, _ = a.control.Close(), before.Close()
	c := instance(t, Host(testNetwork, 5), agentTLS)
	next := a.connect(Hello{Kind: KindControl, Session: "next"})
	a.control = next
	a.serve(testNetwork)
	parked := a.connect(Hello{Kind: KindPark, Session: "next"})
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	_ = arrival(t, parked)
}

// arrival reads who came and says so.
func arrival(t *testing.T, parked net.Conn) (who Arrival) {
	t.Helper()
	_ = parked.SetReadDeadline(time.Now().Add(time.Minute))
	if err := ReadMessage(parked, &who); err != nil {
		t.Fatal(err)
	}
	if err := WriteMessage(parked, Answer{}); err != nil {
		t.Fatal(err)
	}
	return who
}

func TestStrangers(t *testing.T) {
	a := newAgent(t)
	closed := func(what string, c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: read %d, %v", what, n, err)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: it is left open", what)
		}
	}
	closed("a source of another network", instance(t, netip.MustParseAddr("127.77.9.9"), agentTLS))
	closed("the engine's machine", instance(t, Host(testNetwork, 1), agentTLS))
	closed("an instance at the emulator's port", instance(t, Host(testNetwork, 5), netip.MustParseAddrPort(a.address)))
	closed("a parked connection of another session", a.connect(Hello{Kind: KindPark, Session: "other"}))
	closed("an unknown purpose", a.connect(Hello{Kind: "shell"}))

	// A certificate of anyone else is refused, either way.
	other, _, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	for what, side := range map[string]Side{
		"a client of another key": {Certificate: other.Certificate, Key: other.Key, Peer: a.side.Peer},
		"an agent of another key": {Certificate: a.side.Certificate, Key: a.side.Key, Peer: other.Peer},
	} {
		config, err := side.TLS()
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", a.address, config)
		if err == nil { // TLS 1.3 clients learn of it with the first read
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestDialsInstancesOnly(t *testing.T) {
	a := newAgent(t)
	ln, err := net.Listen("tcp4", Host(testNetwork, 4).String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	target := ln.Addr().(*net.TCPAddr).AddrPort()
	c := a.connect(Hello{Kind: KindDial, Target: target})
	var answer Answer
	if err := ReadMessage(c, &answer); err != nil || answer.Error != "" {
		t.Fatal(answer, err)
	}
	_, _ = io.WriteString(c, "echo")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "echo" {
		t.Errorf("%q %v", got, err)
	}
	for _, to := range []string{"127.0.0.1:22", a.address, agentTLS.String(), "127.77.9.9:80", "[::1]:80"} {
		c := a.connect(Hello{Kind: KindDial, Target: netip.MustParseAddrPort(to)})
		var answer Answer
		if err := ReadMessage(c, &answer); err != nil || !strings.Contains(answer.Error, "is not an instance") {
			t.Errorf("%s: %+v %v", to, answer, err)
		}
	}
}

func TestOneSourceCannotTakeAll(t *testing.T) {
	var s slots
	one, two := netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.0.4")
	for range perSource {
		if !s.take(one) {
			t.Fatal("too early")
		}
	}
	if s.take(one) || !s.take(two) {
		t.Error("the limit is not the source's own")
	}
	s.give(one)
	if !s.take(one) {
		t.Error("a place given back is not free")
	}
}

func TestDatagrams(t *testing.T) {
	a := newAgent(t)
	from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(Host(testNetwork, 5), 0))
	c, err := net.DialUDP("udp4", from, net.UDPAddrFromAddrPort(netip.AddrPortFrom(Host(testNetwork, AgentHost), testPorts.dns)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	var m Control
	if err := ReadMessage(a.control, &m); err != nil || m.Query == nil || string(m.Query.Message) != "question" || m.Query.Source.Addr() != Host(testNetwork, 5) {
		t.Fatalf("%+v %v", m, err)
	}
	for _, id := range []uint64{m.Query.ID + 99, m.Query.ID, m.Query.ID} { // unknown and repeated ids do nothing
		if err := WriteMessage(a.control, Control{Reply: &Reply{ID: id, Message: fmt.Appendf(nil, "answer %d", id-m.Query.ID)}}); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := c.Read(got)
	if err != nil || string(got[:n]) != "answer 0" {
		t.Errorf("%q %v", got[:n], err)
	}
}

func TestNetworksComeAndGo(t *testing.T) {
	a := newAgent(t)
	other := netip.MustParsePrefix("127.77.2.0/28")
	a.serve(testNetwork, other)
	_ = instance(t, Host(other, 3), netip.AddrPortFrom(Host(other, AgentHost), testPorts.tls))
	a.serve(other)
	d := net.Dialer{Timeout: time.Second}
	if c, err := d.Dial("tcp4", agentTLS.String()); err == nil {
		_ = c.Close()
		t.Error("a network that went is still served")
	}
}

func FuzzReadMessage(f *testing.F) {
	var good bytes.Buffer
	if err := WriteMessage(&good, Control{Serve: &Wanted{Seq: 1, Networks: []netip.Prefix{testNetwork}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 4, 'n', 'u', 'l', 'l'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Control
		if err := ReadMessage(bytes.NewReader(raw), &m); err != nil {
			return
		}
		if m.Serve != nil {
			for _, n := range m.Serve.Networks {
				if n.IsValid() && n.Addr().Is4() && n.Bits() <= 29 {
					_ = Hosts(n)
					_ = isInstance(n, Host(n, FirstHost))
				}
			}
		}
	})
}

func FuzzParseSettings(f *testing.F) {
	_, own, err := NewPair()
	if err != nil {
		f.Fatal(err)
	}
	good, err := Settings{Side: own, Pool: testNetwork, Control: testControl}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"pool":"10.0.0.0/8","control":"fd00::/64"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseSettings(raw)
		if err != nil {
			return
		}
		_ = Host(s.Control, AgentHost)
		_, _ = s.Side.TLS()
	})
}
