package docker

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

const dnsPatience = 10 * time.Second

// answerStream answers DNS questions that come by TCP.
func answerStream(c net.Conn, self netip.Addr, answer func([]byte, netip.Addr) []byte) {
	defer c.Close()
	for {
		_ = c.SetDeadline(clock.System{}.Now().Add(dnsPatience))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		message := answer(query, self)
		if message == nil || len(message) > 0xffff {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
			return
		}
	}
}
