package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The agent's descriptors beside the standard ones.
const (
	configFD  = 3
	controlFD = 4
)

// Main takes over if this process was started as an agent, and returns at once
// otherwise. A program whose path is given to Start calls it first thing: what
// the program does before is done in every agent.
func Main() {
	if len(os.Args) == 0 || os.Args[0] != agentName {
		return
	}
	os.Exit(agentMain())
}

// agent is process 1 of the namespaces.
type agent struct {
	config  Config
	control *net.UnixConn
	socket  *net.UnixListener
	sockets []*os.File // held, so that their descriptors stay open
	child   int
}

// stepError is a failed step.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

func step(name string, err error) error {
	if err == nil {
		return nil
	}
	return &stepError{name, err}
}

func agentMain() int {
	// Capabilities are a thread's: the one that drops them starts the command.
	runtime.LockOSThread()
	a := &agent{}
	if err := a.begin(); err != nil {
		fmt.Fprintln(os.Stderr, agentName+":", err)
		return 125
	}
	err := a.setUp()
	if err == nil && !a.config.Probe {
		err = a.start()
	}
	if sendErr := a.report(err); err == nil {
		err = sendErr
	}
	if err != nil || a.config.Probe {
		return 125
	}
	return a.run()
}

// begin reads what to do. Nothing the emulator's parent leaked stays open for
// the command: a folder's descriptor would be a way out.
func (a *agent) begin() error {
	if err := unix.CloseRange(configFD, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	file := os.NewFile(configFD, "config")
	raw, err := io.ReadAll(file)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	_ = file.Close()
	if err := json.Unmarshal(raw, &a.config); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	control := os.NewFile(controlFD, "control")
	conn, err := net.FileConn(control)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	_ = control.Close()
	var ok bool
	if a.control, ok = conn.(*net.UnixConn); !ok {
		return errors.New("control socket: of another kind")
	}
	return nil
}

// setUp is everything but the command: what Probe tries.
func (a *agent) setUp() error {
	unix.Umask(0o022)
	// The command, the same user outside, may not look into this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return step("prctl PR_SET_DUMPABLE", err)
	}
	if err := a.listenForEmulator(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("instance")); err != nil {
		return step("sethostname", err)
	}
	if err := raiseLoopback(); err != nil {
		return err
	}
	if err := a.bindSockets(); err != nil {
		return err
	}
	return makeRoot(&a.config)
}

// listenForEmulator binds the agent's socket by way of the folder's descriptor:
// a path in a deep state folder is longer than such addresses may be.
func (a *agent) listenForEmulator() error {
	dir, err := unix.Open(a.config.Folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return step("open the instance's folder", err)
	}
	defer unix.Close(dir) //nolint:errcheck // nothing was written
	address := &net.UnixAddr{Name: socketAddress(dir), Net: "unixpacket"}
	if a.socket, err = net.ListenUnix("unixpacket", address); err != nil {
		return step("listen on the agent's socket", err)
	}
	a.socket.SetUnlinkOnClose(false) // the path means something else by then
	return nil
}

func socketAddress(dir int) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + socketName
}

// report tells the emulator how it went.
func (a *agent) report(err error) error {
	r := report{}
	if err != nil {
		r.Error = err.Error()
		var failed *stepError
		if errors.As(err, &failed) {
			r.Step, r.Error = failed.step, failed.err.Error()
		}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			r.Errno = int(errno)
		}
		r.Exec = errors.Is(err, ErrExec)
	}
	raw, marshalErr := json.Marshal(r)
	if marshalErr != nil {
		return marshalErr
	}
	var rights []byte
	if err == nil {
		fds := make([]int, len(a.sockets))
		for i, f := range a.sockets {
			fds[i] = int(f.Fd()) //nolint:gosec // a descriptor
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, sendErr := a.control.WriteMsgUnix(raw, rights, nil)
	return sendErr
}

// run waits for the command's end, which is the agent's and, process 1 leaving,
// that of all it started.
func (a *agent) run() int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	ended := make(chan int, 1)
	go func() { ended <- a.reap() }()
	go a.serveEmulator()
	abandoned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, a.control)
		close(abandoned)
	}()
	var enough <-chan time.Time
	for {
		select {
		case code := <-ended:
			return code
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok {
				_ = unix.Kill(-a.child, number)
			}
		case <-abandoned:
			abandoned = nil
			enough = time.After(a.config.Abandoned)
		case <-enough:
			return 128 + int(unix.SIGKILL)
		}
	}
}

// reap sees every process of the namespace out and answers the command's code.
func (a *agent) reap() int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 125
		case pid != a.child:
		case status.Signaled():
			return 128 + int(status.Signal())
		case status.Exited():
			return status.ExitStatus()
		}
	}
}

// serveEmulator answers requests for connections to ports inside.
func (a *agent) serveEmulator() {
	for {
		c, err := a.socket.AcceptUnix()
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: some will end
			continue
		}
		go answerDial(c)
	}
}

const dialTimeout = 10 * time.Second

func answerDial(c *net.UnixConn) {
	defer c.Close() //nolint:errcheck // the answer is sent
	var request [2]byte
	if n, err := c.Read(request[:]); err != nil || n != len(request) {
		return
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(binary.BigEndian.Uint16(request[:]))))
	inside, err := net.DialTimeout("tcp4", address, dialTimeout)
	if err == nil {
		err = sendConn(c, inside)
		_ = inside.Close()
	}
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errno
		}
		_, _ = c.Write([]byte(err.Error()))
	}
}

func sendConn(c *net.UnixConn, inside net.Conn) error {
	raw, err := inside.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		_, _, sendErr = c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil) //nolint:gosec // a descriptor
	})
	return errors.Join(err, sendErr)
}
