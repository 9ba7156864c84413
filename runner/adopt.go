package runner

import (
	"context"
	"fmt"
	"time"
)

// Adopter is a Backend whose instances may outlive the process that started
// them, when that was killed.
type Adopter interface {
	// Inherit takes stock of what an earlier process of this state folder left,
	// in the place of Sweep. It ends everything but instances that can be taken
	// over and belong to one of the revisions, which are by Spec.ID.
	Inherit(ctx context.Context, revisions map[string]string) error
	// Orphans are what is left of exactly this Spec: anything in it that is
	// different now makes an instance another one.
	Orphans(spec Spec, artifact string) []Orphan
	// Adopt takes one over. spec has its InstanceID and Secret. What it printed
	// meanwhile comes first in spec.Log. Where that fails the instance is ended.
	Adopt(ctx context.Context, spec InstanceSpec) (Instance, error)
	// Disown ends what is left of a deployment and was not adopted.
	Disown(id string)
}

// Orphan is an instance whose emulator died.
type Orphan struct {
	ID, Secret string
	Since      time.Time
	// Ended says that it did not wait; Output is the last of what it printed.
	Ended  bool
	Output string
}

// Inherit ends what an earlier process left running, except what Deploy may take
// over of these revisions, by Spec.ID. Call it once, before the first Deploy.
// For a back end that hands nothing on, sweeping it is enough.
func (m *Manager) Inherit(ctx context.Context, revisions map[string]string) error {
	if a, ok := m.deps.Backend.(Adopter); ok {
		return a.Inherit(ctx, revisions)
	}
	return nil
}

// Disown ends what an earlier process left of a deployment that is not going to
// be deployed as it was.
func (m *Manager) Disown(id string) {
	if a, ok := m.deps.Backend.(Adopter); ok {
		a.Disown(id)
	}
}

// inherit gives the revision's replicas what is left of it.
func (r *revision) inherit() {
	a, ok := r.m.deps.Backend.(Adopter)
	if !ok {
		return
	}
	var living []Orphan
	for _, o := range a.Orphans(r.spec, r.artifact) {
		if !o.Ended {
			living = append(living, o)
			continue
		}
		out := &lineWriter{sink: r.book.add}
		_, _ = out.Write([]byte(o.Output))
		out.flush()
		fmt.Fprintf(stamped(r.m.deps.Clock, r.book), "instance %s of %s ended while the emulator was away\n", o.ID, r.spec.Name)
	}
	for n := range min(len(living), len(r.slots)) {
		r.slots[n].orphan = &living[n]
	}
}

// adopt takes the replica's orphan over. nil, without an error, means that there
// is none.
func (s *slot) adopt(ctx context.Context) (Instance, error) {
	s.mu.Lock()
	o := s.orphan
	s.orphan = nil
	s.mu.Unlock()
	a, ok := s.rev.m.deps.Backend.(Adopter)
	if o == nil || !ok {
		return nil, nil
	}
	m := s.rev.m
	m.ownSecret(o.Secret, s.rev.spec.ID)
	last := &recent{}
	out := &lineWriter{sink: func(line string) { s.rev.book.add(line); last.add(line) }}
	inst, err := a.Adopt(ctx, InstanceSpec{Spec: s.rev.spec, InstanceID: o.ID, Artifact: s.rev.artifact, Secret: o.Secret, Log: out})
	if err != nil {
		m.forgetSecret(o.Secret)
		return nil, err
	}
	s.mu.Lock()
	s.inst, s.id, s.secret, s.out, s.recent, s.ready, s.since = inst, o.ID, o.Secret, out, last, false, o.Since
	s.mu.Unlock()
	s.note("instance %s of %s goes on: the emulator is back", o.ID, s.rev.spec.Name)
	return inst, nil
}
