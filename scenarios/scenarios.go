package scenarios

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/runner/process"
)

// Scenario is one flow.
type Scenario struct {
	Name string
	// Title says in one line what happens.
	Title string

	endpointFile, deploymentFile string
	account                      string
	identity                     string // of the user-assigned identity; "" for a system-assigned one
}

// readsBlob tells the how-to's flows from the one about secrets.
func (s Scenario) readsBlob() bool { return s.account != "" }

// List names the scenarios there are.
func List() []Scenario {
	return []Scenario{
		{
			Name: "sai", Title: "a script reads a blob with its endpoint's system-assigned identity",
			endpointFile: "1-sai-create-endpoint.yml", deploymentFile: "2-sai-deployment.yml",
			account: "saidemostorage",
		},
		{
			Name: "uai", Title: "a script reads a blob with a user-assigned identity",
			endpointFile: "1-uai-create-endpoint.yml", deploymentFile: "2-uai-deployment.yml",
			account: "uaidemostorage", identity: "my-uai",
		},
		{Name: "secrets", Title: "secrets of a connection and of a key vault in environment variables, read with either identity"},
	}
}

// Options say how a scenario is run. The zero value chooses by itself.
type Options struct {
	// Runner is "auto", "process" or "docker".
	Runner string
	// Scorer is "auto", "python" or "go": what runs in the deployments.
	Scorer string
	// Variant is the Python script: "managedidentity" (REST, then SDK),
	// "rest" or "sdk".
	Variant string
	// IdentityEnv are the identity variables instances get.
	IdentityEnv machinelearning.IdentityEnv
	// Offline forbids every way out of this machine.
	Offline bool
	// RelaxConda lets another Python serve than the conda file asks for.
	RelaxConda bool
	// Sandbox and SandboxAgent are the emulator's.
	Sandbox      process.SandboxMode
	SandboxAgent string
	// CacheDir and CADir default to the emulator's own.
	CacheDir, CADir string
	// GoScorer is the Go scorer's program; by default it is looked for
	// beside this program, then on PATH.
	GoScorer string
	// Remote is an emulator that runs already, somewhere else: the scenario
	// is played on it. Its settings are its own; of the ones above only
	// Scorer and Variant count.
	Remote *amlocal.Access
	// AgentBinary is the program that becomes the docker runner's agent; by
	// default this one.
	AgentBinary string
	// Out receives what happens; nil drops it.
	Out io.Writer
	// Logf receives the emulator's own events; nil drops them.
	Logf func(format string, args ...any)
}

// scripts are the Python variants.
var scripts = map[string]string{
	"managedidentity": "score_managedidentity.py",
	"rest":            "score_rest.py",
	"sdk":             "score_sdk.py",
}

func (o Options) withDefaults() (Options, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Variant == "" {
		o.Variant = "managedidentity"
	}
	if scripts[o.Variant] == "" {
		return o, fmt.Errorf("variant %q: the variants are managedidentity, rest and sdk", o.Variant)
	}
	return o, nil
}

func find(name string) (Scenario, error) {
	var names []string
	for _, s := range List() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(names, " and "))
}

// Run plays a scenario on an emulator that lives as long as the scenario, or on
// the one there is. The error says which step went otherwise than it should.
func Run(ctx context.Context, name string, options Options) (err error) {
	scenario, err := find(name)
	if err != nil {
		return err
	}
	if options, err = options.withDefaults(); err != nil {
		return err
	}
	chosen, err := choose(ctx, options)
	if err != nil {
		return err
	}
	options.Runner = chosen.runner
	out := newReport(options.Out)
	out.line("%s", chosen)
	s, err := begin(ctx, scenario.Name, options, out)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	s.announce()
	play := (&flow{session: s, scenario: scenario, scorer: chosen.scorer, variant: options.Variant, blue: "blue", green: "green"}).play
	if !scenario.readsBlob() {
		play = (&secretsFlow{session: s, scorer: chosen.scorer}).play
	}
	if err := play(ctx); err != nil {
		return fmt.Errorf("scenario %s: %w", name, err)
	}
	requests, busy, err := s.spent(ctx)
	if err != nil {
		return err
	}
	out.line("ok: scenario %s in %s, of which the emulator itself took %s answering %d requests", name, seconds(out.total()), milliseconds(busy), requests)
	return nil
}
