package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/store"
)

func downCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the emulator and every process it started", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.here("down"); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), closeLimit+10*time.Second)
			defer cancel()
			return down(ctx, cmd.OutOrStdout(), g.state)
		},
	}
}

func down(ctx context.Context, out io.Writer, state string) error {
	a, err := amlocal.ReadAccess(state)
	if err == nil {
		if c := newClient(a); c.alive() {
			body, err := c.open(ctx, http.MethodPost, "stop", nil)
			if err != nil {
				return err
			}
			_ = body.Close()
			if err := waitGone(ctx, state, a.PID); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(out, "Stopped.")
			return nil
		}
	}
	// No emulator answers. Whoever holds the folder nevertheless is one that
	// is just starting, or hangs: only then is it asked by a signal.
	release, err := store.Hold(storeOf(state))
	var locked *store.LockedError
	switch {
	case errors.As(err, &locked):
		return stopHolder(ctx, out, state, locked)
	case errors.Is(err, fs.ErrNotExist):
		_, _ = fmt.Fprintln(out, "No emulator is running here.")
		return nil
	case err != nil:
		return err
	}
	message, err := sweep(ctx, state)
	if err = errors.Join(err, release()); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, message)
	return nil
}

func storeOf(state string) string { return filepath.Join(state, "store") }

// sweep ends what an emulator that was killed left running, and only that. The
// folder is held.
func sweep(ctx context.Context, state string) (message string, err error) {
	if err := process.SweepState(ctx, filepath.Join(state, "runner")); err != nil {
		return "", err
	}
	if err := amlocal.SweepContainers(ctx, state); err != nil {
		return "", err
	}
	err = os.Remove(filepath.Join(state, "run.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return "No emulator is running here.", nil
	}
	return "The emulator had been killed; what it left running is ended.", err
}

func stopHolder(ctx context.Context, out io.Writer, state string, holder *store.LockedError) error {
	p, err := os.FindProcess(holder.PID)
	if err == nil && holder.PID > 1 {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil || holder.PID <= 1 {
		return fmt.Errorf("%w, which does not answer; end it by hand", holder)
	}
	if err := waitGone(ctx, state, holder.PID); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "Stopped (process %d did not answer and was ended by a signal).\n", holder.PID)
	return nil
}

// waitGone waits until the emulator has let go of the state, the last thing it
// does.
func waitGone(ctx context.Context, state string, pid int) error {
	for {
		release, err := store.Hold(storeOf(state))
		var locked *store.LockedError
		switch {
		case err == nil:
			return release()
		case errors.Is(err, fs.ErrNotExist): // its state was not to be kept
			return nil
		case !errors.As(err, &locked):
			return err
		case locked.PID != 0 && locked.PID != pid: // somebody else's turn
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the emulator (process %d) did not stop in time", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
