package amlocal

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holderOf names the process that listens on a loopback port, where the
// system tells (Linux, for processes we may look at); else "".
func holderOf(port int) string {
	inode := listeningInode(port)
	if inode == "" {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // no /proc: no links
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(link, "/")[2]
			name, err := os.ReadFile("/proc/" + pid + "/comm")
			if err != nil {
				return " by process " + pid
			}
			return fmt.Sprintf(" by %s (process %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return ""
}

// listeningInode finds the socket in /proc/net/tcp: state 0A is LISTEN.
func listeningInode(port int) string {
	want := ":" + strings.ToUpper(strconv.FormatInt(int64(0x10000|port), 16)[1:])
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(raw)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], want) {
				return f[9]
			}
		}
	}
	return ""
}
