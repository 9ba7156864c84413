package amlocal

import "syscall"

// ptrace takes hold of a process.
func ptrace(pid int) error { return syscall.PtraceAttach(pid) }
