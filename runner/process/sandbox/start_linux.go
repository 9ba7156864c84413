package sandbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long the agent may take on a busy machine. A program that does not call
// Main, and does something else instead, is found out by the probe.
const (
	setUpTimeout = 30 * time.Second
	probeTimeout = 30 * time.Second
)

// Process is a running sandbox. Its pid is the agent's.
type Process struct {
	Sockets Sockets

	cmd     *exec.Cmd // nil for one that was taken over
	pid     int
	pidfd   *os.File // of one that was taken over
	control *net.UnixConn
	copied  chan struct{} // closed when the output is
	output  *os.File
	wait    func() int

	mu  sync.Mutex
	dir *os.File // the instance's folder; nil once closed
}

// Start runs c in a sandbox. agent is a program that calls Main first; "" and
// "/proc/self/exe" are this one. mark is the agent's only variable, NAME=value.
// out receives the command's output. A command that cannot be run is an ErrExec,
// anything else an *Error. The sandbox ends with this process, unless it is told
// to Keep.
func Start(ctx context.Context, agent string, c Config, mark string, out io.Writer) (_ *Process, err error) {
	if agent == "" {
		agent = "/proc/self/exe"
	}
	if os.Getenv(agentEnv) != "" {
		return nil, errNoMain
	}
	c.SwitchUser = os.Geteuid() == 0
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(c.Folder, "root"), 0o700); err != nil {
		return nil, err
	}
	p := &Process{copied: make(chan struct{})}
	p.wait = sync.OnceValue(p.waitChild)
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			p.Close()
			if p.output != nil {
				_ = p.output.Close()
			}
		}
	}()
	config, configWriter, err := os.Pipe()
	if err != nil {
		return nil, &Error{Step: "pipe", Err: err}
	}
	theirs = append(theirs, config)
	control, err := p.controlPair()
	if err != nil {
		_ = configWriter.Close()
		return nil, &Error{Step: "control socket", Err: err}
	}
	theirs = append(theirs, control)
	read, written, err := outputPipe()
	if err != nil {
		_ = configWriter.Close()
		return nil, &Error{Step: "pipe", Err: err}
	}
	p.output = read[0]
	theirs = append(theirs, read[1], written)
	kept, err := os.OpenFile(filepath.Join(c.Folder, OutputFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		theirs = append(theirs, kept)
		p.dir, err = os.OpenFile(c.Folder, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, errors.Join(err, configWriter.Close())
	}
	p.cmd = exec.Command(agent)
	p.cmd.Args = []string{agentName}
	p.cmd.Env = []string{mark, agentEnv + "=1", "GOMAXPROCS=2", "GORACE=atexit_sleep_ms=0"}
	p.cmd.Dir = "/"
	p.cmd.Stdout, p.cmd.Stderr = written, written
	p.cmd.SysProcAttr = attributes()
	p.cmd.ExtraFiles = []*os.File{config, control, read[1], kept}
	if err := p.cmd.Start(); err != nil {
		_ = configWriter.Close()
		return nil, &Error{Step: "make namespaces", Err: bare(err), Hint: hint()}
	}
	p.pid = p.cmd.Process.Pid
	for _, f := range theirs {
		_ = f.Close()
	}
	theirs = nil
	go p.copyOutput(out)
	go func() { // an agent that ends before it has read all is seen below
		_, _ = configWriter.Write(raw)
		_ = configWriter.Close()
	}()
	timeout := setUpTimeout
	if c.Probe {
		timeout = probeTimeout
	}
	if _, err := p.await(ctx, timeout, 0); err != nil {
		_ = p.cmd.Process.Kill()
		p.Wait()
		return nil, err
	}
	return p, nil
}

// controlPair makes the control socket and answers the agent's end.
func (p *Process) controlPair() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control") //nolint:gosec // descriptors
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, err
	}
	p.control = conn.(*net.UnixConn)
	return theirs, nil
}

// outputPipe is where the command writes and two read: this process, and the
// agent when this process is gone.
func outputPipe() (read [2]*os.File, written *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return read, nil, err
	}
	written = os.NewFile(uintptr(fds[1]), "output") //nolint:gosec // a descriptor
	read[1] = os.NewFile(uintptr(fds[0]), "output") //nolint:gosec // a descriptor
	second, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_, _ = written.Close(), read[1].Close()
		return read, nil, err
	}
	read[0], err = pollable(second)
	if err != nil {
		_, _ = written.Close(), read[1].Close()
	}
	return read, written, err
}

// pollable is a descriptor on which a blocked read can be ended.
func pollable(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "output"), nil //nolint:gosec // a descriptor
}

func (p *Process) copyOutput(out io.Writer) {
	defer close(p.copied)
	_, _ = io.Copy(out, p.output)
}

// Keep lets the sandbox live on when this process dies, until another takes it
// over or Config.Abandoned has passed. It is called when what Adopt needs to
// know has been noted down.
func (p *Process) Keep() error {
	_, err := p.control.Write([]byte("keep"))
	return err
}

// PID is the agent's, and so the sandbox's, on the host.
func (p *Process) PID() int { return p.pid }

// Signal passes a signal on to the command's group; SIGKILL ends everything.
func (p *Process) Signal(s syscall.Signal) error {
	if p.cmd != nil {
		return p.cmd.Process.Signal(s)
	}
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return os.ErrProcessDone
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil { //nolint:gosec // a descriptor
		return os.ErrProcessDone
	}
	if errors.Is(sendErr, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return sendErr
}

// outputGrace is how long the output may go on when all processes are gone.
const outputGrace = 2 * time.Second

// Wait sees the sandbox out, with all its processes and output. It answers the
// command's exit code, with 128 and the signal for one that was killed.
func (p *Process) Wait() int {
	code := p.wait()
	select {
	case <-p.copied:
	case <-time.After(outputGrace):
	}
	_ = p.output.Close()
	<-p.copied
	return code
}

func (p *Process) waitChild() int {
	_ = p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// attributes are the namespaces and who is who in them.
func attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
			unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		// Root's agent stays root, to reach what only root can; the command
		// is mapped to a user who owns nothing.
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: InsideUser, HostID: SpareUser, Size: 1}}
		a.GidMappings = a.UidMappings
		a.GidMappingsEnableSetgroups = true
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: InsideUser, HostID: uid, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: InsideUser, HostID: gid, Size: 1}}
	a.Credential = &syscall.Credential{Uid: InsideUser, Gid: InsideUser, NoSetGroups: true}
	// A user other than root loses capabilities at exec unless they are ambient.
	a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_PTRACE,
		unix.CAP_SYS_RESOURCE, unix.CAP_KILL, unix.CAP_SETPCAP}
	return a
}

// await reads the agent's report, with its sockets and that many descriptors more.
func (p *Process) await(ctx context.Context, timeout time.Duration, more int) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, fds, err := receive(p.control)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &Error{Step: "hear from the agent", Err: err, Hint: hint()}
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		closeFDs(fds)
		return nil, &Error{Step: "understand the agent", Err: err}
	}
	switch {
	case r.Exec:
		return nil, fmt.Errorf("%w%s", ErrExec, strings.TrimPrefix(r.Error, ErrExec.Error()))
	case r.Error != "" && r.Errno != 0:
		return nil, &Error{Step: r.Step, Err: syscall.Errno(r.Errno), Hint: hint()} //nolint:gosec // an errno
	case r.Error != "":
		return nil, &Error{Step: r.Step, Err: errors.New(r.Error), Hint: hint()}
	}
	if len(fds) < more {
		closeFDs(fds)
		return nil, &Error{Step: "take the agent's sockets", Err: fmt.Errorf("it sent %d", len(fds))}
	}
	extra := fds[len(fds)-more:]
	if p.Sockets, err = socketsFrom(fds[:len(fds)-more]); err != nil {
		closeFDs(extra)
		return nil, &Error{Step: "take the agent's sockets", Err: err}
	}
	return extra, nil
}

// receive reads one message and the descriptors with it.
func receive(c *net.UnixConn) (text []byte, fds []int, err error) {
	buf, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(8*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	for _, m := range messages {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		fds = append(fds, got...)
	}
	if n == 0 {
		closeFDs(fds)
		return nil, nil, io.EOF
	}
	return buf[:n], fds, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// DialContext connects to a port inside.
func (p *Process) DialContext(ctx context.Context, port int) (net.Conn, error) {
	refuse := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, Err: err}
	}
	agent, err := p.agent()
	if err != nil {
		return nil, refuse(err)
	}
	defer agent.Close() //nolint:errcheck // the answer is read
	stop := context.AfterFunc(ctx, func() { _ = agent.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := agent.Write(binary.BigEndian.AppendUint16(nil, uint16(port))); err != nil { //nolint:gosec // a port
		return nil, refuse(cause(ctx, err))
	}
	text, fds, err := receive(agent)
	if err != nil {
		return nil, refuse(cause(ctx, err))
	}
	if len(fds) != 1 {
		closeFDs(fds)
		return nil, refuse(errors.New(string(text)))
	}
	f := os.NewFile(uintptr(fds[0]), "inside") //nolint:gosec // a descriptor
	defer f.Close()
	return net.FileConn(f)
}

func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// agent opens a connection to the agent's socket by way of its folder, whatever
// the length of the folder's path.
func (p *Process) agent() (*net.UnixConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == nil {
		return nil, net.ErrClosed
	}
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socketAddress(int(p.dir.Fd())), Net: "unixpacket"}) //nolint:gosec // a descriptor
}

// Close gives back what this process holds of the sandbox; it does not end it.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == nil {
		return
	}
	_ = p.dir.Close()
	p.dir = nil
	if p.control != nil {
		_ = p.control.Close()
	}
	p.Sockets.Close()
}
