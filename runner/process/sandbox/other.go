//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
)

var errLinuxOnly = &Error{Step: "make namespaces", Err: errors.New("this needs Linux")}

// Process is a running sandbox; there is none outside Linux.
type Process struct{ Sockets Sockets }

// Main returns at once.
func Main() {}

// Start refuses.
func Start(context.Context, string, Config, string, io.Writer) (*Process, error) {
	return nil, errLinuxOnly
}

// Adopt refuses.
func Adopt(context.Context, string, string, int, io.Writer) (*Process, error) {
	return nil, errLinuxOnly
}

// Keep refuses.
func (*Process) Keep() error { return errLinuxOnly }

// PID is none.
func (*Process) PID() int { return 0 }

// Signal refuses.
func (*Process) Signal(syscall.Signal) error { return errLinuxOnly }

// Wait returns at once.
func (*Process) Wait() int { return 0 }

// Probe refuses.
func Probe(context.Context, string, string) error { return errLinuxOnly }

// DialContext refuses.
func (*Process) DialContext(context.Context, int) (net.Conn, error) { return nil, errLinuxOnly }

// Close has nothing to give back.
func (*Process) Close() {}
