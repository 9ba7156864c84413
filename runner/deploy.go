package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Deploy brings a revision up and returns when it serves, replacing the one
// before. On failure the revision before keeps serving and nothing of the new
// one is left running. The error is a *Failure where the user can mend it.
//
// Cancelling ctx, Remove, Close, or a later Deploy of the same ID end it with
// a Failure of kind Canceled.
func (m *Manager) Deploy(ctx context.Context, spec Spec) error {
	if err := validate(spec); err != nil {
		return err
	}
	spec.Liveness = spec.Liveness.withDefaults(spec.Scoring)
	spec.Readiness = spec.Readiness.withDefaults(spec.Scoring)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	a := &attempt{revision: spec.Revision, building: true, cancel: cancel, done: make(chan struct{})}
	d, err := m.begin(ctx, spec, a)
	if err != nil {
		return err
	}
	rev, err := m.bringUp(ctx, spec, a)
	m.Disown(spec.ID)

	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && (d.removed || m.closed || ctx.Err() != nil) {
		err = canceled(spec, context.Canceled)
	}
	if err != nil {
		if rev != nil {
			// Not under the lock, and not in the background: "nothing left
			// running" holds when Deploy returns.
			m.mu.Unlock()
			rev.stop(m.deps.StopGrace)
			m.mu.Lock()
		}
		d.failure = err.Error()
		m.endLocked(d, a)
		return err
	}
	old := d.current
	d.current, d.failure = rev, ""
	m.deps.Logf("runner: %s revision %s serves with %d instance(s)", spec.Name, spec.Revision, spec.Instances)
	if old != nil {
		m.work.Go(func() { m.drain(old) })
	}
	m.endLocked(d, a)
	return nil
}

// begin makes a the deployment's attempt in flight, after cancelling and
// awaiting an earlier one.
func (m *Manager) begin(ctx context.Context, spec Spec, a *attempt) (*deployment, error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, canceled(spec, errors.New("the emulator is shutting down"))
		}
		d := m.deployments[spec.ID]
		if d == nil {
			d = &deployment{id: spec.ID}
			m.deployments[spec.ID] = d
		}
		earlier := d.attempt
		if earlier == nil {
			d.name, d.attempt = spec.Name, a
			m.work.Add(1)
			dir := m.logDir(spec.ID)
			m.mu.Unlock()
			if err := os.MkdirAll(dir, 0o700); err == nil {
				err = os.WriteFile(filepath.Join(dir, "name"), []byte(spec.Name+"\n"), 0o600)
				if err != nil {
					m.deps.Logf("runner: %v", err)
				}
			}
			return d, nil
		}
		m.mu.Unlock()
		earlier.cancel()
		select {
		case <-earlier.done:
		case <-ctx.Done():
			return nil, canceled(spec, ctx.Err())
		}
	}
}

func (m *Manager) endLocked(d *deployment, a *attempt) {
	if d.attempt == a {
		d.attempt = nil
	}
	close(a.done)
	m.work.Done()
}

// bringUp builds and starts a revision and waits until it is ready. With an
// error it returns what it started, to be stopped.
func (m *Manager) bringUp(ctx context.Context, spec Spec, a *attempt) (*revision, error) {
	log := m.Log(spec.ID, StorageInitializer)
	artifact, err := m.deps.Backend.Build(ctx, spec.Environment, spec.Script != nil, log)
	if err != nil {
		return nil, m.failed(ctx, spec, err)
	}
	m.mu.Lock()
	a.building = false
	book, err := m.bookLocked(spec.ID, InferenceServer)
	m.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("runner: open the log of %s: %w", spec.Name, err)
	}

	rev := newRevision(m, spec, artifact, book)
	rev.inherit()
	results := make(chan error, len(rev.slots))
	startCtx, stopOthers := context.WithCancel(ctx)
	defer stopOthers()
	for _, s := range rev.slots {
		m.work.Go(func() { results <- s.first(startCtx) })
	}
	var first error
	for range rev.slots {
		if err := <-results; err != nil && first == nil {
			first = err
			stopOthers()
		}
	}
	if first != nil {
		return rev, m.failed(ctx, spec, first)
	}
	for _, s := range rev.slots {
		m.work.Go(s.supervise)
	}
	return rev, nil
}

// failed turns an end by cancellation into the Failure that says so.
func (m *Manager) failed(ctx context.Context, spec Spec, err error) error {
	if ctx.Err() != nil || m.ctx.Err() != nil {
		return canceled(spec, err)
	}
	var f *Failure
	if !errors.As(err, &f) {
		return fmt.Errorf("runner: %s: %w", spec.Name, err)
	}
	m.deps.Logf("runner: %s revision %s failed: %v", spec.Name, spec.Revision, f)
	return err
}

// drain lets requests that already chose the old revision be answered, then
// ends it.
func (m *Manager) drain(old *revision) {
	if m.deps.Quiet == nil {
		select {
		case <-time.After(min(time.Second, m.deps.Drain)):
		case <-m.ctx.Done():
		}
	} else {
		m.quiet(m.ctx, old.spec.ID, old.addresses())
	}
	if m.ctx.Err() != nil {
		old.stop(m.deps.StopGrace)
		return
	}
	old.stop(m.deps.Drain)
}

func canceled(spec Spec, cause error) *Failure {
	return &Failure{Kind: Canceled, Cause: cause,
		Message: fmt.Sprintf("revision %s of %s was cancelled: it was removed or replaced meanwhile", spec.Revision, spec.Name)}
}

// validate refuses what no back end could run; callers have checked the user's
// own mistakes before.
func validate(spec Spec) error {
	switch {
	case spec.ID == "" || spec.Name == "":
		return errors.New("runner: a Spec needs ID and Name")
	case spec.Instances < 1:
		return fmt.Errorf("runner: %s: Instances is %d, at least 1 is needed", spec.Name, spec.Instances)
	case spec.Scoring.Port < 1 || spec.Scoring.Port > 65535:
		return fmt.Errorf("runner: %s: scoring port %d is not a port", spec.Name, spec.Scoring.Port)
	}
	return nil
}
