// Command emulator is the amlocal command line: a private Azure for online
// endpoints and managed identities on one machine.
package main

import "os"

// version is set by the build.
var version string

func main() { os.Exit(execute(os.Args[1:])) }
