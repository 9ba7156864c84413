package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/runner/docker"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/store"
)

// emulatorFlags are the flags of commands that start an emulator.
type emulatorFlags struct {
	ephemeral       bool
	runner          string
	identityEnv     string
	identityAnswers string
	cloudShell      bool
	deletedTokens   string
	durability      string
	conda           string
	offline         bool
	world           string
	allowHosts      []string
	networkPool     string
	pull            bool
	baseImages      map[string]string
	sandbox         string
	keep            time.Duration
	rbacDelay       time.Duration
	tokenCache      time.Duration
	listen          string // of `up` alone
	kubeAAD         string
	limits          map[string]string
}

func (f *emulatorFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.runner, "runner", "auto", "where deployments run: auto, process or docker")
	flags.StringVar(&f.sandbox, "sandbox", "auto", "namespaces of their own for instances of the process runner: auto (where this machine allows it), on or off")
	flags.DurationVar(&f.keep, "keep-instances", time.Hour, "how long sandboxed instances go on when the emulator was killed, for the next amlocal up to take over")
	flags.StringVar(&f.identityEnv, "identity-env", "both", "identity variables in instances: both, msi or identity")
	flags.StringVar(&f.identityAnswers, "identity-answers", "lenient", "how the managed identity endpoint treats what the real one is known to refuse: lenient or strict")
	flags.BoolVar(&f.cloudShell, "identity-cloud-shell", false, "answer instances that ask the managed identity endpoint without a secret, as Java does with MSI_ENDPOINT alone")
	flags.StringVar(&f.deletedTokens, "deleted-identity-tokens", "valid", "what becomes of the tokens of a deleted principal: valid (until they expire) or refused")
	flags.StringVar(&f.kubeAAD, "kubernetes-aad-token", "creation", "where aad_token is refused for Kubernetes endpoints: creation or scoring")
	flags.StringToStringVar(&f.limits, "limit", nil, "lower a limit of the subscription, NAME=VALUE (repeatable): endpoints, deployments, deployments-per-endpoint, instances, role-assignments, request-timeout, kubernetes-request-timeout; or set one of a managed endpoint that is off otherwise: requests-per-second (500 in Azure), connections (500), bandwidth (5, in megabytes per second)")
	flags.StringVar(&f.durability, "durability", "power", "what an acknowledged write survives: power loss, or the end of the process")
	flags.StringVar(&f.conda, "conda", "strict", "strict refuses a conda file this machine cannot satisfy; relax uses what is there and says what it changed")
	flags.BoolVar(&f.offline, "offline", false, "refuse every host that is not emulated, and package downloads")
	flags.StringVar(&f.world, "world", "", "world file that fills a fresh state folder")
	flags.DurationVar(&f.rbacDelay, "rbac-delay", 0, "how long new and removed role assignments take to be in effect, by the emulator's clock")
	flags.DurationVar(&f.tokenCache, "token-cache", 0, "how long a managed identity is given the same token again, at most 24h; 0: half of the token's day")
	flags.StringVar(&f.networkPool, "network-pool", docker.DefaultNetworkPool, "private range the docker runner cuts deployments' networks from")
	flags.BoolVar(&f.pull, "pull", false, "let the docker runner pull images that are not in the engine")
	flags.StringToStringVar(&f.baseImages, "base-image", nil, "image to build on in the place of another, for the docker runner: NAME=IMAGE, where NAME may end in * (repeatable)")
	flags.StringSliceVar(&f.allowHosts, "allow-host", nil, "host to pass through although it looks like Azure's (repeatable)")
}

func (f *emulatorFlags) config(state string, port int) (amlocal.Config, error) {
	c := amlocal.Config{
		StateDir: state, Ephemeral: f.ephemeral, Port: port, Listen: f.listen, Runner: f.runner,
		IdentityEnv: machinelearning.IdentityEnv(f.identityEnv), Offline: f.offline, World: f.world, AllowHosts: f.allowHosts,
		Sandbox: process.SandboxMode(f.sandbox), SandboxAgent: "/proc/self/exe", KeepInstances: f.keep,
		Logf: logf, NetworkPool: f.networkPool, Pull: f.pull, BaseImages: f.baseImages, RBACDelay: f.rbacDelay, TokenCache: f.tokenCache,
		IdentityAnswers: f.identityAnswers, CloudShell: f.cloudShell, DeletedTokens: f.deletedTokens,
		KubernetesAAD: machinelearning.AADRefusal(f.kubeAAD),
	}
	var err error
	if c.Limits, err = amlocal.ParseLimits(f.limits); err != nil {
		return c, err
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
		return fmt.Errorf("the state folder %s is in use by %s; `amlocal down%s` ends it, or choose another folder with --state",
			state, holderName(locked.PID), stateFlag(state))
	}
	return err
}

func holderName(pid int) string {
	if pid == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}

// stateFlag is what a command line needs to find the state folder from here.
func stateFlag(state string) string {
	def, err := filepath.Abs(amlocal.DefaultStateDir)
	if abs, absErr := filepath.Abs(state); err == nil && absErr == nil && abs == def {
		return ""
	}
	return " --state " + shellWord(state)
}

// shellWord is a word of a command line to copy: quoted only where it must.
func shellWord(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%", r)
	}) {
		return shellQuote(s)
	}
	return s
}
