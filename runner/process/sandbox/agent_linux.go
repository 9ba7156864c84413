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
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The agent's descriptors beside the standard ones.
const (
	configFD  = 3
	controlFD = 4
	outputFD  = 5 // where the command's output is read
	spoolFD   = 6 // where it is kept while no emulator is there
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
	output  *spool
	child   int
	takers  chan *net.UnixConn // emulators that proved themselves
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
	a := &agent{takers: make(chan *net.UnixConn)}
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
	a.output, err = newSpool(outputFD, spoolFD)
	return err
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
	if err != nil {
		return send(a.control, raw)
	}
	return send(a.control, raw, a.sockets...)
}

// send writes one message with the files' descriptors.
func send(c *net.UnixConn, raw []byte, files ...*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd()) //nolint:gosec // a descriptor
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(raw, rights, nil)
	return err
}

// run waits for the command's end, which is the agent's and, process 1 leaving,
// that of all it started. An emulator that goes before it asked to Keep takes
// the sandbox with it; after that the next one has Abandoned to come.
func (a *agent) run() int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	done := make(chan int, 1)
	go func() { done <- a.reap() }()
	go a.serveEmulator()
	kept := false
	gone := a.watch(&kept)
	var enough <-chan time.Time
	for {
		select {
		case code := <-done:
			return a.leave(code, gone == nil || within(gone, 0))
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok {
				_ = unix.Kill(-a.child, number)
			}
		case <-gone:
			if !kept {
				return 128 + int(unix.SIGKILL)
			}
			gone, enough = nil, time.After(a.config.Abandoned)
			a.output.begin()
		case c := <-a.takers:
			if gone != nil && !within(gone, predecessorTimeout) {
				_ = c.Close() // it lives: nobody may take its place
				continue
			}
			if !kept {
				return 128 + int(unix.SIGKILL)
			}
			if gone != nil {
				gone, enough = nil, time.After(a.config.Abandoned)
			}
			if err := a.handOver(c); err != nil {
				_ = c.Close()
				a.output.begin()
				continue
			}
			gone, enough = a.watch(&kept), nil
		case <-enough:
			a.output.say(fmt.Sprintf("amlocal: no emulator came back within %s: the instance is ended", a.config.Abandoned))
			return a.leave(128+int(unix.SIGKILL), true)
		}
	}
}

// watch tells when the emulator at the other end of the control socket is gone,
// and whether it asked to keep the sandbox before; kept may be read then.
func (a *agent) watch(kept *bool) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var buf [16]byte
		for {
			n, err := a.control.Read(buf[:])
			if err != nil || n == 0 { // a socket of messages ends with an empty one
				return
			}
			*kept = true
		}
	}()
	return gone
}

// predecessorTimeout bounds how long a killed emulator may take to be gone when
// the next one is there already.
const predecessorTimeout = 2 * time.Second

func within(happened <-chan struct{}, limit time.Duration) bool {
	select {
	case <-happened:
		return true
	case <-time.After(limit):
		return false
	}
}

// handOver gives everything to the next emulator.
func (a *agent) handOver(c *net.UnixConn) error {
	a.output.stop()
	raw, err := json.Marshal(report{})
	if err != nil {
		return err
	}
	if err := send(c, raw, append(slices.Clone(a.sockets), a.output.from)...); err != nil {
		return err
	}
	_ = a.control.Close()
	a.control = c
	return nil
}

// leave is the last thing: what the command printed is put where someone finds
// it, and its code told.
func (a *agent) leave(code int, abandoned bool) int {
	if abandoned {
		a.output.finish()
		return code
	}
	if raw, err := json.Marshal(ended{Exit: code}); err == nil {
		_ = send(a.control, raw)
	}
	return code
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
		go a.answer(c)
	}
}

const dialTimeout = 10 * time.Second

// answer serves one connection to the agent's socket. The folder it lies in is
// the emulator's user's alone; another user's process is turned away all the
// same.
func (a *agent) answer(c *net.UnixConn) {
	if _, err := peer(c); err != nil {
		_ = c.Close()
		return
	}
	var request [maxHello]byte
	n, err := c.Read(request[:])
	switch {
	case err == nil && n == 2:
		answerDial(c, binary.BigEndian.Uint16(request[:]))
	case err == nil && n > 2:
		if proveAgent(c, a.config.Key, request[:n]) == nil {
			a.takers <- c
			return
		}
	}
	_ = c.Close()
}

func answerDial(c *net.UnixConn, port uint16) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
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
