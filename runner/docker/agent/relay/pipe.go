package relay

import (
	"io"
	"net"
	"sync"
)

// Pipe copies both ways until both sides have said all, and closes both.
func Pipe(a, b net.Conn) {
	defer func() { _, _ = a.Close(), b.Close() }()
	oneWay := func(dst, src net.Conn) {
		if _, err := io.Copy(dst, src); err != nil {
			// The other direction is of no use to a broken peer.
			_, _ = a.Close(), b.Close()
			return
		}
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
			return
		}
		_ = dst.Close()
	}
	var back sync.WaitGroup
	back.Go(func() { oneWay(b, a) })
	oneWay(a, b)
	back.Wait()
}
