package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/scenarios"
)

// deployFlags say what `up` deploys once the emulator serves.
type deployFlags struct {
	files  []string
	deploy bool // false in the background process, for which its parent deploys
}

func (d *deployFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&d.files, "file", "f", nil, "az ml endpoint or deployment YAML to deploy (repeatable); with -d also to an emulator that runs")
	cmd.Flags().BoolVar(&d.deploy, "deploy", true, "")
	_ = cmd.Flags().MarkHidden("deploy")
}

// load reads the files before anything is started; nil: there are none.
func (d *deployFlags) load() (*scenarios.Definitions, error) {
	if len(d.files) == 0 || !d.deploy {
		return nil, nil
	}
	return scenarios.LoadDefinitions(d.files)
}

// applyTo deploys to the emulator of a state folder, which stays up whatever
// comes of it.
func (d *deployFlags) applyTo(cmd *cobra.Command, state string, definitions *scenarios.Definitions) error {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a, err := amlocal.ReadAccess(state)
	if err != nil {
		return err
	}
	if err := scenarios.Apply(ctx, a, definitions, cmd.OutOrStdout()); err != nil {
		if entry, whyErr := findEntry(newClient(a), nil); whyErr == nil {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "The last refusal was:")
			amlocal.Explain(cmd.ErrOrStderr(), entry)
		}
		return fmt.Errorf("not deployed, the emulator stays up: %w", err)
	}
	return nil
}
