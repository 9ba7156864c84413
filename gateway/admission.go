package gateway

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/amlocal/amlocal/runner"
)

var (
	errQueueFull  = errors.New("too many pending requests")
	errNoInstance = errors.New("no ready instance")
)

// admission limits what a deployment is asked to do at once. Each instance
// works on MaxConcurrent requests; as many again per instance wait, first come
// first served; what exceeds both is turned away.
//
// Mirrored copies are counted apart, so that they never turn a caller away, and
// wait until no caller does. What an instance works on at once stays one limit
// for both: it is a promise to the user's server.
type admission struct {
	targets func(deploymentID string) []runner.Target

	mu sync.Mutex
	// queues has an entry for each deployment with requests, so it needs no
	// sweeping when deployments go.
	queues map[string]*queue
	// turn makes the choice among idle instances go round.
	turn int
}

// class tells who waits for the answer.
type class int

const (
	asked    class = iota // a caller
	mirrored              // nobody
	classes
)

// queue is one deployment's requests.
type queue struct {
	// changed, if set, is closed when a request ends.
	changed chan struct{}
	// pending counts requests at work and waiting.
	pending [classes]int
	// busy counts requests at work by instance.
	busy    map[runner.Target]int
	waiters [classes]list.List // of *waiter
}

type waiter struct {
	class class
	limit int
	grant chan grant // buffered: the granter never waits
}

type grant struct {
	target runner.Target
	err    error
}

func newAdmission(targets func(string) []runner.Target) *admission {
	return &admission{targets: targets, queues: map[string]*queue{}}
}

// enter waits for an instance. leave must be called exactly once after a nil
// error. The errors are errQueueFull, errNoInstance and the context's.
func (a *admission) enter(ctx context.Context, d Deployment, c class) (target runner.Target, leave func(), err error) {
	limit, instances := max(d.MaxConcurrent, 1), max(d.Instances, 1)
	a.mu.Lock()
	q := a.queues[d.ID]
	if q == nil {
		q = &queue{busy: map[runner.Target]int{}}
		a.queues[d.ID] = q
	}
	if q.pending[c] >= 2*limit*instances {
		a.mu.Unlock()
		return runner.Target{}, nil, errQueueFull
	}
	q.pending[c]++
	if q.frontLocked() == nil { // nobody waits, so nobody is overtaken
		if targets := a.targets(d.ID); len(targets) > 0 {
			if target, ok := a.idleLocked(q, targets, limit); ok {
				q.busy[target]++
				a.mu.Unlock()
				return a.granted(d.ID, q, c, grant{target: target})
			}
		}
	}
	w := &waiter{class: c, limit: limit, grant: make(chan grant, 1)}
	place := q.waiters[c].PushBack(w)
	a.dispatchLocked(d.ID, q)
	a.mu.Unlock()

	select {
	case g := <-w.grant:
		return a.granted(d.ID, q, c, g)
	case <-ctx.Done():
	}
	a.mu.Lock()
	select {
	case g := <-w.grant: // in the same moment: give it back
		a.mu.Unlock()
		if _, leave, err := a.granted(d.ID, q, c, g); err == nil {
			leave()
		}
	default:
		q.waiters[c].Remove(place)
		a.endLocked(d.ID, q, c)
		a.mu.Unlock()
	}
	return runner.Target{}, nil, ctx.Err()
}

func (a *admission) granted(id string, q *queue, c class, g grant) (runner.Target, func(), error) {
	if g.err != nil {
		return runner.Target{}, nil, g.err
	}
	return g.target, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if q.busy[g.target]--; q.busy[g.target] == 0 {
			delete(q.busy, g.target)
		}
		a.endLocked(id, q, c)
		a.dispatchLocked(id, q)
	}, nil
}

// endLocked counts a request out.
func (a *admission) endLocked(id string, q *queue, c class) {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
	if q.pending[c]--; q.pending == [classes]int{} {
		delete(a.queues, id)
	}
}

// quiet waits until the deployment has no request under way, or with targets,
// until none of them has. Requests are counted under the lock under which the
// targets are listed, so what a change of targets overtook is waited for.
func (a *admission) quiet(ctx context.Context, id string, targets []runner.Target) error {
	for {
		a.mu.Lock()
		q := a.queues[id]
		if q == nil || len(targets) > 0 && !q.busyLocked(targets) {
			a.mu.Unlock()
			return nil
		}
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *queue) busyLocked(targets []runner.Target) bool {
	for _, t := range targets {
		if q.busy[t] > 0 {
			return true
		}
	}
	return false
}

// frontLocked is who waits longest, callers before copies; nil for nobody.
func (q *queue) frontLocked() *list.Element {
	for c := range q.waiters {
		if front := q.waiters[c].Front(); front != nil {
			return front
		}
	}
	return nil
}

// dispatchLocked gives idle instances to the longest waiting. Without any
// instance, waiting is of no use: all are told.
func (a *admission) dispatchLocked(id string, q *queue) {
	front := q.frontLocked()
	if front == nil {
		return
	}
	targets := a.targets(id)
	for ; front != nil; front = q.frontLocked() {
		w := front.Value.(*waiter)
		if len(targets) == 0 {
			q.waiters[w.class].Remove(front)
			a.endLocked(id, q, w.class)
			w.grant <- grant{err: errNoInstance}
			continue
		}
		target, ok := a.idleLocked(q, targets, w.limit)
		if !ok {
			return
		}
		q.waiters[w.class].Remove(front)
		q.busy[target]++
		w.grant <- grant{target: target}
	}
}

func (a *admission) idleLocked(q *queue, targets []runner.Target, limit int) (runner.Target, bool) {
	for range targets {
		a.turn = (a.turn + 1) % len(targets)
		if target := targets[a.turn]; q.busy[target] < limit {
			return target, true
		}
	}
	return runner.Target{}, false
}
