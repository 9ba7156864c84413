package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"sync"

	"github.com/amlocal/amlocal/runner/docker/agent/relay"
)

// networkBits is the size of every network we make: 12 instances beside the
// agent and the address an engine may take for a gateway.
const networkBits = 28

// deploymentNetwork options: internal shuts the world out, and without an
// address of its own on the bridge the engine's machine cannot be reached by it
// either (engine 20.10; newer ones have no route there anyway).
var deploymentNetwork = map[string]string{"com.docker.network.bridge.inhibit_ipv4": "true"}

// subnet is one deployment's network. A deployment of more than 12 instances
// has several.
type subnet struct {
	id     string
	prefix netip.Prefix
	owner  string
	used   map[netip.Addr]bool
}

// networks hands out addresses on networks of our own.
type networks struct {
	b *Backend

	// turn is held while networks are made or removed.
	turn    chan struct{}
	subnets map[netip.Prefix]*subnet

	carving sync.Mutex // two at a time would ask for the same range
}

func newNetworks(b *Backend) *networks {
	return &networks{b: b, turn: make(chan struct{}, 1), subnets: map[netip.Prefix]*subnet{}}
}

// acquire gives an address on a network of the deployment.
func (n *networks) acquire(ctx context.Context, owner, name string) (*subnet, netip.Addr, error) {
	select {
	case n.turn <- struct{}{}:
		defer func() { <-n.turn }()
	case <-ctx.Done():
		return nil, netip.Addr{}, ctx.Err()
	}
	for _, s := range n.subnets {
		if s.owner != owner {
			continue
		}
		if addr, ok := s.take(); ok {
			return s, addr, nil
		}
	}
	id, prefix, err := n.carve(ctx, networkSpec{
		name: n.b.thing("net", digest(owner)), internal: true, options: deploymentNetwork,
		labels: n.b.labels("network", nameLabel, name),
	})
	if err != nil {
		return nil, netip.Addr{}, err
	}
	s := &subnet{id: id, prefix: prefix, owner: owner, used: map[netip.Addr]bool{}}
	if err := n.b.agent.attach(ctx, id, prefix); err != nil {
		n.drop(s)
		return nil, netip.Addr{}, err
	}
	n.subnets[prefix] = s
	addr, _ := s.take()
	return s, addr, nil
}

// take finds a free address.
func (s *subnet) take() (netip.Addr, bool) {
	for i := range relay.Hosts(s.prefix) {
		if addr := relay.Host(s.prefix, relay.FirstHost+i); !s.used[addr] {
			s.used[addr] = true
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// release gives the address back. A network nobody is on any more goes.
func (n *networks) release(s *subnet, addr netip.Addr) {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	delete(s.used, addr)
	if len(s.used) == 0 {
		delete(n.subnets, s.prefix)
		n.drop(s)
	}
}

func (n *networks) drop(s *subnet) {
	ctx, cancel := cleaning()
	defer cancel()
	err := n.b.agent.detach(ctx, s.id)
	if removal := n.b.eng.removeNetwork(ctx, s.id); removal != nil && !errors.Is(removal, errNotFound) {
		err = errors.Join(err, removal)
	}
	if err != nil {
		n.b.cfg.Logf("docker: remove network %s: %v", s.prefix, err)
	}
}

// carve makes a network on a range of the pool that nobody uses. The search
// begins at a place of the name's own, so that a deployment finds its range
// again where that is possible.
func (n *networks) carve(ctx context.Context, spec networkSpec) (id string, prefix netip.Prefix, err error) {
	n.carving.Lock()
	defer n.carving.Unlock()
	all, err := n.b.eng.networks(ctx, "")
	if err != nil {
		return "", prefix, fmt.Errorf("docker: list networks: %w", err)
	}
	names := map[string]bool{}
	var taken []netip.Prefix
	for _, other := range all {
		names[other.name] = true
		taken = append(taken, other.prefixes...)
	}
	spec.name = freeName(spec.name, names)
	pool := n.b.cfg.NetworkPool
	count := uint32(1) << (networkBits - pool.Bits())
	first := fnv.New32a()
	_, _ = first.Write([]byte(spec.name))
	for i := range count {
		prefix = slice(pool, (first.Sum32()+i)%count)
		if overlaps(taken, prefix) {
			continue
		}
		spec.prefix = prefix
		if id, err = n.b.eng.createNetwork(ctx, spec); !errors.Is(err, errNoNetwork) {
			if err != nil {
				err = fmt.Errorf("docker: make network %s: %w", prefix, err)
			}
			return id, prefix, err
		}
	}
	return "", prefix, fmt.Errorf("docker: no range of the network pool %s is free; name another with --network-pool", pool)
}

func freeName(name string, taken map[string]bool) string {
	for i, free := 2, name; ; i++ {
		if !taken[free] {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, i)
	}
}

// slice is the n-th network of the pool.
func slice(pool netip.Prefix, n uint32) netip.Prefix {
	raw := pool.Addr().As4()
	binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])+n<<(32-networkBits))
	return netip.PrefixFrom(netip.AddrFrom4(raw), networkBits)
}

func overlaps(taken []netip.Prefix, prefix netip.Prefix) bool {
	for _, t := range taken {
		if t.Overlaps(prefix) {
			return true
		}
	}
	return false
}
