package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// endSignals are the signals that ask this process to end in good order. One
// that it was started with ignored stays so: SIGHUP under nohup, SIGINT in the
// background of a script.
func endSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signals
}

func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, endSignals()...)
}
