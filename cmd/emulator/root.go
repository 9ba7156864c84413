package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
type globals struct {
	state, url string
	flags      *pflag.FlagSet
}

// address is that of an emulator which runs elsewhere, "" for the one of the
// state folder. A flag goes before the variable.
func (g *globals) address() (string, error) {
	state, url := g.flags.Changed("state"), g.flags.Changed("url")
	switch {
	case state && url:
		return "", errors.New("--state and --url name two emulators: give one of them")
	case url:
		return g.url, nil
	case state:
		return "", nil
	}
	return os.Getenv(amlocal.URLVar), nil
}

// here refuses --url for a command that works on this machine's own emulator.
func (g *globals) here(command string) error {
	if g.flags.Changed("url") {
		return fmt.Errorf("`amlocal %s` is for an emulator of this machine, not for one at --url: start and stop that one where it runs", command)
	}
	return nil
}

func newRoot() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:           "amlocal",
		Short:         "A private Azure for online endpoints and managed identities",
		Long:          "amlocal emulates Azure Machine Learning online endpoints and the managed identities\nthey run under, on this machine, for the clients you already have.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	g.flags = root.PersistentFlags()
	g.flags.StringVar(&g.state, "state", amlocal.DefaultStateDir, "folder that holds the emulator's state")
	g.flags.StringVar(&g.url, "url", "", "address of an emulator that runs elsewhere, as in a container, with its admin token in "+amlocal.AdminTokenVar+" (default: "+amlocal.URLVar+")")
	root.AddCommand(
		upCommand(g), downCommand(g), statusCommand(g), envCommand(g), runCommand(g),
		whyCommand(g), logsCommand(g), scenarioCommand(g), versionCommand(),
		principalsCommand(g), tokenCommand(g), clockCommand(g), accessCommand(g),
		deviceCommand(g), issuersCommand(g), keysCommand(g), cloudCommand(g), adminTokenCommand(g),
	)
	return root
}
