// Command emulator is the amlocal command line: a private Azure for online
// endpoints and managed identities on one machine.
package main

import (
	"os"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// version is set by the build.
var version string

func main() {
	// In the agent of a sandbox this does not return.
	amlocal.SandboxAgent()
	if len(os.Args) == 2 && os.Args[1] == amlocal.AgentCommand { // in a container of the docker runner
		os.Exit(relay.Main())
	}
	os.Exit(execute(os.Args[1:]))
}
