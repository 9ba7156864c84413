package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/amlocal/amlocal/internal/covers"
)

// binDir holds the real binary, as `make build` makes it.
var binDir string

func TestMain(m *testing.M) {
	deliverSignals()
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// deliverSignals undoes what a caller such as nohup left behind: a signal that
// is caught here has its usual meaning in the programs the scripts start, where
// an ignored one would stay ignored.
func deliverSignals() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

func runTests(m *testing.M) (code int, err error) {
	if binDir, err = os.MkdirTemp("", "amlocal-bin-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(binDir)) }()
	name := "amlocal"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(binDir, name), ".").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// requirements are what each script proves.
var requirements = map[string][]string{
	"why": {"R-1001"},
}

// TestScripts runs testdata/*.txtar: the binary as a user calls it, each script
// with a home of its own.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range scripts {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			covers.R(t, requirements[name]...)
			for _, tool := range toolsOf(t, path) {
				if _, err := exec.LookPath(tool); err != nil {
					covers.NotRun(t, "script "+name, "no "+tool)
				}
			}
			testscript.Run(t, testscript.Params{
				Files: []string{path}, Setup: setup, RequireExplicitExec: true, RequireUniqueNames: true,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"mode": cmdMode, "listen": cmdListen, "noprocess": cmdNoProcess, "same": cmdSame, "send": cmdSend,
				},
			})
		})
	}
}

// toolsOf reads a script's first line: "# needs: bash curl".
func toolsOf(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	tools, _ := strings.CutPrefix(first, "# needs:")
	if tools == first {
		return nil
	}
	return strings.Fields(tools)
}

func setup(env *testscript.Env) error {
	for _, dir := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
			return err
		}
	}
	env.Setenv("PATH", binDir+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "home", "data"))
	env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
	env.Defer(func() { // whatever a failed script left running
		_ = filepath.WalkDir(env.WorkDir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "run.json" {
				cmd := exec.Command(filepath.Join(binDir, "amlocal"), "down", "--state", filepath.Dir(path))
				cmd.Env = env.Vars
				_ = cmd.Run()
			}
			return nil
		})
	})
	return nil
}

// cmdMode: mode 0600 FILE...
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if runtime.GOOS == "windows" {
		return
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if (info.Mode().Perm() == os.FileMode(want)) == neg {
			ts.Fatalf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

// cmdListen: listen VAR, puts a port that this process listens on in VAR.
func cmdListen(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() })
	ts.Setenv(args[0], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	ts.Setenv("TESTPID", strconv.Itoa(os.Getpid()))
}

// cmdSame: same FILE FILE, byte for byte.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if (ts.ReadFile(args[0]) == ts.ReadFile(args[1])) == neg {
		ts.Fatalf("%s and %s: same is %v\n-- %s\n%s-- %s\n%s", args[0], args[1], neg, args[0], ts.ReadFile(args[0]), args[1], ts.ReadFile(args[1]))
	}
}

// cmdSend: send SIGNAL FILE (and wait for the end, if it is KILL), where FILE holds an emulator's record.
func cmdSend(ts *testscript.TestScript, _ bool, args []string) {
	_, rest, _ := strings.Cut(ts.ReadFile(args[1]), `"pid":`)
	pid, _, _ := strings.Cut(rest, ",")
	pid = strings.TrimSpace(pid)
	ts.Check(ts.Exec("kill", "-"+args[0], pid))
	for args[0] == "KILL" {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// cmdNoProcess: noprocess [WORD], that no process of this script is left
// (whose command line holds WORD). An emulator that says it has stopped ends a
// moment later.
func cmdNoProcess(ts *testscript.TestScript, _ bool, args []string) {
	left := noProcess(ts, args)
	for end := time.Now().Add(time.Minute); left != "" && time.Now().Before(end); left = noProcess(ts, args) {
		time.Sleep(20 * time.Millisecond)
	}
	if left != "" {
		ts.Fatalf("%s", left)
	}
}

func noProcess(ts *testscript.TestScript, args []string) (left string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !bytes.Contains(env, []byte(ts.Getenv("WORK")+"/")) {
			continue
		}
		if len(args) > 0 && !bytes.Contains(line, []byte(args[0])) {
			continue
		}
		return fmt.Sprintf("process %s is left: %q", filepath.Base(dir), line)
	}
	return ""
}
