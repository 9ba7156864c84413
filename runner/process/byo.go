package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"

	"github.com/amlocal/amlocal/runner"
)

// A server brought along binds its port itself, so between our choice and its
// bind another process might take it. These are below the ranges from which
// kernels serve port 0 and outgoing connections, and none is given out twice.
const firstPort, lastPort = 20000, 31999

// reservePort picks a free loopback port and keeps it from other instances.
func (b *Backend) reservePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		b.mu.Lock()
		taken := b.ports[port]
		b.ports[port] = true
		b.mu.Unlock()
		if taken {
			continue
		}
		// On all addresses: a server that does not heed loopback must start too.
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			b.releasePort(port)
			continue
		}
		_ = l.Close()
		return port, nil
	}
	return 0, fmt.Errorf("process: no free port from %d to %d", firstPort, lastPort)
}

func (b *Backend) releasePort(port int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ports, port)
}

var portPlaceholder = regexp.MustCompile(`\{port(?::([0-9]+))?\}`)

// ownCommand fills the placeholders of a mapped command. Each container port
// the Spec names gets a port here.
func (b *Backend) ownCommand(spec runner.InstanceSpec, a artifact) (argv []string, ports map[int]int, err error) {
	ports = map[int]int{}
	defer func() {
		if err != nil {
			for _, p := range ports {
				b.releasePort(p)
			}
		}
	}()
	wanted := []int{spec.Scoring.Port, spec.Liveness.Route.Port, spec.Readiness.Route.Port}
	for _, arg := range a.Command {
		for _, m := range portPlaceholder.FindAllStringSubmatch(arg, -1) {
			if n, err := strconv.Atoi(m[1]); err == nil {
				wanted = append(wanted, n)
			}
		}
	}
	for _, containerPort := range wanted {
		if containerPort == 0 || ports[containerPort] != 0 {
			continue
		}
		if b.sandboxed() { // all ports are its own
			ports[containerPort] = containerPort
			continue
		}
		port, err := b.reservePort()
		if err != nil {
			return nil, ports, err
		}
		ports[containerPort] = port
	}
	for _, arg := range a.Command {
		argv = append(argv, portPlaceholder.ReplaceAllStringFunc(arg, func(s string) string {
			containerPort := spec.Scoring.Port
			if n, err := strconv.Atoi(portPlaceholder.FindStringSubmatch(s)[1]); err == nil {
				containerPort = n
			}
			return strconv.Itoa(ports[containerPort])
		}))
	}
	return argv, ports, nil
}
