package main

import (
	"context"
	"errors"
	"fmt"
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
	cmd := &cobra.Command{
		Use: "run [flags] -- COMMAND [ARG...]", Short: "Run one command with a fresh emulator, and end with its exit code",
		Long:    "Runs one command with a fresh emulator on a free port and ends with the command's exit code.\nNothing is left behind, unless --state names a folder to keep. When the command fails and a role\nwas missing, says which.",
		Example: "  amlocal run -- pytest tests/",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.ephemeral = !cmd.Flags().Changed("state")
			config, err := f.config(g.state, 0)
			if err != nil {
				return err
			}
			return runWith(config, args)
		},
	}
	f.register(cmd)
	return cmd
}

func runWith(config amlocal.Config, args []string) (err error) {
	if err := amlocal.LeaveShell(); err != nil {
		return err
	}
	// Not this process's to die of: the command gets the signal from the
	// terminal too, and its end is ours.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	emu, err := amlocal.New(context.Background(), config)
	if err != nil {
		return explainLocked(err, config.StateDir)
	}
	defer func() { err = errors.Join(err, closeEmulator(emu)) }()
	if err := emu.Start(context.Background()); err != nil {
		return err
	}
	child := exec.Command(args[0], args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = environment(emu.Access())
	if err := child.Start(); err != nil {
		return fmt.Errorf("run %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGTERM { // sent to us alone
				_ = child.Process.Signal(s)
			}
			continue
		case err = <-ended:
		}
		break
	}
	code := child.ProcessState.ExitCode()
	if ws, ok := child.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	if code == 0 {
		return nil
	}
	if denial, ok := emu.LastDenial(); ok {
		fmt.Fprintln(os.Stderr, "\namlocal: the last refusal was:")
		amlocal.Explain(os.Stderr, denial)
	}
	return exitCode(code)
}

// environment is this process's own with the emulator's variables over it.
func environment(a amlocal.Access) []string {
	vars := a.Env(os.LookupEnv)
	vars = append(vars, amlocal.Save(vars, os.LookupEnv))
	over := make(map[string]bool, len(vars))
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
	return env
}
