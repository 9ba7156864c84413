// Command agent is the relay of package relay as a program of its own: what the
// back end's tests load into the engine. The emulator's own binary contains the
// same (`amlocal docker-agent`).
package main

import (
	"os"

	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

func main() { os.Exit(relay.Main()) }
