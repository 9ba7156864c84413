package amlocal

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/store"
)

// DefaultPort is the port `amlocal up` listens on.
const DefaultPort = 4390

// DefaultStateDir is where state lives unless told otherwise.
const DefaultStateDir = ".amlocal"

// Config says what kind of emulator to make. The zero value keeps its state in
// DefaultStateDir and listens on a free port.
type Config struct {
	// StateDir holds everything that outlives the process. With Ephemeral
	// it is ignored: a private folder is made and removed at Close.
	StateDir  string
	Ephemeral bool
	// Port on loopback; 0 takes a free one.
	Port int
	// Listen is the address to listen on; empty: 127.0.0.1. Another is for an
	// emulator in a container, whose port the engine publishes: whoever reaches
	// it may use the proxy.
	Listen string
	// Runner is "process", "docker", or "auto": docker where an engine answers
	// and has a Python base image. Empty is process.
	Runner string
	// NetworkPool is the private range containers' networks are cut from;
	// empty: docker.DefaultNetworkPool.
	NetworkPool string
	// Pull lets the docker runner pull images that are not in the engine.
	Pull bool
	// BaseImages are images the docker runner builds on in the place of
	// others; a name may end in "*".
	BaseImages map[string]string
	// AgentBinary is a static Linux program to run as the agent of the docker
	// runner; empty: this one.
	AgentBinary string
	// Sandbox says whether the process runner gives instances namespaces of
	// their own: auto, where the machine allows it; on; off. Empty is auto.
	// SandboxAgent is a program that calls SandboxAgent before anything else,
	// "/proc/self/exe" where this one does; without it there is no sandbox.
	Sandbox      process.SandboxMode
	SandboxAgent string
	// KeepInstances is how long sandboxed instances go on when the emulator was
	// killed; the next one of the same state folder takes them over. 0 is a
	// minute, as is whatever is asked for with Ephemeral: nobody will come.
	KeepInstances time.Duration
	// IdentityEnv is the pair of managed identity variables instances get.
	IdentityEnv machinelearning.IdentityEnv
	// KubernetesAAD is where aad_token is refused for Kubernetes endpoints.
	KubernetesAAD machinelearning.AADRefusal
	// Limits of the subscription; zero fields are Azure's published ones.
	Limits Limits
	// Durability of acknowledged writes; ephemeral state never syncs.
	Durability store.Durability
	// Offline refuses hosts that are not emulated, and package downloads.
	Offline bool
	// World is a world file applied to a fresh state folder; WorldFiles is
	// where its blobs' files are found, by default the world file's folder.
	World      string
	WorldFiles string
	// CacheDir holds Python environments, shared between state folders.
	// Default: $AMLOCAL_CACHE, else the user's cache folder.
	CacheDir string
	// CADir holds the user's certificate authority.
	// Default: $XDG_DATA_HOME/amlocal/ca.
	CADir string
	// RelaxConda lets a conda file's Python version give way to one that is
	// there, saying so in the deployment's log.
	RelaxConda bool
	// AllowHosts are passed although they look like Azure's.
	AllowHosts []string
	// Clock is the time of day; nil: one that SetClock adjusts, as the state
	// folder remembers it.
	Clock clock.Clock
	// RBACDelay is how long new and removed role assignments take to be in
	// effect; 0: none.
	RBACDelay time.Duration
	// TokenCache is how long a managed identity is given the same token again,
	// and with it the groups it was in when the token was issued. 0: half of
	// the token's day, and memberships count at once.
	TokenCache time.Duration
	// DeletedTokens says what becomes of the tokens of a deleted principal:
	// valid (until they expire) or refused. Empty is valid.
	DeletedTokens string
	// IdentityAnswers says how the managed identity endpoint of deployments
	// treats what the real one is known to refuse: lenient or strict. Empty is
	// lenient; the package comment of msi says what differs.
	IdentityAnswers string
	// CloudShell answers instances that ask the managed identity endpoint
	// without a secret, in the dialect of Cloud Shell, which is all that Java
	// knows of MSI_ENDPOINT. Only sandboxes and containers are known by where
	// they ask from.
	CloudShell bool
	// Logf receives the emulator's own events; nil drops them.
	Logf func(format string, args ...any)

	// sabotage breaks checks on purpose; only this module's tests reach it.
	sabotage sabotage
}

func (c Config) withDefaults() (Config, error) {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	if c.RBACDelay < 0 || c.TokenCache < 0 || c.TokenCache > entra.MaxTokenCache {
		return c, fmt.Errorf("the delay of roles (%s) and the token cache (%s) cannot be negative, nor the cache longer than a token lives, %s", c.RBACDelay, c.TokenCache, entra.MaxTokenCache)
	}
	if c.Port < 0 || c.Port > 65535 {
		return c, fmt.Errorf("port %d is not a port number", c.Port)
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1"
	}
	// Its own clients go to 127.0.0.1, whatever else it listens on.
	if ip, err := netip.ParseAddr(c.Listen); err != nil || ip != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && !ip.IsUnspecified() {
		return c, fmt.Errorf("--listen %q: it takes 127.0.0.1, or 0.0.0.0 or :: for all addresses", c.Listen)
	}
	switch c.Runner {
	case "":
		c.Runner = "process"
	case "auto", "process", "docker":
	default:
		return c, fmt.Errorf("--runner %q: the runners are auto, process and docker", c.Runner)
	}
	switch c.Sandbox {
	case "":
		c.Sandbox = process.SandboxAuto
	case process.SandboxAuto, process.SandboxOn, process.SandboxOff:
	default:
		return c, fmt.Errorf("--sandbox %q: the settings are auto, on and off", c.Sandbox)
	}
	switch c.IdentityEnv {
	case "":
		c.IdentityEnv = machinelearning.IdentityBoth
	case machinelearning.IdentityBoth, machinelearning.IdentityMSI, machinelearning.IdentityApp:
	default:
		return c, fmt.Errorf("--identity-env %q: the settings are both, msi and identity", c.IdentityEnv)
	}
	if c.KeepInstances < 0 {
		return c, fmt.Errorf("--keep-instances %s: a time cannot be negative", c.KeepInstances)
	}
	if c.Ephemeral {
		c.KeepInstances = 0
	}
	switch c.KubernetesAAD {
	case "":
		c.KubernetesAAD = machinelearning.RefuseAtCreation
	case machinelearning.RefuseAtCreation, machinelearning.RefuseAtScoring:
	default:
		return c, fmt.Errorf("--kubernetes-aad-token %q: the settings are creation and scoring", c.KubernetesAAD)
	}
	switch c.DeletedTokens {
	case "", "valid", "refused":
	default:
		return c, fmt.Errorf("--deleted-identity-tokens %q: the settings are valid and refused", c.DeletedTokens)
	}
	switch c.IdentityAnswers {
	case "", "lenient", "strict":
	default:
		return c, fmt.Errorf("--identity-answers %q: the settings are lenient and strict", c.IdentityAnswers)
	}
	var err error
	if c.CacheDir == "" {
		if c.CacheDir, err = DefaultCacheDir(); err != nil {
			return c, err
		}
	}
	if c.CADir == "" {
		if c.CADir, err = defaultCADir(); err != nil {
			return c, err
		}
	}
	if c.StateDir, err = filepath.Abs(c.StateDir); err != nil {
		return c, err
	}
	if c.World != "" && c.WorldFiles == "" {
		c.WorldFiles = filepath.Dir(c.World)
	}
	return c, nil
}

// DefaultCacheDir is where Python environments are kept unless told otherwise:
// $AMLOCAL_CACHE, else a folder in the user's cache.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv("AMLOCAL_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for Python environments (set AMLOCAL_CACHE): %w", err)
	}
	return filepath.Join(dir, "amlocal"), nil
}

func defaultCADir() (string, error) { return dataDir("ca") }

// dataDir is a folder of ours among the user's data.
func dataDir(name string) (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "amlocal", name), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the user's files (set XDG_DATA_HOME): %w", err)
	}
	return filepath.Join(home, ".local", "share", "amlocal", name), nil
}
