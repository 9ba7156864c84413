package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/conda"
)

// Config is what a Builder needs.
type Config struct {
	// Engine is where images are.
	Engine Engine
	// BaseImages says which image stands for another as base of environments
	// with a script or a conda file. A name may end in "*". What it names wins
	// even where the original is there; names it does not have follow the
	// package's own rule for mcr.microsoft.com/azureml/*.
	BaseImages map[string]string
	// Pull lets the engine fetch images it does not have.
	Pull bool
	// Offline builds and pulls nothing; what is in the engine is used.
	Offline bool
	// RelaxConda takes the base's Python whatever the conda file asks for, and
	// leaves out what pip cannot install, and says so, instead of refusing.
	RelaxConda bool
	// Environ is the host's environment, for how packages are reached; nil is
	// the process's own.
	Environ []string
	// OwnProxy is the emulator's own proxy as host:port. Builds never use it.
	OwnProxy string
	// Clock is for progress lines; nil is the machine's.
	Clock clock.Clock
}

// Builder gives environments their images.
type Builder struct {
	cfg Config

	mu      sync.Mutex
	flights map[string]*flight // by tag, of builds under way
}

// flight is one build that others may wait for.
type flight struct {
	done chan struct{}
	err  error
}

// New makes a Builder; it asks the engine nothing yet.
func New(cfg Config) (*Builder, error) {
	if cfg.Engine == nil {
		return nil, errors.New("images: an engine is needed")
	}
	for from, to := range cfg.BaseImages {
		if err := checkReference(strings.TrimSuffix(from, "*") + "x"); err != nil {
			return nil, fmt.Errorf("images: --base-image: %w", err)
		}
		if err := checkReference(to); err != nil {
			return nil, fmt.Errorf("images: --base-image: %w", err)
		}
	}
	cfg.BaseImages = maps.Clone(cfg.BaseImages)
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	return &Builder{cfg: cfg, flights: map[string]*flight{}}, nil
}

// Ensure returns the name of an image for env that is in the engine when it
// returns. script says that the inference server must be in it. Progress goes
// to log in whole lines. What the user can mend is a *runner.Failure.
func (b *Builder) Ensure(ctx context.Context, env runner.Environment, script bool, log io.Writer) (string, error) {
	say := func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) }
	if env.Context != "" {
		return b.fromContext(ctx, env, say, log)
	}
	if env.Image == "" {
		return "", imageFailed("the environment names no image")
	}
	if err := checkReference(env.Image); err != nil {
		return "", imageFailed("%s", err)
	}
	hasConda := strings.TrimSpace(env.CondaFile) != ""
	if !hasConda && !script {
		if _, err := b.present(ctx, env.Image, say, log); err != nil {
			return "", err
		}
		say("Image %s is used as it is", env.Image)
		return env.Image, nil
	}

	file := &conda.Environment{}
	if hasConda {
		var err error
		if file, err = b.parse(env.CondaFile); err != nil {
			return "", err
		}
	}
	from, err := b.base(ctx, env.Image, pythonWish(file, env.Image), say, log)
	if err != nil {
		return "", err
	}
	if !hasConda && !from.standIn && from.labels[pythonLabel] == "" {
		say("Image %s is used as it is: there is no conda file, so it must bring the inference server itself", env.Image)
		return env.Image, nil
	}
	if hasConda {
		say("Conda file %q is translated for pip; conda itself is not used", file.Name)
	}
	for _, note := range file.Notes {
		say("Difference: %s", note)
	}
	r := recipe{Base: from, Requirements: file.Requirements, Variables: file.Variables, Script: script}
	if script && !provides(r.Requirements, server) && !provides(r.Requirements, "azureml-defaults") {
		r.Requirements = append(r.Requirements[:len(r.Requirements):len(r.Requirements)], server)
		say("Difference: %s is added, as the base image %s is expected to bring it", server, env.Image)
	}
	if err := r.check(); err != nil {
		return "", err
	}
	return b.environment(ctx, r, pythonWish(file, env.Image), say, log)
}

// environment returns the recipe's image, built now if need be.
func (b *Builder) environment(ctx context.Context, r recipe, wish wish, say sayer, log io.Writer) (string, error) {
	tag := "amlocal/env:" + r.key()
	// Made with --conda=relax perhaps, and asked for without now.
	check := func(have *found) error { return b.fits(wish, have.labels[pythonLabel], r.Base.name, say) }
	return b.shared(ctx, tag, say, check, func() error { return b.make(ctx, tag, r, wish, say, log) })
}

// shared answers tag once the engine has it, building it if need be; check, if
// any, may refuse the one it has. Of several that ask for the same at once one
// builds and the others wait.
func (b *Builder) shared(ctx context.Context, tag string, say sayer, check func(*found) error, build func() error) (string, error) {
	for {
		have, err := b.inspect(ctx, tag)
		switch {
		case err != nil:
			return "", err
		case have != nil:
			if check != nil {
				if err := check(have); err != nil {
					return "", err
				}
			}
			say("Environment image %s is in the engine", tag)
			return tag, nil
		}
		b.mu.Lock()
		under, others := b.flights[tag]
		if !others {
			under = &flight{done: make(chan struct{})}
			b.flights[tag] = under
		}
		b.mu.Unlock()
		if !others {
			under.err = build()
			b.mu.Lock()
			delete(b.flights, tag)
			b.mu.Unlock()
			close(under.done)
			if under.err != nil {
				return "", under.err
			}
			return tag, nil
		}
		say("Environment image %s is being built for another deployment; waiting", tag)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-under.done:
		}
		// The same recipe fails the same way. Anything else, such as the
		// builder's deployment being deleted, says nothing about ours.
		var failure *runner.Failure
		if errors.As(under.err, &failure) {
			return "", under.err
		}
	}
}

// parse reads a conda file as strictly as configured.
func (b *Builder) parse(text string) (*conda.Environment, error) {
	var options []conda.Option
	if b.cfg.RelaxConda {
		options = append(options, conda.Relax)
	}
	file, err := conda.Parse(text, options...)
	if err == nil {
		return file, nil
	}
	message := err.Error()
	var unsupported *conda.UnsupportedError
	if errors.As(err, &unsupported) && !b.cfg.RelaxConda {
		message += " (--conda=relax leaves out what is no Python package)"
	}
	return nil, &runner.Failure{Kind: runner.BuildFailed, Message: message, Cause: err}
}

// found is an image in the engine.
type found struct {
	name, id         string
	os, architecture string
	labels           map[string]string
	env              []string
	// standIn says that it is not what the environment names.
	standIn bool
}

// ours says that it was made on this machine, for this machine.
func (f *found) ours() bool { return strings.HasPrefix(f.name, baseRepository+":") }

// inspect looks an image up; nil without error if it is not there.
func (b *Builder) inspect(ctx context.Context, name string) (*found, error) {
	got, err := b.cfg.Engine.ImageInspect(ctx, name)
	switch {
	case err == nil:
		f := &found{name: name, id: got.ID, os: got.Os, architecture: got.Architecture}
		if got.Config != nil {
			f.labels, f.env = got.Config.Labels, got.Config.Env
		}
		return f, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case cerrdefs.IsNotFound(err):
		return nil, nil
	case cerrdefs.IsInvalidArgument(err):
		return nil, imageFailed("the container engine refuses the image name %q: %v", name, err)
	default:
		return nil, fmt.Errorf("images: look up %s: %w", name, err)
	}
}

// present returns an image that must be the very one named, pulled if need be
// and allowed, and of an architecture the engine runs.
func (b *Builder) present(ctx context.Context, name string, say sayer, log io.Writer) (*found, error) {
	have, err := b.inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	if have == nil {
		switch {
		case b.cfg.Pull && b.cfg.Offline:
			return nil, imageFailed("image %s is not in the container engine, and --offline is set", name)
		case b.cfg.Pull:
			if have, err = b.pull(ctx, name, say, log); err != nil {
				return nil, err
			}
		default:
			return nil, imageFailed("image %s is not in the container engine; put it there with docker build, docker load or docker pull, "+
				"or start the emulator with --pull to have it fetched", name)
		}
	}
	return have, b.runnable(ctx, have, say)
}

// runnable refuses an image for another system or processor, which would end
// with "exec format error" and nothing else.
func (b *Builder) runnable(ctx context.Context, have *found, say sayer) error {
	engine, err := b.cfg.Engine.ServerVersion(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("images: ask the container engine: %w", err)
	}
	if have.os != "" && engine.Os != "" && have.os != engine.Os {
		return imageFailed("image %s is for %s, and the container engine runs %s", have.name, have.os, engine.Os)
	}
	switch {
	case have.architecture == "" || engine.Arch == "" || have.architecture == engine.Arch:
	case strings.Contains(engine.Platform.Name, "Docker Desktop"): // it brings emulation
		say("Image %s is for %s and runs emulated on %s: expect it to be slow", have.name, have.architecture, engine.Arch)
	default:
		return imageFailed("image %s is for %s/%s, and the container engine runs %s/%s; build it with docker build --platform %s/%s",
			have.name, have.os, have.architecture, engine.Os, engine.Arch, engine.Os, engine.Arch)
	}
	if have.architecture != "" && have.architecture != azureArch && !have.ours() {
		say("Difference: image %s is for %s; Azure runs %s only", have.name, have.architecture, azureArch)
	}
	return nil
}

// azureArch is the processor of managed endpoints' machines.
const azureArch = "amd64"

// checkReference keeps what is no image name from the engine's URLs.
func checkReference(name string) error {
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return fmt.Errorf("%q is not the name of an image: %w", name, err)
	}
	return nil
}

type sayer func(format string, args ...any)

func imageFailed(format string, args ...any) *runner.Failure {
	return &runner.Failure{Kind: runner.ImageFailed, Message: fmt.Sprintf(format, args...)}
}

func buildFailed(format string, args ...any) *runner.Failure {
	return &runner.Failure{Kind: runner.BuildFailed, Message: fmt.Sprintf(format, args...)}
}
