package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
)

// exitCode carries a command's own exit code through cobra; its message, if
// any, has been printed.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// execute runs the command line and answers the process's exit code: 0, the
// code of the command that `run` ran, or 1.
func execute(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "amlocal:", err)
	return 1
}

// globals are the flags every command takes.
type globals struct{ state string }

func newRoot() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:           "amlocal",
		Short:         "A private Azure for online endpoints and managed identities",
		Long:          "amlocal emulates Azure Machine Learning online endpoints and the managed identities\nthey run under, on this machine, for the clients you already have.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&g.state, "state", amlocal.DefaultStateDir, "folder that holds the emulator's state")
	root.AddCommand(
		upCommand(g), downCommand(g), statusCommand(g), envCommand(g), runCommand(g),
		whyCommand(g), logsCommand(g), scenarioCommand(), versionCommand(),
		principalsCommand(g), tokenCommand(g), clockCommand(g), accessCommand(g),
		deviceCommand(g), issuersCommand(g),
	)
	return root
}
