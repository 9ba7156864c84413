package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const metadataAddress = "169.254.169.254"

// raiseLoopback makes the namespace's only device work and gives it the metadata
// service's address as well.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return step("socket", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return step("loopback", err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return step("raise loopback", err)
	}
	for _, set := range []struct {
		request uint
		address string
	}{{unix.SIOCSIFADDR, metadataAddress}, {unix.SIOCSIFNETMASK, "255.255.255.255"}} {
		alias, err := unix.NewIfreq("lo:0")
		if err == nil {
			err = alias.SetInet4Addr(net.ParseIP(set.address).To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, set.request, alias)
		}
		if err != nil {
			return step("add "+metadataAddress+" to loopback", err)
		}
	}
	return nil
}

// bindSockets opens what Sockets names, in its order.
func (a *agent) bindSockets() error {
	var lc net.ListenConfig
	ctx := context.Background()
	names, err := lc.ListenPacket(ctx, "udp4", "127.0.0.1:53")
	if err != nil {
		return step("bind 127.0.0.1:53", err)
	}
	if err := a.keep(names.(*net.UDPConn)); err != nil {
		return err
	}
	for _, address := range []string{"127.0.0.1:53", "0.0.0.0:443", IdentityAddress, metadataAddress + ":80"} {
		ln, err := lc.Listen(ctx, "tcp4", address)
		if err != nil {
			return step("bind "+address, err)
		}
		if err := a.keep(ln.(*net.TCPListener)); err != nil {
			return err
		}
	}
	return nil
}

// keep holds a socket's descriptor for as long as the agent lives.
func (a *agent) keep(s interface {
	File() (*os.File, error)
	Close() error
}) error {
	f, err := s.File()
	if err != nil {
		return step("descriptor", err)
	}
	a.sockets = append(a.sockets, f)
	return s.Close()
}

// socketsFrom is bindSockets' other end.
func socketsFrom(fds []int) (s Sockets, err error) {
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "instance") //nolint:gosec // a descriptor
	}
	defer func() {
		for _, f := range files {
			_ = f.Close() // net made copies
		}
		if err != nil {
			s.Close()
		}
	}()
	if len(files) != 5 {
		return s, fmt.Errorf("the agent sent %d sockets, not 5", len(files))
	}
	if s.Names, err = net.FilePacketConn(files[0]); err != nil {
		return s, err
	}
	for i, ln := range []*net.Listener{&s.NamesStream, &s.TLS, &s.Identity, &s.Metadata} {
		if *ln, err = net.FileListener(files[i+1]); err != nil {
			return s, err
		}
	}
	return s, nil
}
