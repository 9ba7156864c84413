package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/conda"
)

// server is the package that serves scoring scripts; azureml-defaults and
// azureml-inference-server-http both bring it.
const server = "azureml-inference-server-http"

// environment makes the virtual environment and returns its interpreter and
// the variables its activation sets.
func (b *Backend) environment(ctx context.Context, env runner.Environment, say func(string, ...any)) (string, map[string]string, error) {
	file := &conda.Environment{}
	if strings.TrimSpace(env.CondaFile) != "" {
		var options []conda.Option
		if b.cfg.CondaRelax {
			options = append(options, conda.Relax)
		}
		var err error
		if file, err = conda.Parse(env.CondaFile, options...); err != nil {
			message := err.Error()
			var unsupported *conda.UnsupportedError
			if errors.As(err, &unsupported) && !b.cfg.CondaRelax {
				message += " (--conda=relax leaves out what is no Python package)"
			}
			return "", nil, &runner.Failure{Kind: runner.BuildFailed, Message: message, Cause: err}
		}
		say("Conda file %q is translated for pip; conda itself is not used", file.Name)
	} else {
		say("Image %s is not used by the process runner: only the inference server is installed, not the image's own packages", env.Image)
	}
	for _, note := range file.Notes {
		say("Difference: %s", note)
	}
	requirements := file.Requirements
	if !provides(requirements, server) && !provides(requirements, "azureml-defaults") {
		requirements = append(slices.Clone(requirements), server)
		say("Difference: %s is added, as the base image %s is expected to bring it", server, env.Image)
	}
	py, err := b.choosePython(ctx, file.Python, env.Image, say)
	if err != nil {
		return "", nil, err
	}
	dir, err := b.venv(ctx, py, requirements, say)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "bin", "python"), file.Variables, nil
}

var imagePython = regexp.MustCompile(`(?:py|python)3\.?(1[0-9])\b`)

// choosePython obeys the conda file, else the version a curated image's name
// carries, else takes what is there.
func (b *Backend) choosePython(ctx context.Context, wish conda.Python, image string, say func(string, ...any)) (python, error) {
	asked := "Python " + wish.Text
	if wish.Text == "" {
		if m := imagePython.FindStringSubmatch(image); m != nil {
			implied, err := conda.Parse("dependencies: [python=3." + m[1] + "]")
			if err == nil {
				wish, asked = implied.Python, "Python 3."+m[1]+" (from the image's name)"
			}
		} else {
			asked = "Python 3.10 or newer"
		}
	}
	py, found, ok := b.findPython(ctx, wish)
	if err := ctx.Err(); err != nil {
		return python{}, err
	}
	if ok {
		say("Python: %s", py)
		return py, nil
	}
	if b.cfg.CondaRelax && len(found) > 0 {
		py, _, _ = b.findPython(ctx, conda.Python{})
		say("Difference: %s is asked for, Python %s is used (--conda=relax)", asked, py)
		return py, nil
	}
	return python{}, buildFailed("%s is asked for, but %s; install it, or use --conda=relax to take another", asked, describe(found))
}

var (
	nameOf     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*`)
	separators = regexp.MustCompile(`[-_.]+`)
)

// normal is a package name as indexes compare it.
func normal(name string) string {
	return separators.ReplaceAllString(strings.ToLower(name), "-")
}

func provides(requirements []string, name string) bool {
	for _, r := range requirements {
		if normal(nameOf.FindString(r)) == name {
			return true
		}
	}
	return false
}

// venv returns the folder of a complete virtual environment for these
// requirements, made now if need be. A virtual environment cannot be moved, so
// it is made in place, under a lock, and counts only with its marker.
func (b *Backend) venv(ctx context.Context, py python, requirements []string, say func(string, ...any)) (string, error) {
	key := sha256.New()
	fmt.Fprintf(key, "2\n%s %s\n%v %s\n", runtime.GOOS, runtime.GOARCH, py.Version, py.Path)
	sorted := slices.Clone(requirements)
	slices.SortStableFunc(sorted, func(a, b string) int {
		if strings.HasPrefix(a, "-") || strings.HasPrefix(b, "-") {
			return 0 // the order of indexes matters
		}
		return strings.Compare(a, b)
	})
	fmt.Fprintln(key, strings.Join(sorted, "\n"))
	id := hex.EncodeToString(key.Sum(nil)[:8])
	dir := filepath.Join(b.cfg.CacheDir, "venvs", id)
	marker := filepath.Join(dir, ".complete")
	if exists(marker) && exists(filepath.Join(dir, "bin", "python")) {
		say("Environment %s is in the cache", id)
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("process: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(b.cfg.CacheDir, "venvs", id+".lock"))
	if err != nil {
		return "", fmt.Errorf("process: lock the environment: %w", err)
	}
	defer unlock()
	if exists(marker) && exists(filepath.Join(dir, "bin", "python")) { // made by another meanwhile
		say("Environment %s is in the cache", id)
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("process: remove a half-made environment: %w", err)
	}
	say("Installing for Python %s: %s", py.minor(), strings.Join(requirements, ", "))
	began := b.cfg.Clock.Now()
	list := filepath.Join(b.cfg.CacheDir, "venvs", id+".txt")
	if err := os.WriteFile(list, []byte(strings.Join(requirements, "\n")+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("process: %w", err)
	}
	defer func() { _ = os.Remove(list) }()
	if err := b.install(ctx, py, dir, list, requirements); err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	if err := os.WriteFile(marker, []byte(strings.Join(requirements, "\n")+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("process: %w", err)
	}
	say("Environment %s is ready after %s s", id, strconv.FormatFloat(b.cfg.Clock.Now().Sub(began).Seconds(), 'f', 1, 64))
	return dir, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
