package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// SandboxMode says whether instances get namespaces of their own.
type SandboxMode string

// The modes: never, where the machine allows it, or nothing else.
const (
	SandboxOff  SandboxMode = "off"
	SandboxAuto SandboxMode = "auto"
	SandboxOn   SandboxMode = "on"
)

// Where a sandboxed instance finds the certificates; the store is Java's.
const (
	insideBundle = "/run/amlocal/ca.pem"
	insideStore  = "/run/amlocal/truststore.p12"
)

// probe finds out once whether sandboxes work here.
func (b *Backend) probe() error {
	switch b.cfg.Sandbox {
	case "", SandboxOff:
		b.noSandbox = errors.New("it is switched off")
		return nil
	case SandboxAuto, SandboxOn:
	default:
		return fmt.Errorf("process: sandbox %q: the modes are auto, on and off", b.cfg.Sandbox)
	}
	switch {
	case b.cfg.Agent == "" || b.cfg.Serve == nil:
		b.noSandbox = errors.New("the program that runs the emulator offers no agent for it")
	default:
		b.noSandbox = sandbox.Probe(context.Background(), b.cfg.Agent, b.cfg.StateDir)
	}
	if b.noSandbox != nil && b.cfg.Sandbox == SandboxOn {
		return fmt.Errorf("process: no sandbox can be made on this machine: %w", b.noSandbox)
	}
	return nil
}

func (b *Backend) sandboxed() bool { return b.noSandbox == nil }

// Isolation says in words what stands between instances and this machine.
func (b *Backend) Isolation() string {
	if b.sandboxed() {
		return "sandboxed child processes: own network without internet, own file system, no rights (Linux namespaces)"
	}
	text := "plain child processes with proxy and CA variables: not a security boundary"
	if b.cfg.Sandbox == SandboxAuto {
		text += "; no sandbox: " + b.noSandbox.Error()
	}
	return text
}

// needs are the folders an interpreter or a program needs beside /usr.
// None of them is private, above or in it.
func (b *Backend) needs(ctx context.Context, a artifact) ([]string, error) {
	private := b.cfg.StateDir
	if a.Python != "" {
		return b.foldersOf(ctx, a.Python)
	}
	folders := programFiles(a.Command[0])
	// A virtual environment's interpreter brings it along.
	if venv := filepath.Dir(filepath.Dir(a.Command[0])); exists(filepath.Join(venv, "pyvenv.cfg")) {
		more, err := pythonFolders(ctx, filepath.Join(venv, "bin", "python")) // the user's own: it may change
		if err != nil {
			return nil, err
		}
		folders = append(folders, more...)
	}
	// So do files the command names.
	for _, arg := range a.Command[1:] {
		if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
			arg = value
		}
		for _, path := range filepath.SplitList(arg) { // a class path is a list, its folders of jars end in a star
			path = strings.TrimSuffix(path, "/*")
			if filepath.IsAbs(path) && exists(path) && !holdsPrivate(path, private) && !slices.Contains(folders, path) {
				folders = append(folders, path)
			}
		}
	}
	return folders, nil
}

// foldersOf asks each of our environments once: one that is complete never
// changes.
func (b *Backend) foldersOf(ctx context.Context, python string) ([]string, error) {
	b.mu.Lock()
	known, ok := b.folders[python]
	b.mu.Unlock()
	if ok {
		return slices.Clone(known), nil
	}
	folders, err := pythonFolders(ctx, python)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.folders[python] = folders
	return slices.Clone(folders), nil
}

// programFiles are a program's file and, for a link, every file on the way.
func programFiles(path string) []string {
	files := []string{path}
	for range 20 {
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
		files = append(files, path)
	}
	return files
}

// pythonFolders are a virtual environment and the installation it was made
// from: of that only programs and libraries, since a prefix may be a folder
// that also holds a user's files.
func pythonFolders(ctx context.Context, python string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-I", "-c", "import sys\nfor p in (sys.base_prefix, sys.base_exec_prefix): print(p)") //nolint:gosec // our environment
	cmd.WaitDelay = time.Second
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("process: ask %s where it is installed: %w", python, err)
	}
	prefixes := strings.Split(string(bytes.TrimSpace(raw)), "\n")
	for _, file := range programFiles(python)[1:] {
		prefixes = append(prefixes, filepath.Dir(filepath.Dir(file)))
	}
	if real, err := filepath.EvalSymlinks(python); err == nil {
		prefixes = append(prefixes, filepath.Dir(filepath.Dir(real)))
	}
	venv := filepath.Dir(filepath.Dir(python))
	folders := []string{venv}
	for _, prefix := range prefixes {
		if prefix == "/usr" || prefix == "/" || prefix == venv {
			continue
		}
		for _, part := range []string{"bin", "lib", "lib64", "libexec", "include", "ssl"} {
			if dir := filepath.Join(prefix, part); exists(dir) && !slices.Contains(folders, dir) {
				folders = append(folders, dir)
			}
		}
	}
	return folders, nil
}

// holdsPrivate says that a path is the user's home or lies above it, or is above
// or in the private folder, by whatever links.
func holdsPrivate(path, private string) bool {
	path = followed(path)
	if private = followed(private); within(private, path) || within(path, private) {
		return true
	}
	home, err := os.UserHomeDir()
	return err == nil && (within(home, path) || within(followed(home), path))
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func followed(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// enter starts the instance in a sandbox and serves it.
func (i *instance) enter(ctx context.Context, spec runner.InstanceSpec, a artifact, argv, env []string, key string) error {
	b, f := i.b, i.folder
	c := sandbox.Config{
		Argv: argv, Env: env, Dir: f.workDir(spec), Folder: f.dir, MemoryMiB: spec.MemoryMiB, Abandoned: b.cfg.Abandoned, Key: key,
		Writable: []sandbox.Bind{{Source: f.home, Target: sandbox.Home}, {Source: f.tmp, Target: "/tmp"}},
		Files:    map[string][]byte{},
	}
	for n, path := range a.Folders {
		source := path
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			if source, err = f.readable(path, "program"+strconv.Itoa(n)); err != nil {
				return err
			}
		}
		c.Binds = append(c.Binds, sandbox.Bind{Source: source, Target: path})
	}
	for n, m := range f.mounts {
		source, err := f.readable(m.Source, "mount"+strconv.Itoa(n))
		if err != nil {
			return err
		}
		c.Binds = append(c.Binds, sandbox.Bind{Source: source, Target: m.Target})
	}
	for inside, path := range map[string]string{insideBundle: b.cfg.CABundle, insideStore: b.cfg.TrustStore} {
		if path == "" {
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("process: %w", err)
		}
		c.Files[inside] = raw
	}
	box, err := sandbox.Start(ctx, b.cfg.Agent, c, markEnv+"="+f.dir, spec.Log)
	if err != nil {
		if errors.Is(err, sandbox.ErrExec) {
			return &runner.Failure{Kind: runner.Crashed, Cause: err, Message: err.Error()}
		}
		return fmt.Errorf("process: no sandbox for instance %s: %w", i.id, err)
	}
	return i.occupy(spec, box)
}

// occupy makes a sandbox the instance's: what it dials is served, and its
// scoring port gets an address of this machine.
func (i *instance) occupy(spec runner.InstanceSpec, box *sandbox.Process) (err error) {
	i.box = box
	sockets := box.Sockets
	for _, ln := range []*net.Listener{&sockets.NamesStream, &sockets.TLS, &sockets.Identity, &sockets.Metadata} {
		*ln = limit(*ln)
	}
	i.stopServing = i.b.cfg.Serve(spec, sockets)
	if i.front, err = newFront(box, i.main); err != nil {
		return fmt.Errorf("process: no port: %w", err)
	}
	return nil
}

// readable is a mount's source, or a copy where the instance's user, another
// one than the emulator's, may not read it.
func (f folder) readable(source, name string) (string, error) {
	if os.Geteuid() != 0 || openToAll(source) {
		return source, nil
	}
	to := filepath.Join(f.dir, name)
	if err := copyTree(source, to); err != nil {
		return "", fmt.Errorf("process: copy %s for an instance that is not root: %w", source, err)
	}
	return to, nil
}

// openToAll says that everyone may read the whole tree.
func openToAll(root string) bool {
	closed := errors.New("closed")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path) // what a link leads to counts
		if err != nil {
			return err
		}
		need := fs.FileMode(0o004)
		if info.IsDir() {
			need = 0o005
		}
		if info.Mode().Perm()&need != need {
			return closed
		}
		return nil
	})
	return err == nil
}

// copyTree copies files and folders, readable by all; links stay links.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
			return os.Chmod(at, 0o755) //nolint:gosec // whatever the umask
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, at)
		case !d.Type().IsRegular():
			return nil
		}
		return copyFile(path, at)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	mode := fs.FileMode(0o644) | info.Mode().Perm()&0o111
	if mode&0o111 != 0 {
		mode |= 0o111
	}
	return errors.Join(err, out.Chmod(mode), out.Close())
}
