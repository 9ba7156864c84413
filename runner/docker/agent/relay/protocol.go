package relay

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Ports the agent listens on: Port for the emulator, the others for instances.
const (
	Port         = 8900
	DNSPort      = 53
	TLSPort      = 443
	IdentityPort = 8911
)

// FirstHost is the offset of a network's first instance address: below it are
// the network's own address, the gateway's, and the agent's (AgentHost).
const (
	AgentHost = 2
	FirstHost = 3
)

// What a connection from the emulator is for.
const (
	KindControl = "control"
	KindPark    = "park"
	KindDial    = "dial"
)

// Hello is the first message on every connection.
type Hello struct {
	Kind string `json:"kind"`
	// Session ties parked connections to the control connection they belong
	// to.
	Session string `json:"session"`
	// Target is what to dial.
	Target netip.AddrPort `json:"target,omitzero"`
}

// Answer says whether a dial succeeded, and that an Arrival was read.
type Answer struct {
	Error string `json:"error,omitempty"`
}

// Arrival says who connected, from where and to which of the agent's
// addresses.
type Arrival struct {
	Source netip.AddrPort `json:"source"`
	Local  netip.AddrPort `json:"local"`
}

// Control is a message on the control connection; one field is set.
type Control struct {
	Serve *Wanted `json:"serve,omitempty"` // to the agent
	Ack   *Ack    `json:"ack,omitempty"`   // to the emulator
	Query *Query  `json:"query,omitempty"` // to the emulator
	Reply *Reply  `json:"reply,omitempty"` // to the agent
}

// Wanted is the whole list of networks to serve; it replaces the one before.
type Wanted struct {
	Seq      uint64         `json:"seq"`
	Networks []netip.Prefix `json:"networks"`
}

// Ack answers a Wanted.
type Ack struct {
	Seq   uint64 `json:"seq"`
	Error string `json:"error,omitempty"`
}

// Query is a DNS message that came as a datagram.
type Query struct {
	ID      uint64         `json:"id"`
	Source  netip.AddrPort `json:"source"`
	Local   netip.AddrPort `json:"local"`
	Message []byte         `json:"message"`
}

// Reply answers a Query.
type Reply struct {
	ID      uint64 `json:"id"`
	Message []byte `json:"message"`
}

// maxMessage bounds what a peer makes us buffer: 4,096 networks fit.
const maxMessage = 1 << 20

// WriteMessage writes one message, its length first, in a single Write.
func WriteMessage(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if len(body) > maxMessage {
		return errors.New("relay: message too long")
	}
	framed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(framed, body...))
	return err
}

// ReadMessage reads one message and not a byte more.
func ReadMessage(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxMessage {
		return errors.New("relay: message too long")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// Host is the n-th address of a network.
func Host(network netip.Prefix, n int) netip.Addr {
	raw := network.Masked().Addr().As4()
	binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])+uint32(n))
	return netip.AddrFrom4(raw)
}

// Hosts is how many addresses a network has for instances.
func Hosts(network netip.Prefix) int {
	return 1<<(32-network.Bits()) - FirstHost - 1 // the last is for broadcasts
}

// isInstance says whether an address of the network can be an instance's.
func isInstance(network netip.Prefix, addr netip.Addr) bool {
	return network.Contains(addr) && !addr.Less(Host(network, FirstHost))
}
