package main

import (
	"os/exec"
	"syscall"
)

// detachProcess keeps the child out of this console's process group.
func detachProcess(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
