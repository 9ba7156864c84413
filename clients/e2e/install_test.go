package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
)

// uvVersion is the installer of the Python clients; it is quick and takes the
// same requirements files as pip.
const uvVersion = "0.13.9"

// installed remembers, by folder, what happened in this process.
var installed sync.Map

// install fills .cache/clients/NAME by the steps, unless an earlier run did so
// from the same files. The folder is made new each time: a half-made one is
// never used. lacks, if not empty, says what the machine is missing.
func install(t *testing.T, name, lacks string, from []string, steps func(dir string) []*exec.Cmd) string {
	t.Helper()
	if lacks != "" {
		covers.NotRun(t, name, lacks)
	}
	once, _ := installed.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		return makeFolder(t.Context(), name, from, steps)
	}))
	dir, err := once.(func() (string, error))()
	if err != nil {
		covers.NotRun(t, name, "cannot be installed: "+err.Error())
	}
	return dir
}

func makeFolder(ctx context.Context, name string, from []string, steps func(dir string) []*exec.Cmd) (string, error) {
	dir := filepath.Join(cacheDir(), "clients", name)
	want := sha256.New()
	for _, path := range from {
		raw, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(want, "%s %d\n%s", filepath.Base(path), len(raw), raw)
	}
	stamp, sum := filepath.Join(dir, ".installed-from"), hex.EncodeToString(want.Sum(nil))
	if have, err := os.ReadFile(stamp); err == nil && string(have) == sum {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for i := range steps(dir) {
		// A step can be repeated, and what it fetches may come another time.
		for pause := time.Second; ; pause *= 5 {
			cmd := steps(dir)[i]
			if cmd.Dir == "" {
				cmd.Dir = dir
			}
			out, err := cmd.CombinedOutput()
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if err == nil {
				break
			}
			if pause > 5*time.Second {
				return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, lastLines(string(out), 3))
			}
			time.Sleep(pause)
		}
	}
	return dir, os.WriteFile(stamp, []byte(sum), 0o644)
}

// python installs a client folder's requirements.txt into an environment of
// its own and answers the folder of its programs.
func python(t *testing.T, client string) string {
	t.Helper()
	lacks := ""
	if out, err := exec.Command("python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))").CombinedOutput(); err != nil {
		lacks = "needs Python 3.10 or later with venv: " + lastLines(string(out), 1)
	}
	uv := filepath.Join(install(t, "uv", lacks, nil, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.Command("python3", "-m", "venv", "."),
			exec.Command(filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv=="+uvVersion),
		}
	}), "bin", "uv")
	pins := filepath.Join(clientsDir(), client, "requirements.txt")
	dir := install(t, client, "", []string{pins}, func(dir string) []*exec.Cmd {
		into := filepath.Join(dir, "venv")
		cmds := []*exec.Cmd{
			exec.Command(uv, "venv", "--quiet", "--no-config", "--no-project", "--no-python-downloads", "--python", "python3", into),
			exec.Command(uv, "pip", "install", "--quiet", "--no-config", "--compile-bytecode", "--python", filepath.Join(into, "bin", "python"), "-r", pins),
		}
		for _, cmd := range cmds {
			cmd.Env = append(os.Environ(), "UV_CACHE_DIR="+filepath.Join(cacheDir(), "clients", "uv-cache"))
		}
		return cmds
	})
	return filepath.Join(dir, "venv", "bin")
}

// lacksProgram says that a program is not on PATH.
func lacksProgram(names ...string) string {
	for _, name := range names {
		if _, err := exec.LookPath(name); errors.Is(err, exec.ErrNotFound) {
			return name + " is not on PATH"
		}
	}
	return ""
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// clientsDir is the folder the scripts are in; tests run in clients/e2e.
func clientsDir() string { return rooted("clients") }

func cacheDir() string { return rooted(".cache") }

func rooted(elem string) string {
	dir, err := filepath.Abs(filepath.Join("..", "..", elem))
	if err != nil {
		panic(err) // there is no working directory
	}
	return dir
}
