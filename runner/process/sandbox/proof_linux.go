package sandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Taking a sandbox over takes three messages: the emulator's hello with a
// challenge, the agent's with one of its own and proof that it has the key, and
// the emulator's proof. The key itself is never sent.
type hello struct {
	Challenge []byte `json:"challenge,omitempty"`
	Proof     []byte `json:"proof,omitempty"`
}

const (
	maxHello      = 512
	challengeSize = 32
	proofTimeout  = 10 * time.Second
)

var errProof = errors.New("the other side does not prove to have the sandbox's key")

// proof binds who proves and both challenges: none can be sent back, or twice.
func proof(key, who string, ofEmulator, ofAgent []byte) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(who))
	h.Write([]byte{0})
	h.Write(ofEmulator)
	h.Write(ofAgent)
	return h.Sum(nil)
}

func challenge() []byte {
	raw := make([]byte, challengeSize)
	_, _ = rand.Read(raw) // never fails: crypto/rand
	return raw
}

func sendHello(c *net.UnixConn, h hello) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = c.Write(raw)
	return err
}

func receiveHello(c *net.UnixConn) (hello, error) {
	var buf [maxHello]byte
	n, err := c.Read(buf[:])
	if err != nil {
		return hello{}, err
	}
	return parseHello(buf[:n])
}

func parseHello(raw []byte) (h hello, err error) {
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, err
	}
	if len(h.Challenge) != 0 && len(h.Challenge) != challengeSize {
		return h, errProof
	}
	return h, nil
}

// proveAgent is the agent's side, after the emulator's first message.
func proveAgent(c *net.UnixConn, key string, first []byte) error {
	h, err := parseHello(first)
	if err != nil {
		return err
	}
	if key == "" || len(h.Challenge) == 0 {
		return errProof
	}
	late := time.AfterFunc(proofTimeout, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer late.Stop()
	own := challenge()
	if err := sendHello(c, hello{Challenge: own, Proof: proof(key, "agent", h.Challenge, own)}); err != nil {
		return err
	}
	answer, err := receiveHello(c)
	if err != nil {
		return err
	}
	if !hmac.Equal(answer.Proof, proof(key, "emulator", h.Challenge, own)) {
		return errProof
	}
	return nil
}

// proveEmulator is the emulator's side.
func proveEmulator(c *net.UnixConn, key string) error {
	own := challenge()
	if err := sendHello(c, hello{Challenge: own}); err != nil {
		return err
	}
	answer, err := receiveHello(c)
	if err != nil {
		return err
	}
	if key == "" || len(answer.Challenge) == 0 || !hmac.Equal(answer.Proof, proof(key, "agent", own, answer.Challenge)) {
		return errProof
	}
	return sendHello(c, hello{Proof: proof(key, "emulator", own, answer.Challenge)})
}

// peer is the process at the other end, which must be this user's.
func peer(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var who *unix.Ucred
	var getErr error
	err = raw.Control(func(fd uintptr) {
		who, getErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) //nolint:gosec // a descriptor
	})
	if err = errors.Join(err, getErr); err != nil {
		return 0, err
	}
	if int(who.Uid) != os.Geteuid() {
		return 0, errors.New("the other side is another user's process")
	}
	return int(who.Pid), nil
}
