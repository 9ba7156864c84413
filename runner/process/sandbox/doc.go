// Package sandbox runs a process in Linux namespaces of its own, without rights
// and without a container engine: user, network, mount, pid, uts and ipc.
//
// Two halves. Start, in the emulator, runs a program again as the agent: the
// program calls Main before anything else, and Main does not return there. The
// agent is process 1 of the namespaces. It gives its loopback device addresses,
// binds the ports an instance expects of Azure, makes a root of its own from an
// allow-list, and runs the instance's command in it without any capability.
//
// The agent forwards nothing. It hands its listening sockets to the emulator,
// which accepts on them as on its own: a socket keeps its network namespace
// whoever holds it. So the listener a connection came by proves which instance
// it belongs to. The other way round the emulator asks for a connection to a
// port inside and gets the connected socket.
//
// A sandbox that was told to Keep outlives its emulator, and Adopt takes it over:
// the agent holds copies of its sockets and of the command's output, which it
// puts into a file while nobody reads it. Both sides prove that they have the
// sandbox's key first. The agent's socket lies in the instance's folder, which
// nothing inside can see and other users may not enter.
//
// The root: /usr, what of /etc programs need, the binds asked for, all
// read-only; a private /tmp and home folder; /dev with the harmless devices; a
// /proc that shows the instance's own processes. No /sys, no /run, no home
// folders, no state folder.
//
// Who the command runs as: user 1000 inside. Outside that is the emulator's own
// user; where the emulator is root it is SpareUser, which owns nothing, and the
// agent alone stays root. Nothing is mapped to root for the command: it would
// read what only root may.
//
// Where the kernel, a distribution or a container does not allow all this, Probe
// finds out in some milliseconds by doing the whole of it (wire/runner.md
// section 9 has the list of places).
//
// Limits: memory is limited per process (RLIMIT_DATA), the number of processes
// per instance; processor time is not. Ports 53, 80 at 169.254.169.254, 443 and
// 8911 are taken, and others below 1024 cannot be bound. The sandbox is a
// boundary between instances and towards the user's files and network; it has no
// system call filter, so it is as strong as the kernel is.
package sandbox
