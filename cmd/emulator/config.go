package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/store"
)

// emulatorFlags are the flags of commands that start an emulator.
type emulatorFlags struct {
	ephemeral   bool
	runner      string
	identityEnv string
	durability  string
	conda       string
	offline     bool
	world       string
	allowHosts  []string
}

func (f *emulatorFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.runner, "runner", "auto", "where deployments run: auto, process or docker")
	flags.StringVar(&f.identityEnv, "identity-env", "both", "identity variables in instances: both, msi or identity")
	flags.StringVar(&f.durability, "durability", "power", "what an acknowledged write survives: power loss, or the end of the process")
	flags.StringVar(&f.conda, "conda", "strict", "strict refuses a conda file this machine cannot satisfy; relax uses what is there and says what it changed")
	flags.BoolVar(&f.offline, "offline", false, "refuse every host that is not emulated, and package downloads")
	flags.StringVar(&f.world, "world", "", "world file that fills a fresh state folder")
	flags.StringSliceVar(&f.allowHosts, "allow-host", nil, "host to pass through although it looks like Azure's (repeatable)")
}

func (f *emulatorFlags) config(state string, port int) (amlocal.Config, error) {
	c := amlocal.Config{
		StateDir: state, Ephemeral: f.ephemeral, Port: port, Runner: f.runner,
		IdentityEnv: machinelearning.IdentityEnv(f.identityEnv), Offline: f.offline, World: f.world, AllowHosts: f.allowHosts,
		Logf: logf,
	}
	switch f.durability {
	case "power":
		c.Durability = store.Power
	case "process":
		c.Durability = store.Process
	default:
		return c, fmt.Errorf("--durability %q: the settings are power and process", f.durability)
	}
	switch f.conda {
	case "strict":
	case "relax":
		c.RelaxConda = true
	default:
		return c, fmt.Errorf("--conda %q: the settings are strict and relax", f.conda)
	}
	if f.world != "" {
		abs, err := filepath.Abs(f.world)
		if err != nil {
			return c, err
		}
		c.World = abs
	}
	return c, nil
}

// logf writes the emulator's own events to stderr.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().UTC().Format("2006-01-02T15:04:05.000Z ")+format+"\n", args...)
}

// explainLocked adds what to do about a state folder that is in use.
func explainLocked(err error, state string) error {
	var locked *store.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("%w; `amlocal down --state %s` ends that emulator, or choose another folder with --state", err, state)
	}
	return err
}
