package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/amlocal/amlocal/runner/conda"
)

// The minors the inference server has wheels for; older ones are not offered.
const oldestMinor, newestMinor = 10, 14

// python is an interpreter found on this machine.
type python struct {
	Path    string `json:"path"`
	Version [3]int `json:"version"`
}

func (p python) minor() string { return fmt.Sprintf("%d.%d", p.Version[0], p.Version[1]) }

func (p python) String() string {
	return fmt.Sprintf("%d.%d.%d (%s)", p.Version[0], p.Version[1], p.Version[2], p.Path)
}

// inspect is run by a candidate: it answers for the interpreter behind shims,
// links and virtual environments.
const inspect = `import json, sys
print(json.dumps({"path": getattr(sys, "_base_executable", None) or sys.executable, "version": list(sys.version_info[:3])}))`

// findPython picks an interpreter for the wish. found lists all usable ones
// for the message when none fits.
func (b *Backend) findPython(ctx context.Context, wish conda.Python) (pick python, found []python, ok bool) {
	b.mu.Lock()
	known := slices.Clone(b.pythons)
	searched := b.searched
	b.mu.Unlock()
	for _, p := range known {
		if wish.Allows(p.Version[0], p.Version[1]) {
			return p, known, true
		}
	}
	if searched {
		return python{}, known, false
	}
	tried := map[string]bool{}
	for _, candidate := range b.candidates(wish) {
		if tried[candidate] || ctx.Err() != nil {
			continue
		}
		tried[candidate] = true
		p, err := ask(ctx, candidate)
		if err != nil || p.Version[0] != 3 || p.Version[1] < oldestMinor {
			continue
		}
		if !slices.Contains(known, p) {
			known = append(known, p)
		}
		if wish.Allows(p.Version[0], p.Version[1]) {
			b.mu.Lock()
			if !slices.Contains(b.pythons, p) {
				b.pythons = append(b.pythons, p)
			}
			b.mu.Unlock()
			return p, known, true
		}
	}
	if ctx.Err() == nil {
		b.mu.Lock()
		b.pythons, b.searched = known, true
		b.mu.Unlock()
	}
	return python{}, known, false
}

// candidates are paths to try, best first: what is asked for by name, then
// version managers' folders, then the plain names. Only versions the wish
// allows come first; the rest follow, for the message.
func (b *Backend) candidates(wish conda.Python) []string {
	out := slices.Clone(b.cfg.Pythons)
	if wish.Text == "" {
		out = append(out, onPath("python3")...)
	}
	var rest []string
	for _, minor := range []int{13, 12, 11, 10, newestMinor} { // the newest last: wheels appear later
		name := fmt.Sprintf("python3.%d", minor)
		here := append(onPath(name), managed(name)...)
		if wish.Allows(3, minor) {
			out = append(out, here...)
		} else {
			rest = append(rest, here...)
		}
	}
	out = append(out, onPath("python3")...)
	out = append(out, onPath("python")...)
	return append(out, rest...)
}

func onPath(name string) []string {
	if p, err := exec.LookPath(name); err == nil {
		return []string{p}
	}
	return nil
}

// managed looks where pyenv and uv keep interpreters, newest patch first.
func managed(name string) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	pyenv := os.Getenv("PYENV_ROOT")
	if pyenv == "" {
		pyenv = filepath.Join(home, ".pyenv")
	}
	var out []string
	for _, root := range []string{filepath.Join(pyenv, "versions"), filepath.Join(home, ".local", "share", "uv", "python")} {
		hits, _ := filepath.Glob(filepath.Join(root, "*", "bin", name)) // the pattern is well formed
		sort.Sort(sort.Reverse(sort.StringSlice(hits)))
		out = append(out, hits...)
	}
	return out
}

// ask runs a candidate.
func ask(ctx context.Context, path string) (python, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-I", "-c", inspect)
	cmd.WaitDelay = time.Second
	raw, err := cmd.Output()
	if err != nil {
		return python{}, err
	}
	var p python
	if err := json.Unmarshal(bytes.TrimSpace(raw), &p); err != nil {
		return python{}, err
	}
	// One interpreter has several names; each would get environments of its own.
	if real, err := filepath.EvalSymlinks(p.Path); err == nil {
		p.Path = real
	}
	return p, nil
}

func describe(found []python) string {
	if len(found) == 0 {
		return "there is none of 3.10 or newer on this machine"
	}
	names := make([]string, 0, len(found))
	for _, p := range found {
		names = append(names, p.String())
	}
	sort.Strings(names)
	return "this machine has " + strings.Join(names, ", ")
}
