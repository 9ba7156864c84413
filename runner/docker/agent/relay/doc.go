// Package relay is what the agent container of the Docker back end runs, and
// the protocol by which the emulator speaks to it.
//
// The agent stands, without any capability, on the internal network of each
// deployment. It listens there for DNS (53), TLS (443) and the identity
// endpoint (8911) and hands what arrives to the emulator, unread; the other
// way round it dials instances for the emulator. It decides nothing but who may
// connect: on each network only that network's instances, and to the emulator's
// port only the emulator.
//
// The emulator always dials, because a host process cannot be reached from a
// container on every engine (Docker Desktop) and must not listen on container
// networks on any. All connections are TLS 1.3, each side pinned to the other's
// one certificate, and begin with a hello that says what they are for:
//
//	control  JSON messages both ways: the networks to serve, DNS questions
//	         and answers. One at a time, the newest wins.
//	park     waits; when an instance connects to the agent, the agent takes a
//	         parked connection, says on it who came (Arrival), and once that
//	         is answered it carries the instance's bytes.
//	dial     asks for a connection to an instance, and carries its bytes after
//	         the answer.
//
// One connection per stream, so that an instance that does not read holds up
// nothing but its own kernel buffers: with streams multiplexed over one
// connection, windows fill the agent's memory (wire/runner.md section 8).
package relay
