package process

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/amlocal/amlocal/runner"
)

//go:embed launch.py
var launcher string

// healthPort is the server's own separate health port, used when the
// deployment sets this (misspelt) variable.
const (
	healthPort    = 5000
	healthPortEnv = "SEPERATE_HEALTH_ENDPOINT" //nolint:misspell // the inference server's own spelling
)

// scriptCommand is the inference server on listening sockets of ours: the
// first for scoring, a second for health where asked. The caller closes them.
func scriptCommand(spec runner.InstanceSpec, a artifact, root string) (argv []string, files []*os.File, ports map[int]int, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	ports = map[int]int{}
	for _, containerPort := range scriptPorts(spec) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, files, nil, fmt.Errorf("process: no port: %w", err)
		}
		f, err := l.File() // its own descriptor; the listener is not needed
		_ = l.Close()
		if err != nil {
			return nil, files, nil, fmt.Errorf("process: no port: %w", err)
		}
		files = append(files, f)
		ports[containerPort] = l.Addr().(*net.TCPAddr).Port
	}
	return serverCommand(spec, a, filepath.Join(root, filepath.FromSlash(spec.Script.Dir), filepath.FromSlash(spec.Script.File)), ports), files, ports, nil
}

// boxedScriptCommand is the inference server in a sandbox, where its ports are
// free for it to bind.
func boxedScriptCommand(spec runner.InstanceSpec, a artifact) (argv []string, ports map[int]int) {
	ports = map[int]int{}
	for _, port := range scriptPorts(spec) {
		ports[port] = port
	}
	return serverCommand(spec, a, path.Join("/", spec.Script.Dir, spec.Script.File), ports), ports
}

// scriptPorts are the container ports the server listens on.
func scriptPorts(spec runner.InstanceSpec) []int {
	if spec.Env[healthPortEnv] == "true" && spec.Scoring.Port != healthPort {
		return []int{spec.Scoring.Port, healthPort}
	}
	return []int{spec.Scoring.Port}
}

func serverCommand(spec runner.InstanceSpec, a artifact, script string, ports map[int]int) []string {
	argv := []string{
		a.Python, "-u", "-c", runner.WorkerGuard + launcher,
		"--entry_script", script,
		"--port", strconv.Itoa(ports[spec.Scoring.Port]),
	}
	if p, ok := ports[healthPort]; ok && spec.Scoring.Port != healthPort {
		argv = append(argv, "--health_port", strconv.Itoa(p))
	}
	return argv
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
