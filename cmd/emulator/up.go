package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

// closeLimit bounds how long a stopping emulator lets requests finish.
const closeLimit = 20 * time.Second

func upCommand(g *globals) *cobra.Command {
	f := &emulatorFlags{}
	var detach bool
	var port int
	cmd := &cobra.Command{
		Use: "up", Short: "Start the emulator (in the foreground; -d in the background)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := f.config(g.state, port)
			if err != nil {
				return err
			}
			if detach {
				if f.ephemeral {
					return errors.New("-d with --ephemeral: no later command could find the state; use `amlocal run`, or -d with --state")
				}
				return upDetached(cmd.OutOrStdout(), g.state)
			}
			return up(cmd.Context(), cmd.OutOrStdout(), config)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "run in the background; `amlocal down` ends it")
	cmd.Flags().IntVar(&port, "port", amlocal.DefaultPort, "port on loopback; 0 takes a free one")
	cmd.Flags().BoolVar(&f.ephemeral, "ephemeral", false, "keep no state")
	f.register(cmd)
	return cmd
}

func up(ctx context.Context, out io.Writer, config amlocal.Config) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := amlocal.LeaveShell(); err != nil {
		return err
	}
	emu, err := amlocal.New(ctx, config)
	if err != nil {
		return explainLocked(err, config.StateDir)
	}
	if err := emu.Start(ctx); err != nil {
		return errors.Join(err, closeEmulator(emu))
	}
	a := emu.Access()
	announce(out, a, config.Ephemeral)
	select {
	case <-ctx.Done():
	case <-emu.Stopped():
	}
	_, _ = fmt.Fprintln(out, "Stopping.")
	return closeEmulator(emu)
}

func closeEmulator(emu *amlocal.Emulator) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return emu.Close(ctx)
}

func announce(out io.Writer, a amlocal.Access, ephemeral bool) {
	kept := "state in " + a.StateDir
	if ephemeral {
		kept = "no state is kept"
	}
	flag := ""
	if def, err := filepath.Abs(amlocal.DefaultStateDir); err != nil || def != a.StateDir {
		flag = " --state " + a.StateDir
	}
	_, _ = fmt.Fprintf(out, "amlocal is up at %s (process %d, runner %s, %s)\n", a.URL(), a.PID, a.Runner, kept)
	_, _ = fmt.Fprintf(out, "Point a shell at it:   eval \"$(amlocal env%s)\"\n", flag)
	_, _ = fmt.Fprintf(out, "End it:                amlocal down%s\n", flag)
}

// upDetached starts this binary again without -d, in a session of its own, and
// waits until it answers.
func upDetached(out io.Writer, state string) error {
	if a, err := amlocal.ReadAccess(state); err == nil && newClient(a).alive() {
		_, _ = fmt.Fprintf(out, "amlocal is already up at %s (process %d)\n", a.URL(), a.PID)
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	logPath := filepath.Join(state, "emulator.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own handle
	child := exec.Command(self, withoutDetach(os.Args[1:])...)
	child.Stdout, child.Stderr = log, log
	detachProcess(child)
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case <-ended:
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("the emulator did not start:\n%s", text)
		case <-deadline:
			return fmt.Errorf("the emulator does not answer yet; its output is in %s", logPath)
		case <-time.After(20 * time.Millisecond):
		}
		if a, err := amlocal.ReadAccess(state); err == nil && a.PID == child.Process.Pid && newClient(a).alive() {
			announce(out, a, false)
			return nil
		}
	}
}

func withoutDetach(args []string) []string {
	var out []string
	for _, a := range args {
		switch a {
		case "-d", "--detach", "--detach=true", "-d=true":
		default:
			out = append(out, a)
		}
	}
	return out
}
