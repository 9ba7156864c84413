package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Probe makes a whole sandbox below dir, which must be on the file system where
// instances will have their folders, and ends it. nil: sandboxes work here.
func Probe(ctx context.Context, agent, dir string) error {
	folder, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // swept with the rest
	p, err := Start(ctx, agent, Config{Folder: folder, Probe: true}, "AMLOCAL_PROBE=1", io.Discard)
	if err != nil {
		return err
	}
	p.Close()
	p.Wait()
	return nil
}

// bare is the system's reason without the words around it.
func bare(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var missing *exec.Error
	if errors.As(err, &missing) {
		return missing.Err
	}
	return err
}

// hint names settings of this machine that forbid sandboxes.
func hint() string {
	var found []string
	for _, s := range []struct{ name, forbids string }{
		{"kernel.apparmor_restrict_unprivileged_userns", "1"},
		{"kernel.unprivileged_userns_clone", "0"},
		{"user.max_user_namespaces", "0"},
		{"user.max_net_namespaces", "0"},
		{"user.max_pid_namespaces", "0"},
		{"user.max_mnt_namespaces", "0"},
	} {
		raw, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
		if err == nil && strings.TrimSpace(string(raw)) == s.forbids {
			found = append(found, fmt.Sprintf("sysctl %s=%s", s.name, s.forbids))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return strings.Join(found, ", ") + " forbids it"
}
