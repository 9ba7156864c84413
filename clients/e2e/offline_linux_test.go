package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/amlocal/amlocal/internal/covers"
)

// offlineEnv, set, says that this process is in a network namespace without a
// route out: the emulator then runs with --offline, and clients are installed.
const offlineEnv = "AMLOCAL_CLIENTS_OFFLINE"

// offlineTests are the documented flow, one test per client.
const offlineTests = "^Test(PythonSystemAssigned|PythonUserAssigned|AzSystemAssigned|AzUserAssigned|REST|JavaScript|Java)$"

// runOffline runs the flows again, and the scenario of the Go client, where
// nothing but this machine's own loopback can be reached. What they need was
// installed by the run before.
func runOffline() error {
	if why := cannotUnshare(); why != "" {
		return covers.NoteNotRun("clients offline", why)
	}
	dir, err := os.MkdirTemp("", "amlocal-offline-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "amlocal")
	build := exec.Command("go", "build", "-o", program, "github.com/amlocal/amlocal/cmd/emulator")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	scorer := exec.Command("go", "build", "-o", filepath.Join(dir, "goscorer"), "github.com/amlocal/amlocal/scenarios/goscorer")
	if out, err := scorer.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for name, cmd := range map[string]*exec.Cmd{
		"clients":   isolated(os.Args[0], "-test.run="+offlineTests, "-test.timeout=10m"),
		"Go client": isolated(program, "scenario", "run", "sai", "--offline", "--runner", "process"),
	} {
		cmd.Env = append(os.Environ(), offlineEnv+"=1", "XDG_DATA_HOME="+filepath.Join(dir, "data"), "GOPROXY=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s without a network: %w\n%s", name, err, tail(strings.NewReader(string(out))))
		}
	}
	fmt.Println("ok, and again without a network: " + offlineTests + " and the scenario sai")
	return nil
}

// isolated is a command in a network namespace of its own, loopback up.
func isolated(program string, args ...string) *exec.Cmd {
	cmd := exec.Command("sh", append([]string{"-c", `ip link set lo up && exec "$0" "$@"`, program}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// cannotUnshare says what is missing; empty if nothing is.
func cannotUnshare() string {
	if lacks := lacksProgram("ip", "sh"); lacks != "" {
		return lacks
	}
	if out, err := isolated("true").CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "no network namespace: " + lastLines(string(out), 1)
		}
		return "no network namespace: " + err.Error()
	}
	return ""
}
