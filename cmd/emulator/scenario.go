package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/scenarios"
)

func scenarioCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "scenario", Short: "List and run the documented flows"}
	cmd.AddCommand(scenarioListCommand(), scenarioRunCommand(g))
	return cmd
}

func scenarioListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the scenarios", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range scenarios.List() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Title)
			}
			return w.Flush()
		},
	}
}

func scenarioRunCommand(g *globals) *cobra.Command {
	var o scenarios.Options
	var identityEnv, conda, sandbox string
	cmd := &cobra.Command{
		Use: "run NAME", Short: "Run a scenario against a fresh emulator, or the one at --url", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			address, err := g.address()
			if err != nil {
				return err
			}
			if err := amlocal.LeaveShell(); err != nil {
				return err
			}
			if address != "" {
				for _, name := range []string{"runner", "identity-env", "sandbox", "conda", "offline"} {
					if cmd.Flags().Changed(name) {
						return fmt.Errorf("--%s is a setting of the emulator at %s: start that one with it", name, address)
					}
				}
				access, err := amlocal.FetchAccess(ctx, address, os.Getenv(amlocal.AdminTokenVar), "")
				if err != nil {
					return err
				}
				o.Remote = &access
			}
			o.IdentityEnv = machinelearning.IdentityEnv(identityEnv)
			o.RelaxConda = conda == "relax"
			o.Sandbox, o.SandboxAgent = process.SandboxMode(sandbox), "/proc/self/exe"
			o.Out = cmd.OutOrStdout()
			return scenarios.Run(ctx, args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Runner, "runner", "auto", "auto, process or docker")
	flags.StringVar(&o.Scorer, "scorer", "auto", "auto, python or go")
	flags.StringVar(&o.Variant, "variant", "", "scoring script: managedidentity (REST and SDK), rest or sdk")
	flags.StringVar(&identityEnv, "identity-env", "both", "both, msi or identity")
	flags.StringVar(&sandbox, "sandbox", "auto", "namespaces of their own for instances of the process runner: auto, on or off")
	flags.StringVar(&conda, "conda", "strict", "strict or relax")
	flags.BoolVar(&o.Offline, "offline", false, "refuse every host that is not emulated, and package downloads")
	return cmd
}
