//go:build unix

package process_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// syscallZero asks whether a process is there.
const syscallZero = syscall.Signal(0)

// gone says that a process has ended; one that nobody has reaped counts.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(raw), ") Z ")
}
