//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detachProcess gives the child a session of its own, so that closing the
// terminal does not end it.
func detachProcess(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
