package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/docker"
	"github.com/amlocal/amlocal/runner/process"
)

// choice is what a scenario runs on, and why.
type choice struct{ runner, scorer, because string }

// String is the first line a scenario prints.
func (c choice) String() string {
	return fmt.Sprintf("runner=%s scorer=%s because %s", c.runner, c.scorer, c.because)
}

// choose decides on the runner and the scorer: Docker where an engine answers
// and a Python base image is local; else processes, with Python where there is
// one, and our Go scorer where not.
func choose(ctx context.Context, o Options) (choice, error) {
	if o.Remote != nil {
		return chooseRemote(ctx, o)
	}
	c := choice{runner: "process", because: "no container engine with a Python base image answers"}
	switch o.Runner {
	case "", "auto":
		if docker.HasImages(ctx, "", pythonBase) {
			c.runner, c.because = "docker", "a container engine answers"
			return chooseImage(ctx, o, c)
		}
	case "process":
		c.because = "--runner process was asked for"
	case "docker":
		if err := docker.Available(ctx, ""); err != nil {
			return c, fmt.Errorf("--runner docker: no container engine answers: %w", err)
		}
		c.runner, c.because = "docker", "--runner docker was asked for"
		return chooseImage(ctx, o, c)
	default:
		return c, fmt.Errorf("--runner %q: the runners are auto, process and docker", o.Runner)
	}
	scorer, because, err := chooseScorer(ctx, o)
	if err != nil {
		return c, err
	}
	c.scorer, c.because = scorer, c.because+" and "+because
	if scorer == "go" {
		err = goScorerIsThere(o)
	}
	return c, err
}

// chooseRemote goes by the emulator's own runner, which is known. Its images
// are looked for in this machine's engine, most likely its own; a scorer that
// was asked for is taken at its word.
func chooseRemote(ctx context.Context, o Options) (choice, error) {
	c := choice{runner: o.Remote.Runner, because: "the emulator at " + o.Remote.URL() + " has this runner"}
	switch {
	case o.Scorer == "python" || o.Scorer == "go":
		c.scorer, c.because = o.Scorer, c.because+" and --scorer "+o.Scorer+" was asked for"
		return c, nil
	case c.runner == "docker":
		return chooseImage(ctx, o, c)
	}
	return c, fmt.Errorf("what the process runner at %s can run is not known here: say --scorer python or --scorer go", o.Remote.URL())
}

// The images scenarios run in containers: `make base-image` and
// `make sample-image` make them.
const (
	pythonBase = "amlocal/python"
	goImage    = "amlocal/goscorer"
)

// chooseImage chooses the scorer of a scenario whose deployments are containers.
func chooseImage(ctx context.Context, o Options, c choice) (choice, error) {
	python, golang := docker.HasImages(ctx, "", pythonBase), docker.HasImages(ctx, "", goImage)
	switch {
	case o.Scorer != "" && o.Scorer != "auto" && o.Scorer != "python" && o.Scorer != "go":
		return c, fmt.Errorf("--scorer %q: the scorers are auto, python and go", o.Scorer)
	case o.Scorer == "python" && !python:
		return c, fmt.Errorf("--scorer python: the engine has no image %s; `make base-image` makes it", pythonBase)
	case o.Scorer == "go" && !golang:
		return c, fmt.Errorf("--scorer go: the engine has no image %s; `make sample-image` makes it", goImage)
	case o.Scorer == "python" || o.Scorer == "go":
		c.scorer, c.because = o.Scorer, c.because+" and --scorer "+o.Scorer+" was asked for"
	case python:
		c.scorer, c.because = "python", c.because+" and has the image "+pythonBase
	case golang:
		c.scorer, c.because = "go", c.because+" and has no image "+pythonBase
	default:
		return c, fmt.Errorf("--runner docker: the engine has neither %s nor %s; `make base-image` and `make sample-image` make them", pythonBase, goImage)
	}
	return c, nil
}

func chooseScorer(ctx context.Context, o Options) (scorer, because string, err error) {
	switch o.Scorer {
	case "python", "go":
		return o.Scorer, "--scorer " + o.Scorer + " was asked for", nil
	case "", "auto":
	default:
		return "", "", fmt.Errorf("--scorer %q: the scorers are auto, python and go", o.Scorer)
	}
	found, err := findPython(ctx, o.RelaxConda)
	if err != nil {
		return "", "", err
	}
	if found == "" {
		return "go", "there is no Python 3.10 to 3.13 with venv", nil
	}
	if !o.Offline {
		return "python", found + " is there", nil
	}
	failure, err := makeEnvironment(ctx, o)
	switch {
	case err != nil:
		return "", "", err
	case failure != nil:
		return "go", "--offline is set and the scripts' packages are not all in the cache", nil
	}
	return "python", found + " is there and its packages are in the cache", nil
}

// findPython describes an interpreter that can serve the scenario's conda file
// and make environments; "" if there is none.
func findPython(ctx context.Context, anyMinor bool) (string, error) {
	const ask = `import sys, venv, ensurepip; print("%d.%d.%d" % sys.version_info[:3])`
	for _, name := range []string{"python3.13", "python3.12", "python3.11", "python3.10", "python3", "python"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		raw, err := exec.CommandContext(limited, program, "-I", "-c", ask).Output()
		cancel()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		version := strings.TrimSpace(string(raw))
		if err == nil && usable(version, anyMinor) {
			return "Python " + version, nil
		}
	}
	return "", nil
}

func usable(version string, anyMinor bool) bool {
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return false
	}
	return major == 3 && minor >= 10 && (minor <= 13 || anyMinor)
}

// contentRoot is where the samples keep what the scenarios share.
const contentRoot = "endpoints/online"

// makeEnvironment makes the scripts' environment, or finds it in the cache. With
// Offline it is made from the caches alone, which is the only sure way to know
// whether that is possible; failure says why it is not.
func makeEnvironment(ctx context.Context, o Options) (failure *runner.Failure, err error) {
	dir, err := os.MkdirTemp("", "amlocal-scenario-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if err := writeTree(dir, "content"); err != nil {
		return nil, err
	}
	conda, err := condaText(filepath.Join(dir, "content", filepath.FromSlash(contentRoot), "model-1", "environment", "conda-managedidentity.yml"))
	if err != nil {
		return nil, err
	}
	cache := o.CacheDir
	if cache == "" {
		if cache, err = amlocal.DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	backend, err := process.New(process.Config{StateDir: dir, CacheDir: cache, CondaRelax: o.RelaxConda, Offline: o.Offline})
	if err != nil {
		return nil, err
	}
	_, err = backend.Build(ctx, runner.Environment{Image: "any", CondaFile: conda}, true, io.Discard)
	err = errors.Join(err, backend.Close())
	if errors.As(err, &failure) {
		return failure, nil
	}
	return nil, err
}

// goScorerIsThere checks what would otherwise fail in the middle of the flow.
// The emulator looks in the same places.
func goScorerIsThere(o Options) error {
	if o.GoScorer != "" {
		_, err := os.Stat(o.GoScorer)
		return err
	}
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(filepath.Join(filepath.Dir(self), "goscorer")); err == nil && info.Mode().IsRegular() {
			return nil
		}
	}
	if _, err := exec.LookPath("goscorer"); err == nil {
		return nil
	}
	return errors.New("the Go scorer is neither beside this program nor on PATH: `make build` puts both into bin/")
}
