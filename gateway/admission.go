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
type admission struct {
	targets func(deploymentID string) []runner.Target

	mu sync.Mutex
	// queues has an entry for each deployment with requests, so it needs no
	// sweeping when deployments go.
	queues map[string]*queue
	// turn makes the choice among idle instances go round.
	turn int
}

// queue is one deployment's requests.
type queue struct {
	// pending counts requests at work and waiting.
	pending int
	// busy counts requests at work by instance.
	busy    map[runner.Target]int
	waiters list.List // of *waiter
}

type waiter struct {
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
func (a *admission) enter(ctx context.Context, d Deployment) (target runner.Target, leave func(), err error) {
	limit, instances := max(d.MaxConcurrent, 1), max(d.Instances, 1)
	a.mu.Lock()
	q := a.queues[d.ID]
	if q == nil {
		q = &queue{busy: map[runner.Target]int{}}
		a.queues[d.ID] = q
	}
	if q.pending >= 2*limit*instances {
		a.mu.Unlock()
		return runner.Target{}, nil, errQueueFull
	}
	w := &waiter{limit: limit, grant: make(chan grant, 1)}
	q.pending++
	place := q.waiters.PushBack(w)
	a.dispatchLocked(d.ID, q)
	a.mu.Unlock()

	select {
	case g := <-w.grant:
		return a.granted(d.ID, q, g)
	case <-ctx.Done():
	}
	a.mu.Lock()
	select {
	case g := <-w.grant: // in the same moment: give it back
		a.mu.Unlock()
		if _, leave, err := a.granted(d.ID, q, g); err == nil {
			leave()
		}
	default:
		q.waiters.Remove(place)
		a.endLocked(d.ID, q)
		a.mu.Unlock()
	}
	return runner.Target{}, nil, ctx.Err()
}

func (a *admission) granted(id string, q *queue, g grant) (runner.Target, func(), error) {
	if g.err != nil {
		return runner.Target{}, nil, g.err
	}
	return g.target, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if q.busy[g.target]--; q.busy[g.target] == 0 {
			delete(q.busy, g.target)
		}
		a.endLocked(id, q)
		a.dispatchLocked(id, q)
	}, nil
}

// endLocked counts a request out.
func (a *admission) endLocked(id string, q *queue) {
	if q.pending--; q.pending == 0 {
		delete(a.queues, id)
	}
}

// dispatchLocked gives idle instances to the longest waiting. Without any
// instance, waiting is of no use: all are told.
func (a *admission) dispatchLocked(id string, q *queue) {
	if q.waiters.Len() == 0 {
		return
	}
	targets := a.targets(id)
	for front := q.waiters.Front(); front != nil; front = q.waiters.Front() {
		w := front.Value.(*waiter)
		if len(targets) == 0 {
			q.waiters.Remove(front)
			a.endLocked(id, q)
			w.grant <- grant{err: errNoInstance}
			continue
		}
		target, ok := a.idleLocked(q, targets, w.limit)
		if !ok {
			return
		}
		q.waiters.Remove(front)
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
