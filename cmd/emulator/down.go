package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/runner/process"
)

func downCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the emulator and every process it started", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), closeLimit+10*time.Second)
			defer cancel()
			a, err := amlocal.ReadAccess(g.state)
			if errors.Is(err, amlocal.ErrNotRunning) {
				return sweep(ctx, cmd, g.state, "No emulator is running here.")
			}
			if err != nil {
				return err
			}
			c := newClient(a)
			if !c.alive() {
				if err := os.Remove(filepath.Join(g.state, "run.json")); err != nil {
					return err
				}
				return sweep(ctx, cmd, g.state, fmt.Sprintf("The emulator (process %d) had ended without cleaning up.", a.PID))
			}
			body, err := c.open(ctx, http.MethodPost, "stop", nil)
			if err != nil {
				return err
			}
			_ = body.Close()
			if err := waitGone(ctx, g.state); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), "Stopped.")
			return nil
		},
	}
}

// sweep ends what an emulator that was killed left running, and only that.
func sweep(ctx context.Context, cmd *cobra.Command, state, message string) error {
	if _, err := os.Stat(state); err == nil {
		if err := process.SweepState(ctx, filepath.Join(state, "runner")); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), message)
	return nil
}

// waitGone waits until the emulator has taken its record away, which is the
// last thing it does before it lets go of the state.
func waitGone(ctx context.Context, state string) error {
	for {
		if _, err := amlocal.ReadAccess(state); errors.Is(err, amlocal.ErrNotRunning) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the emulator did not stop in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
