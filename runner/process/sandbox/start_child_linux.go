package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxProcesses bounds processes and threads of one instance.
const maxProcesses = 4096

// start runs the command without any right. This thread drops what would pass
// to it: the bounding set, ambient capabilities, and the right to gain others.
func (a *agent) start() error {
	last := lastCapability()
	for c := range last + 1 {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil { //nolint:gosec // small
			return step("drop capability "+strconv.Itoa(c), err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return step("drop ambient capabilities", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return step("prctl PR_SET_NO_NEW_PRIVS", err)
	}
	attr := &syscall.ProcAttr{
		Dir: a.config.Dir, Env: a.config.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true},
	}
	if a.config.SwitchUser {
		attr.Sys.Credential = &syscall.Credential{Uid: InsideUser, Gid: InsideUser, Groups: []uint32{}}
	}
	var err error
	if a.child, err = syscall.ForkExec(a.config.Argv[0], a.config.Argv, attr); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrExec, a.config.Argv[0], err)
	}
	return a.limit()
}

// lastCapability is the kernel's highest.
func lastCapability() int {
	raw, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		if n, err := strconv.Atoi(string(raw[:max(0, len(raw)-1)])); err == nil {
			return n
		}
	}
	return unix.CAP_LAST_CAP
}

// limit bounds the command, and has the kernel end it before anything of the
// user's when memory runs out.
func (a *agent) limit() error {
	limits := map[int]uint64{unix.RLIMIT_NPROC: maxProcesses, unix.RLIMIT_CORE: 0}
	if a.config.MemoryMiB > 0 {
		limits[unix.RLIMIT_DATA] = uint64(a.config.MemoryMiB) << 20
	}
	for resource, most := range limits {
		var now unix.Rlimit
		if err := unix.Prlimit(a.child, resource, nil, &now); err != nil {
			return step("prlimit", err)
		}
		most = min(most, now.Max)
		if err := unix.Prlimit(a.child, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			return step("prlimit", err)
		}
	}
	// Not all kernels let us; the limits above hold either way.
	_ = os.WriteFile("/proc/"+strconv.Itoa(a.child)+"/oom_score_adj", []byte("500"), 0)
	return nil
}
