package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// startTime names when a process started: boot, and clock ticks since.
func startTime(pid int) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the command in parentheses and may hold anything.
	end := bytes.LastIndexByte(raw, ')')
	if end < 0 {
		return "", errors.New("process: stat is not understood")
	}
	fields := strings.Fields(string(raw[end+1:]))
	if len(fields) < 20 {
		return "", errors.New("process: stat is not understood")
	}
	if fields[0] == "Z" || fields[0] == "X" { // ended, only not yet reaped
		return "", os.ErrProcessDone
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], nil
}

// reap waits for a child's end and ends its descendants. Between the two the
// child is not reaped, so the group's number cannot have become another's.
func reap(cmd *exec.Cmd, mark string) error {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = killGroup(cmd.Process.Pid, unix.SIGKILL)
	killMarked(mark)
	return cmd.Wait()
}

// killMarked ends processes that carry the instance's mark in their
// environment, such as a daemon that left the group.
func killMarked(folder string) {
	mark := []byte(markEnv + "=" + folder)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		raw, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil {
			continue
		}
		for _, kv := range bytes.Split(raw, []byte{0}) {
			if bytes.Equal(kv, mark) {
				_ = unix.Kill(pid, unix.SIGKILL)
				break
			}
		}
	}
}
