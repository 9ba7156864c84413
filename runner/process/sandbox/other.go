//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
)

var errLinuxOnly = &Error{Step: "make namespaces", Err: errors.New("this needs Linux")}

// Process is a running sandbox; there is none outside Linux.
type Process struct {
	Cmd     *exec.Cmd
	Sockets Sockets
}

// Main returns at once.
func Main() {}

// Start refuses.
func Start(context.Context, string, Config, string, io.Writer) (*Process, error) {
	return nil, errLinuxOnly
}

// Probe refuses.
func Probe(context.Context, string, string) error { return errLinuxOnly }

// DialContext refuses.
func (*Process) DialContext(context.Context, int) (net.Conn, error) { return nil, errLinuxOnly }

// Close has nothing to give back.
func (*Process) Close() {}
