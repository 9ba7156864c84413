package main

import (
	"os"
	"runtime/debug"
)

// busyGC is the garbage collector's GOGC of an emulator that is up.
const busyGC = 400

// relaxCollector lets the garbage collector wait for more garbage. What lives
// is some 10 MB, so by default a busy gateway is interrupted every 10 MB, many
// times a second, which is a fifth of what scoring costs. It is called once the
// emulator has started: the start's garbage does not stay, and an idle emulator
// is as small as before. GOGC in the environment goes before.
func relaxCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(busyGC)
	}
}
