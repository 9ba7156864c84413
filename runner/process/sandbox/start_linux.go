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
	probeTimeout = 10 * time.Second
)

// Process is a running sandbox. Cmd is the agent: its pid is the sandbox's, its
// exit code the command's, with 128 and the signal for one that was killed.
// Waiting for it is the caller's part.
type Process struct {
	Cmd     *exec.Cmd
	Sockets Sockets

	control *net.UnixConn
	mu      sync.Mutex
	dir     *os.File // the instance's folder; nil once closed
}

// Start runs c in a sandbox. agent is a program that calls Main first; "" and
// "/proc/self/exe" are this one. mark is the agent's only variable, NAME=value.
// out receives the command's output. A command that cannot be run is an ErrExec,
// anything else an *Error.
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
	p := &Process{Cmd: exec.Command(agent)}
	p.Cmd.Args = []string{agentName}
	p.Cmd.Env = []string{mark, agentEnv + "=1", "GOMAXPROCS=2", "GORACE=atexit_sleep_ms=0"}
	p.Cmd.Dir = "/"
	p.Cmd.Stdout, p.Cmd.Stderr = out, out
	p.Cmd.WaitDelay = 2 * time.Second
	p.Cmd.SysProcAttr = attributes()

	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{Step: "socketpair", Err: err}
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control") //nolint:gosec // descriptors
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		return nil, &Error{Step: "control socket", Err: err}
	}
	p.control = conn.(*net.UnixConn)
	reader, writer, err := os.Pipe()
	if err != nil {
		_ = conn.Close()
		return nil, &Error{Step: "pipe", Err: err}
	}
	p.Cmd.ExtraFiles = []*os.File{reader, theirs}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.dir, err = os.OpenFile(c.Folder, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return nil, errors.Join(err, reader.Close(), writer.Close())
	}
	if err := p.Cmd.Start(); err != nil {
		_, _ = reader.Close(), writer.Close()
		return nil, &Error{Step: "make namespaces", Err: bare(err), Hint: hint()}
	}
	_, _ = reader.Close(), theirs.Close()
	go func() { // an agent that ends before it has read all is seen below
		_, _ = writer.Write(raw)
		_ = writer.Close()
	}()
	timeout := setUpTimeout
	if c.Probe {
		timeout = probeTimeout
	}
	if err := p.await(ctx, timeout); err != nil {
		_ = p.Cmd.Process.Kill()
		_ = p.Cmd.Wait()
		return nil, err
	}
	return p, nil
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

// await reads the agent's report.
func (p *Process) await(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text, fds, err := receive(p.control)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return &Error{Step: "hear from the agent", Err: err, Hint: hint()}
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		closeFDs(fds)
		return &Error{Step: "understand the agent", Err: err}
	}
	switch {
	case r.Exec:
		return fmt.Errorf("%w%s", ErrExec, strings.TrimPrefix(r.Error, ErrExec.Error()))
	case r.Error != "" && r.Errno != 0:
		return &Error{Step: r.Step, Err: syscall.Errno(r.Errno), Hint: hint()} //nolint:gosec // an errno
	case r.Error != "":
		return &Error{Step: r.Step, Err: errors.New(r.Error), Hint: hint()}
	}
	p.Sockets, err = socketsFrom(fds)
	if err != nil {
		return &Error{Step: "take the agent's sockets", Err: err}
	}
	return nil
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
	_ = p.control.Close()
	p.Sockets.Close()
}
