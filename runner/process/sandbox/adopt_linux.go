package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// adoptTimeout bounds how long an agent may take to hand itself over.
const adoptTimeout = 15 * time.Second

// Adopt takes over a sandbox whose emulator has died. folder, key and pid are its
// Config's and Process's. out gets what the command printed meanwhile and prints
// from now on. The agent that answers at the folder's socket must have that pid
// and the key; as it lives, the pid cannot have become another process's.
func Adopt(ctx context.Context, folder, key string, pid int, out io.Writer) (_ *Process, err error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	p := &Process{pid: pid, copied: make(chan struct{})}
	p.wait = sync.OnceValue(p.waitStranger)
	defer func() {
		if err != nil {
			p.Close()
			for _, f := range []*os.File{p.pidfd, p.output} {
				if f != nil {
					_ = f.Close()
				}
			}
		}
	}()
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, &Error{Step: "pidfd_open", Err: err}
	}
	p.pidfd = os.NewFile(uintptr(fd), "sandbox") //nolint:gosec // a descriptor
	if p.dir, err = os.OpenFile(folder, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return nil, err
	}
	if p.control, err = p.agent(); err != nil {
		return nil, &Error{Step: "reach the agent", Err: bare(err)}
	}
	stop := context.AfterFunc(ctx, func() { _ = p.control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	got, err := peer(p.control)
	if err == nil && got != pid {
		err = fmt.Errorf("process %d answers in the place of %d", got, pid)
	}
	if err == nil {
		err = proveEmulator(p.control, key)
	}
	if err != nil {
		return nil, &Error{Step: "recognise the agent", Err: cause(ctx, err)}
	}
	extra, err := p.await(ctx, adoptTimeout, 1)
	if err != nil {
		return nil, err
	}
	if p.output, err = pollable(extra[0]); err != nil {
		return nil, &Error{Step: "take the output over", Err: err}
	}
	if !stop() {
		return nil, &Error{Step: "take over in time", Err: ctx.Err()}
	}
	if err := copyKept(folder, out); err != nil {
		fmt.Fprintf(out, "amlocal: what was printed while no emulator was there cannot be read: %v\n", err)
	}
	go p.copyOutput(out)
	return p, nil
}

// copyKept moves on what the agent kept.
func copyKept(folder string, out io.Writer) error {
	f, err := os.OpenFile(filepath.Join(folder, OutputFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	if err == nil {
		err = f.Truncate(0)
	}
	return errors.Join(err, f.Close())
}

// waitStranger waits for a process that is not this one's child: the agent tells
// the code, the kernel that it is gone.
func (p *Process) waitStranger() int {
	code := 128 + int(unix.SIGKILL)
	for {
		text, fds, err := receive(p.control)
		if err != nil {
			break
		}
		closeFDs(fds)
		var last ended
		if json.Unmarshal(text, &last) == nil {
			code = last.Exit
		}
	}
	raw, err := p.pidfd.SyscallConn()
	if err == nil {
		_ = raw.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // a descriptor
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
	}
	_ = p.pidfd.Close()
	return code
}
