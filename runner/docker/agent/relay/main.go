package relay

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main is the agent as a process: it serves until SIGTERM and gives the exit
// code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logf := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if err := Run(ctx, SettingsDir, logf); err != nil {
		logf("%v", err)
		return 1
	}
	return 0
}
