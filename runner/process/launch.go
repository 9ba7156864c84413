package process

import (
	_ "embed"
	"fmt"
	"net"
	"os"
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
	healthPortEnv = "SEPERATE_HEALTH_ENDPOINT"
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
	containerPorts := []int{spec.Scoring.Port}
	if spec.Env[healthPortEnv] == "true" && spec.Scoring.Port != healthPort {
		containerPorts = append(containerPorts, healthPort)
	}
	for _, containerPort := range containerPorts {
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
	argv = []string{
		a.Python, "-u", "-c", launcher,
		"--entry_script", filepath.Join(root, filepath.FromSlash(spec.Script.Dir), filepath.FromSlash(spec.Script.File)),
		"--port", strconv.Itoa(ports[spec.Scoring.Port]),
	}
	if p, ok := ports[healthPort]; ok && spec.Scoring.Port != healthPort {
		argv = append(argv, "--health_port", strconv.Itoa(p))
	}
	return argv, files, ports, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
