//go:build unix

package gateway

import (
	"errors"
	"net"
	"syscall"
)

// canPeek says that silent works here.
const canPeek = true

// silent reports whether an idle connection is open and has nothing to read:
// its instance has not closed it. It does not wait.
func silent(c net.Conn) bool {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		open = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && open
}
