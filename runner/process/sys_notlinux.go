//go:build unix && !linux

package process

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// startTime asks ps; its resolution is a second.
func startTime(pid int) (string, error) {
	cmd := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid))
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=/bin:/usr/bin"}
	raw, err := cmd.Output()
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", errors.New("process: no such process")
	}
	return text, nil
}

// reap waits for a child's end and ends its group. Without a portable waitid
// the child is reaped first.
func reap(cmd *exec.Cmd, _ string) error {
	err := cmd.Wait()
	_ = killGroup(cmd.Process.Pid, syscall.SIGKILL)
	return err
}

// killMarked needs other processes' environments, which only Linux shows.
func killMarked(string) {}
