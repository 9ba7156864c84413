package sandbox

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Config is one process to run. Paths of Source are the host's, all others are
// those inside.
type Config struct {
	// Argv and Env are the command; Dir is where it starts.
	Argv []string
	Env  []string
	Dir  string
	// Binds appear read-only, Writable as they are. A bind whose Source and
	// Target are the same and which another one covers is left out.
	Binds    []Bind
	Writable []Bind
	// Files are written into the root, by path.
	Files map[string][]byte
	// Folder is the host's, private to the instance: the agent's socket and
	// its mount point are made in it.
	Folder string
	// MemoryMiB bounds the data of each process; 0 does not.
	MemoryMiB int
	// Abandoned is how long the instance outlives an emulator that died after
	// Keep. Key is a secret of the sandbox's own: whoever takes it over proves
	// to have it, and so does the agent. Without it nobody can.
	Abandoned time.Duration
	Key       string

	// Probe sets everything up and runs nothing.
	Probe bool
	// SwitchUser says that the agent is root and the command must not be.
	SwitchUser bool
}

// Bind makes the host's Source appear at Target.
type Bind struct{ Source, Target string }

// Sockets are bound inside and served outside. Whoever has them closes them.
type Sockets struct {
	// Names and NamesStream are 127.0.0.1:53, TLS is port 443 on every
	// address, Identity 127.0.0.1:8911, Metadata 169.254.169.254:80.
	Names       net.PacketConn
	NamesStream net.Listener
	TLS         net.Listener
	Identity    net.Listener
	Metadata    net.Listener
}

// IdentityAddress is where Sockets.Identity listens.
const IdentityAddress = "127.0.0.1:8911"

// Home is the home folder inside, named as in Azure's curated images.
const Home = "/home/dockeruser"

// InsideUser is the user and group number inside. SpareUser is the host's
// number for it where the emulator is root: nobody's on ordinary systems.
const (
	InsideUser = 1000
	SpareUser  = 100001
)

// Error is a sandbox that could not be made.
type Error struct {
	// Step is what failed, e.g. "mount proc".
	Step string
	// Err is the system's reason; Hint the settings that may be behind it.
	Err  error
	Hint string
}

// Error names step, reason and settings.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", e.Step, e.Err)
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// ErrExec marks a command that could not be started in a sandbox that works.
var ErrExec = errors.New("the command cannot be started")

// agentEnv is set in agents. A program that finds it set and still runs has not
// called Main: it must not start agents of its own, which would do the same.
const agentEnv = "AMLOCAL_SANDBOX_AGENT"

var errNoMain = &Error{Step: "start the agent", Err: errors.New("the program was started as an agent and did not call sandbox.Main")}

// agentName is argv[0] of the agent: it shows in `ps`, and makes Main take over.
const agentName = "amlocal-sandbox-agent"

// report is the agent's one message over its control socket, with the sockets
// attached.
type report struct {
	Step  string `json:"step,omitempty"`
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
	Exec  bool   `json:"exec,omitempty"`
}

// ended is the agent's last message over its control socket: the command's exit
// code, which an emulator that did not start it cannot learn otherwise.
type ended struct {
	Exit int `json:"exit"`
}

// What the agent's folder holds. The socket takes connections of two kinds, told
// apart by the first message. Two bytes ask for a connection to that port; the
// answer is a zero byte with the socket attached, or the error's text. A hello
// takes the sandbox over: both sides prove that they have the key, then the
// connection is the control socket. The output file has what the command printed
// while no emulator was there.
const (
	socketName = "agent.sock"
	// OutputFile is the latter's name, for whoever finds a sandbox that ended
	// meanwhile.
	OutputFile = "output"
)

// Protocol is the version of how an agent is taken over. One that was started
// with another version is to be ended instead.
const Protocol = 1

// Close closes them all.
func (s Sockets) Close() {
	if s.Names != nil {
		_ = s.Names.Close()
	}
	for _, ln := range []net.Listener{s.NamesStream, s.TLS, s.Identity, s.Metadata} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}
