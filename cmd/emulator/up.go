package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/scenarios"
	"github.com/amlocal/amlocal/store"
)

// closeLimit bounds how long a stopping emulator lets requests finish.
const closeLimit = 20 * time.Second

func upCommand(g *globals) *cobra.Command {
	f := &emulatorFlags{}
	var detach bool
	var port int
	d := &deployFlags{}
	cmd := &cobra.Command{
		Use: "up", Short: "Start the emulator (in the foreground; -d in the background)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.here("up"); err != nil {
				return err
			}
			definitions, err := d.load()
			if err != nil {
				return err
			}
			config, err := f.config(g.state, port)
			if err != nil {
				return err
			}
			if detach {
				if f.ephemeral {
					return errors.New("-d with --ephemeral: no later command could find the state; use `amlocal run`, or -d with --state")
				}
				if err := upDetached(cmd, g.state, port); err != nil || definitions == nil {
					return err
				}
				return d.applyTo(cmd, g.state, definitions)
			}
			return up(context.Background(), cmd.OutOrStdout(), config, d, definitions)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "run in the background; `amlocal down` ends it")
	cmd.Flags().IntVar(&port, "port", amlocal.DefaultPort, "port on loopback; 0 takes a free one")
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1", "address to listen on; another than loopback is for an emulator in a container: whoever reaches it may use the proxy")
	cmd.Flags().BoolVar(&f.ephemeral, "ephemeral", false, "keep no state")
	d.register(cmd)
	f.register(cmd)
	return cmd
}

func up(ctx context.Context, out io.Writer, config amlocal.Config, d *deployFlags, definitions *scenarios.Definitions) error {
	ctx, stop := untilSignal(ctx)
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
	relaxCollector()
	a := emu.Access()
	announce(out, a, config.Ephemeral)
	if definitions != nil {
		run := deployment{target: scenarios.Target{Access: a, Out: out, Flags: stateFlag(a.StateDir)}, definitions: definitions, lastDenial: emu.LastDenial}
		deploying, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-emu.Stopped():
				cancel()
			case <-deploying.Done():
			}
		}()
		err := run.run(deploying, d.watch, func(err error) {
			_, _ = fmt.Fprintf(out, "Not deployed: %v\n", err)
			if !d.watch {
				_, _ = fmt.Fprintf(out, "The emulator stays up; mend it and deploy again with `amlocal up%s -d -f ...`.\n", stateFlag(a.StateDir))
			}
		})
		if err != nil {
			_, _ = fmt.Fprintf(out, "Not deployed: %v\n", err)
		}
	}
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
	flag := stateFlag(a.StateDir)
	_, _ = fmt.Fprintf(out, "amlocal is up at %s (process %d, runner %s, %s)\n", a.URL(), a.PID, a.Runner, kept)
	_, _ = fmt.Fprintf(out, "Point a shell at it:   eval \"$(amlocal env%s)\"\n", flag)
	_, _ = fmt.Fprintf(out, "End it:                amlocal down%s\n", flag)
}

// upDetached starts this binary again without -d, in a session of its own, and
// waits until it answers.
func upDetached(cmd *cobra.Command, state string, port int) error {
	out := cmd.OutOrStdout()
	if a, err := amlocal.ReadAccess(state); err == nil && newClient(a).alive() {
		if asked := otherSettings(cmd, port == 0 || port == a.Port); len(asked) > 0 {
			return fmt.Errorf("already up at %s (process %d), with the settings it was started with; for %s, `amlocal down` first",
				a.URL(), a.PID, strings.Join(asked, " "))
		}
		_, _ = fmt.Fprintf(out, "amlocal is already up at %s (process %d)\n", a.URL(), a.PID)
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := openLog(state)
	if err != nil {
		return err
	}
	defer log.Close()
	child := exec.Command(self, inForeground(os.Args[1:])...)
	child.Stdout, child.Stderr = log, log
	detachProcess(child)
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = child.Wait() // what it wrote says more than its exit code
		close(ended)
	}()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the emulator did not start:\n%s", bytes.TrimSpace(text))
		case <-deadline:
			return fmt.Errorf("the emulator (process %d) does not answer yet; its output is in %s", child.Process.Pid, log.Name())
		case <-time.After(20 * time.Millisecond):
		}
		if a, err := amlocal.ReadAccess(state); err == nil && a.PID == child.Process.Pid && newClient(a).alive() {
			announce(out, a, false)
			return nil
		}
	}
}

// openLog begins the background emulator's log anew, but leaves alone that of
// one which runs and does not answer.
func openLog(state string) (*os.File, error) {
	if err := amlocal.CheckStateDir(state); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(state, "store"), 0o700); err != nil {
		return nil, err
	}
	release, err := store.Hold(filepath.Join(state, "store"))
	if err != nil {
		return nil, explainLocked(err, state)
	}
	log, err := os.OpenFile(filepath.Join(state, "emulator.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	return log, errors.Join(err, release())
}

// inForeground is the same command line, for the process that stays: a flag's
// last value counts.
func inForeground(args []string) []string {
	out := slices.Clone(args)
	at := len(out)
	if i := slices.Index(out, "--"); i >= 0 {
		at = i
	}
	return slices.Insert(out, at, "--detach=false", "--deploy=false", "--watch=false")
}

// otherSettings are the flags that ask for something a running emulator would
// have to be started again for.
func otherSettings(cmd *cobra.Command, samePort bool) (asked []string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch {
		case f.Name == "detach", f.Name == "file", f.Name == "watch", f.Name == "state", f.Name == "port" && samePort:
		default:
			asked = append(asked, "--"+f.Name)
		}
	})
	return asked
}
