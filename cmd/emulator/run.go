package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

func runCommand(g *globals) *cobra.Command {
	f := &emulatorFlags{}
	var identity identityFlags
	cmd := &cobra.Command{
		Use: "run [flags] -- COMMAND [ARG...]", Short: "Run one command with a fresh emulator, and end with its exit code",
		Long:    "Runs one command with a fresh emulator on a free port and ends with the command's exit code.\nNothing is left behind, unless --state names a folder to keep. When the command fails and a role\nwas missing, says which.",
		Example: "  amlocal run -- pytest tests/",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.here("run"); err != nil {
				return err
			}
			f.ephemeral = !cmd.Flags().Changed("state")
			config, err := f.config(g.state, 0)
			if err != nil {
				return err
			}
			return runWith(config, identity, args)
		},
	}
	f.register(cmd)
	identity.register(cmd)
	return cmd
}

func runWith(config amlocal.Config, identity identityFlags, args []string) (err error) {
	if err := amlocal.LeaveShell(); err != nil {
		return err
	}
	// Not this process's to die of: the command's end is ours.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endSignals()...)
	defer signal.Stop(signals)

	emu, err := amlocal.New(context.Background(), config)
	if err != nil {
		return explainLocked(err, config.StateDir)
	}
	defer func() {
		if closeErr := closeEmulator(emu); closeErr != nil && err != nil {
			fmt.Fprintln(os.Stderr, "amlocal:", closeErr)
		} else if closeErr != nil {
			err = closeErr
		}
	}()
	if err := emu.Start(context.Background()); err != nil {
		return err
	}
	select {
	case s := <-signals: // before there was a command to have it
		return exitCode(128 + int(s.(syscall.Signal)))
	default:
	}
	env, err := environment(emu, identity)
	if err != nil {
		return err
	}
	code, err := runCommandLine(args, env, signals)
	if err != nil || code == 0 {
		return err
	}
	if denial, ok := emu.LastDenial(); ok {
		fmt.Fprintln(os.Stderr, "\namlocal: the last refusal was:")
		amlocal.Explain(os.Stderr, denial)
	}
	return exitCode(code)
}

// runCommandLine runs a command to its end and answers its exit code as a
// shell would: 128 and the signal's number for one that died of a signal, 127
// for one that is not there, 126 for one that cannot be run.
func runCommandLine(args, env []string, signals <-chan os.Signal) (code int, err error) {
	child := exec.Command(args[0], args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = env
	if err := child.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "amlocal: run %s: %v\n", args[0], err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return 0, exitCode(127)
		}
		return 0, exitCode(126)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			// What a terminal sends, the command has got as well.
			if s != os.Interrupt || !hasTerminal() {
				_ = child.Process.Signal(s)
			}
			continue
		case err = <-ended:
		}
		break
	}
	if child.ProcessState == nil {
		return 0, err
	}
	if ws, ok := child.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return child.ProcessState.ExitCode(), nil
}

// hasTerminal says whether this process has a controlling terminal, whose
// Ctrl-C reaches the whole group.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	_ = tty.Close()
	return true
}

// environment is this process's own with the emulator's variables over it.
func environment(emu *amlocal.Emulator, identity identityFlags) ([]string, error) {
	vars, without, err := identity.env(emu.Access(), func(who []string) (amlocal.ShellIdentity, error) {
		return emu.ShellIdentity(context.Background(), who...)
	})
	if err != nil {
		return nil, err
	}
	over := make(map[string]bool, len(vars))
	for _, name := range without {
		over[name] = true
	}
	for _, v := range vars {
		over[v.Name] = true
	}
	var env []string
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !over[name] {
			env = append(env, kv)
		}
	}
	for _, v := range vars {
		env = append(env, v.Name+"="+v.Value)
	}
	return env, nil
}
