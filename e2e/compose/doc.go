// Package compose runs docker-compose.yml as docs/containers.md says: the
// emulator in a container, driven from this machine, killed, started again and
// removed without a trace.
package compose
