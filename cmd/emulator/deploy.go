package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/scenarios"
)

// deployFlags say what `up` deploys once the emulator serves.
type deployFlags struct {
	files  []string
	watch  bool
	deploy bool // false in the background process, for which its parent deploys
}

func (d *deployFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&d.files, "file", "f", nil, "az ml endpoint or deployment YAML to deploy (repeatable); with -d also to an emulator that runs")
	cmd.Flags().BoolVar(&d.watch, "watch", false, "with -f: deploy again whenever the YAML, code, model, conda file or build context changes")
	cmd.Flags().BoolVar(&d.deploy, "deploy", true, "")
	_ = cmd.Flags().MarkHidden("deploy")
}

// load reads the files before anything is started; nil: there are none.
func (d *deployFlags) load() (*scenarios.Definitions, error) {
	if d.watch && len(d.files) == 0 {
		return nil, errors.New("--watch needs -f: there is nothing to watch")
	}
	if len(d.files) == 0 || !d.deploy {
		return nil, nil
	}
	return scenarios.LoadDefinitions(d.files)
}

// deployment deploys definitions to an emulator, which stays up whatever comes
// of it.
type deployment struct {
	target      scenarios.Target
	definitions *scenarios.Definitions
	// lastDenial is the last request that RBAC refused.
	lastDenial func() (audit.Entry, bool)
}

// run deploys, and with watch goes on until ctx ends.
func (d *deployment) run(ctx context.Context, watch bool, failed func(error)) error {
	before, _ := d.lastDenial()
	explained := func(err error) {
		failed(err)
		// Only what this run met: an older refusal explains nothing.
		if entry, ok := d.lastDenial(); ok && entry.RequestID != before.RequestID {
			before = entry
			_, _ = fmt.Fprintln(d.target.Out, "The last refusal was:")
			amlocal.Explain(d.target.Out, entry)
		}
	}
	if watch {
		return scenarios.Watch(ctx, d.target, d.definitions, explained)
	}
	if err := scenarios.Deploy(ctx, d.target, d.definitions); err != nil && ctx.Err() == nil {
		explained(err)
	}
	return nil
}

// applyTo deploys to the emulator of a state folder.
func (d *deployFlags) applyTo(cmd *cobra.Command, state string, definitions *scenarios.Definitions) error {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a, err := amlocal.ReadAccess(state)
	if err != nil {
		return err
	}
	c := newClient(a)
	run := deployment{
		target:      scenarios.Target{Access: a, Out: cmd.OutOrStdout(), Flags: stateFlag(a.StateDir)},
		definitions: definitions,
		lastDenial: func() (audit.Entry, bool) {
			entry, err := findEntry(c, nil)
			return entry, err == nil
		},
	}
	var last error
	err = run.run(ctx, d.watch, func(err error) {
		last = fmt.Errorf("not deployed, the emulator stays up: %w", err)
		if d.watch {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Not deployed: %v\n", err)
		}
	})
	if err == nil && !d.watch {
		err = last
	}
	return err
}
