package process

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// maxTmp keeps sockets made below TMPDIR within the length Unix allows them.
const maxTmp = 60

// folder is an instance's place on disk.
type folder struct {
	dir  string // holds all, and the record
	root string // what "/" is in a container
	home string
	tmp  string
	// mounts are what a sandbox shows; boxed says that there is one.
	mounts []runner.Mount
	boxed  bool
}

func instancesDir(stateDir string) string { return filepath.Join(stateDir, "instances") }

// inside is where the instance finds a container path.
func (f folder) inside(containerPath string) string {
	if f.boxed {
		return path.Clean("/" + containerPath)
	}
	return filepath.Join(f.root, filepath.FromSlash(path.Clean("/"+containerPath)))
}

// layOut makes the folder; without a sandbox, with its mounts as symbolic links.
func layOut(stateDir string, spec runner.InstanceSpec, boxed bool) (f folder, err error) {
	f.boxed = boxed
	if spec.InstanceID == "" || strings.ContainsAny(spec.InstanceID, `/\`) || strings.HasPrefix(spec.InstanceID, ".") {
		return f, fmt.Errorf("process: instance id %q cannot name a folder", spec.InstanceID)
	}
	f.dir = filepath.Join(instancesDir(stateDir), spec.InstanceID)
	f.root, f.home, f.tmp = filepath.Join(f.dir, "root"), filepath.Join(f.dir, "home"), filepath.Join(f.dir, "tmp")
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return folder{}, fmt.Errorf("process: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.remove())
		}
	}()
	if len(f.tmp) > maxTmp && !boxed {
		if f.tmp, err = os.MkdirTemp("", "aml-"); err != nil {
			return f, fmt.Errorf("process: %w", err)
		}
	}
	dirs := []string{f.home, f.tmp}
	if !boxed {
		dirs = append(dirs, filepath.Join(f.root, "var", "azureml-app"))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return f, fmt.Errorf("process: %w", err)
		}
		if boxed && os.Geteuid() == 0 {
			if err := os.Chown(dir, sandbox.SpareUser, sandbox.SpareUser); err != nil {
				return f, fmt.Errorf("process: %w", err)
			}
		}
	}
	mounts := slices.Clone(spec.Mounts)
	slices.SortFunc(mounts, func(a, b runner.Mount) int { return len(a.Target) - len(b.Target) })
	var linked []string
	for _, m := range mounts {
		target := path.Clean(m.Target)
		if !path.IsAbs(m.Target) || target == "/" || target == "/var/azureml-app" {
			return f, fmt.Errorf("process: mount target %q is not a folder below /", m.Target)
		}
		for _, earlier := range linked {
			if target == earlier || strings.HasPrefix(target, earlier+"/") {
				return f, fmt.Errorf("process: mount target %s lies in mount %s", target, earlier)
			}
		}
		source, err := filepath.Abs(m.Source)
		if err == nil {
			_, err = os.Stat(source)
		}
		if err != nil {
			return f, fmt.Errorf("process: mount for %s: %w", target, err)
		}
		if linked = append(linked, target); boxed {
			f.mounts = append(f.mounts, runner.Mount{Source: source, Target: target})
			continue
		}
		link := f.inside(target)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			return f, fmt.Errorf("process: %w", err)
		}
		if err := os.Symlink(source, link); err != nil {
			return f, fmt.Errorf("process: %w", err)
		}
	}
	return f, nil
}

// workDir is where the server starts: AML_APP_ROOT, as in curated images.
func (f folder) workDir(spec runner.InstanceSpec) string {
	root, ok := spec.PathEnv["AML_APP_ROOT"]
	if !ok {
		root = "/var/azureml-app"
	}
	dir := f.inside(root)
	if f.boxed {
		for _, m := range f.mounts {
			if dir == m.Target { // a mount below it may hold a file only
				return dir
			}
			if rel, ok := strings.CutPrefix(dir, m.Target+"/"); ok {
				if info, err := os.Stat(filepath.Join(m.Source, rel)); err == nil && info.IsDir() {
					return dir
				}
			}
		}
		return "/var/azureml-app"
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return filepath.Join(f.root, "var", "azureml-app")
	}
	return dir
}

// remove deletes the folder; links are removed, not what they point to.
func (f folder) remove() error {
	if f.dir == "" {
		return nil
	}
	var err error
	if f.tmp != "" && filepath.Dir(f.tmp) != f.dir {
		err = os.RemoveAll(f.tmp)
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}
