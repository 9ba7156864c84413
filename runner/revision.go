package runner

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// revision is one Spec being run: a slot for each replica.
type revision struct {
	m        *Manager
	spec     Spec
	artifact string
	book     *logbook
	slots    []*slot
	ctx      context.Context // ends when the revision is stopped
	cancel   context.CancelFunc
}

// slot is one replica through its restarts.
type slot struct {
	rev *revision

	mu       sync.Mutex
	inst     Instance
	id       string
	secret   string
	out      *lineWriter
	recent   *recent
	ready    bool
	restarts int
	since    time.Time
	orphan   *Orphan // to be taken over in the place of the first start
}

func newRevision(m *Manager, spec Spec, artifact string, book *logbook) *revision {
	r := &revision{m: m, spec: spec, artifact: artifact, book: book}
	r.ctx, r.cancel = context.WithCancel(m.ctx)
	for range spec.Instances {
		r.slots = append(r.slots, &slot{rev: r})
	}
	return r
}

// targets are the ready instances.
func (r *revision) targets() []Target {
	var out []Target
	for _, s := range r.slots {
		s.mu.Lock()
		if s.ready && s.inst != nil {
			select {
			case <-s.inst.Done(): // ended, and supervise has not seen it yet
			default:
				out = append(out, s.inst.Target())
			}
		}
		s.mu.Unlock()
	}
	return out
}

// addresses are all its instances, ready or not.
func (r *revision) addresses() []Target {
	var out []Target
	for _, s := range r.slots {
		s.mu.Lock()
		if s.inst != nil {
			out = append(out, s.inst.Target())
		}
		s.mu.Unlock()
	}
	return out
}

func (r *revision) status() []InstanceStatus {
	out := make([]InstanceStatus, 0, len(r.slots))
	for _, s := range r.slots {
		s.mu.Lock()
		st := InstanceStatus{ID: s.id, Ready: s.ready, Restarts: s.restarts, Since: s.since}
		if s.inst != nil {
			st.URL = s.inst.Target().URL
		}
		s.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// stop ends all replicas at once, each within grace.
func (r *revision) stop(grace time.Duration) {
	r.cancel()
	var wg sync.WaitGroup
	for _, s := range r.slots {
		wg.Go(func() { s.stop(grace) })
	}
	wg.Wait()
}

// first starts the replica and waits until it is ready.
func (s *slot) first(ctx context.Context) error {
	inst, err := s.start(ctx)
	if err != nil {
		return err
	}
	if err := waitReady(ctx, inst, s.rev.spec, s.tail); err != nil {
		s.stop(min(time.Second, s.rev.m.deps.StopGrace)) // it never had a request to finish
		return err
	}
	s.setReady(inst, true)
	return nil
}

// start runs one instance: one that is left, or a new one with a secret of its
// own.
func (s *slot) start(ctx context.Context) (Instance, error) {
	m := s.rev.m
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	inst, err := s.adopt(ctx)
	if err != nil {
		s.note("an instance of %s that was left cannot be taken over, a new one is started: %v", s.rev.spec.Name, err)
	}
	if inst == nil {
		if inst, err = s.startNew(ctx); err != nil {
			return nil, err
		}
	}
	if s.rev.ctx.Err() != nil { // stopped while the back end was starting it
		s.stop(m.deps.StopGrace)
		return nil, s.rev.ctx.Err()
	}
	return inst, nil
}

// startNew has the back end start one.
func (s *slot) startNew(ctx context.Context) (Instance, error) {
	m := s.rev.m
	id, secret, last := newInstanceID(), m.newSecret(s.rev.spec.ID), &recent{}
	out := &lineWriter{sink: func(line string) { s.rev.book.add(line); last.add(line) }}
	inst, err := m.deps.Backend.Start(ctx, InstanceSpec{
		Spec: s.rev.spec, InstanceID: id, Artifact: s.rev.artifact, Secret: secret, Log: out,
	})
	if err != nil {
		m.forgetSecret(secret)
		return nil, err
	}
	s.mu.Lock()
	s.inst, s.id, s.secret, s.out, s.recent, s.ready, s.since = inst, id, secret, out, last, false, m.deps.Clock.Now()
	s.mu.Unlock()
	return inst, nil
}

// stop ends the present instance and its secret; nothing happens without one.
func (s *slot) stop(grace time.Duration) {
	s.mu.Lock()
	inst, secret, out := s.inst, s.secret, s.out
	s.inst, s.secret, s.out, s.ready = nil, "", nil, false
	s.mu.Unlock()
	if inst == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := inst.Stop(ctx); err != nil {
		s.rev.m.deps.Logf("runner: stop an instance of %s: %v", s.rev.spec.Name, err)
	}
	s.rev.m.forgetSecret(secret)
	out.flush()
}

func (s *slot) setReady(inst Instance, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inst == inst {
		s.ready = ready
	}
}

func (s *slot) tail() string {
	s.mu.Lock()
	out, last := s.out, s.recent
	s.mu.Unlock()
	if out != nil {
		out.flush()
	}
	if last == nil {
		return ""
	}
	return last.excerpt()
}

// supervise watches the replica until the revision is stopped: an instance
// that ends or fails its liveness probe is started again.
func (s *slot) supervise() {
	m, name := s.rev.m, s.rev.spec.Name
	pause := m.deps.RestartMin
	for s.rev.ctx.Err() == nil {
		s.mu.Lock()
		inst, id := s.inst, s.id
		s.mu.Unlock()
		if inst != nil {
			began := time.NewTimer(m.deps.RestartMax)
			why := s.watch(inst)
			select {
			case <-began.C: // it ran long enough: not a crash loop
				pause = m.deps.RestartMin
			default:
				began.Stop()
			}
			if s.rev.ctx.Err() != nil {
				return
			}
			s.setReady(inst, false)
			s.note("instance %s of %s: %s; it is restarted in %s", id, name, why, pause)
			s.stop(m.deps.StopGrace)
		}
		select {
		case <-time.After(pause):
		case <-s.rev.ctx.Done():
			return
		}
		pause = min(pause*2, m.deps.RestartMax)
		s.mu.Lock()
		s.restarts++
		s.mu.Unlock()
		if _, err := s.start(s.rev.ctx); err != nil && s.rev.ctx.Err() == nil {
			s.note("instance of %s could not be started: %v", name, err)
		}
	}
}

// watch probes an instance until it must be replaced, and says why.
func (s *slot) watch(inst Instance) string {
	ctx, spec := s.rev.ctx, s.rev.spec
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	if !ready { // after a restart
		err := waitReady(ctx, inst, spec, s.tail)
		if err != nil {
			return err.Error()
		}
		s.setReady(inst, true)
		s.note("instance of %s is ready again", spec.Name)
	}
	live, rdy := time.NewTicker(spec.Liveness.Period), time.NewTicker(spec.Readiness.Period)
	defer live.Stop()
	defer rdy.Stop()
	liveFailed, readyFailed, readyPassed := 0, 0, 0
	for {
		select {
		case <-ctx.Done():
			return "stopped"
		case <-inst.Done():
			return fmt.Sprintf("it exited with code %d", inst.ExitCode())
		case <-live.C:
			a := ask(ctx, inst, spec.Liveness)
			if a.ok() || ctx.Err() != nil {
				liveFailed = 0
				continue
			}
			select {
			case <-inst.Done(): // that is why it does not answer
				return fmt.Sprintf("it exited with code %d", inst.ExitCode())
			default:
			}
			if liveFailed++; liveFailed >= spec.Liveness.FailureThreshold {
				return fmt.Sprintf("the liveness probe failed %d times in a row, last: %s", liveFailed, a)
			}
		case <-rdy.C:
			a := ask(ctx, inst, spec.Readiness)
			switch {
			case ctx.Err() != nil:
			case a.ok():
				readyFailed, readyPassed = 0, readyPassed+1
				if readyPassed == spec.Readiness.SuccessThreshold {
					s.setReady(inst, true)
				}
			default:
				readyFailed, readyPassed = readyFailed+1, 0
				if readyFailed == spec.Readiness.FailureThreshold {
					s.setReady(inst, false)
					s.note("instance of %s takes no requests: the readiness probe failed %d times in a row, last: %s", spec.Name, readyFailed, a)
				}
			}
		}
	}
}

// note writes to the deployment's log and the manager's.
func (s *slot) note(format string, args ...any) {
	fmt.Fprintf(stamped(s.rev.m.deps.Clock, s.rev.book), format+"\n", args...)
	s.rev.m.deps.Logf("runner: "+format, args...)
}
