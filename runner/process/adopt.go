package process

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

var _ runner.Adopter = (*Backend)(nil)

// orphan is a sandboxed instance that an earlier process of this state folder
// left.
type orphan struct {
	rec   record
	ended bool
}

// folder is what layOut made.
func (o orphan) folder() folder {
	dir := o.rec.Mark
	return folder{dir: dir, root: filepath.Join(dir, "root"), home: filepath.Join(dir, "home"), tmp: filepath.Join(dir, "tmp"), boxed: true}
}

func (o orphan) end(ctx context.Context) error { return endRecorded(ctx, o.rec.Mark, &o.rec) }

// newKey is a sandbox's own secret.
func newKey() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand
	return hex.EncodeToString(raw[:])
}

// fingerprint tells whether an instance is what would be started now. It is made
// with the sandbox's key, since a Spec may hold what nobody should guess at.
func (b *Backend) fingerprint(key string, spec runner.Spec, artifact string) (string, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("process: %w", err)
	}
	h := hmac.New(sha256.New, []byte(key))
	for _, part := range [][]byte{raw, []byte(artifact), []byte(b.insideIdentity())} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	if b.cfg.CABundle != "" { // the trust store is written anew each time, from the same
		bundle, err := os.ReadFile(b.cfg.CABundle)
		if err != nil {
			return "", fmt.Errorf("process: %w", err)
		}
		sum := sha256.Sum256(bundle)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Inherit keeps the sandboxed instances of the given revisions for Adopt, and
// ends everything else that an earlier process left.
func (b *Backend) Inherit(ctx context.Context, revisions map[string]string) error {
	return eachRecorded(ctx, b.cfg.StateDir, func(dir string, rec *record) error {
		if rec == nil || !b.sandboxed() || rec.Protocol != sandbox.Protocol || rec.Key == "" || filepath.Clean(rec.Mark) != dir ||
			revisions[rec.Deployment] != rec.Revision {
			return endRecorded(ctx, dir, rec)
		}
		o := orphan{rec: *rec, ended: !rec.alive()}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.orphans[rec.Deployment] = append(b.orphans[rec.Deployment], o)
		return nil
	})
}

// Orphans are the instances left of exactly this Spec, oldest first.
func (b *Backend) Orphans(spec runner.Spec, artifact string) []runner.Orphan {
	b.mu.Lock()
	left := slices.Clone(b.orphans[spec.ID])
	b.mu.Unlock()
	slices.SortFunc(left, func(x, y orphan) int { return x.rec.Since.Compare(y.rec.Since) })
	var out []runner.Orphan
	for _, o := range left {
		now, err := b.fingerprint(o.rec.Key, spec, artifact)
		if err != nil {
			b.cfg.Logf("process: instance %s cannot be compared: %v", o.rec.ID, err)
			continue
		}
		known := runner.Orphan{ID: o.rec.ID, Secret: o.rec.Secret, Since: o.rec.Since, Ended: o.ended}
		switch {
		case o.ended:
			raw, err := os.ReadFile(filepath.Join(o.rec.Mark, sandbox.OutputFile))
			if err != nil {
				b.cfg.Logf("process: the last output of instance %s is lost: %v", o.rec.ID, err)
			}
			known.Output = string(raw)
		case !hmac.Equal([]byte(now), []byte(o.rec.Fingerprint)):
			b.cfg.Logf("process: instance %s of %s is of other settings: it is ended", o.rec.ID, spec.Name)
			continue
		}
		out = append(out, known)
	}
	return out
}

// claim takes an orphan out.
func (b *Backend) claim(deployment, id string) (orphan, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.orphans[deployment]
	n := slices.IndexFunc(left, func(o orphan) bool { return o.rec.ID == id })
	if n < 0 {
		return orphan{}, false
	}
	o := left[n]
	b.orphans[deployment] = slices.Delete(left, n, n+1)
	return o, true
}

// Adopt takes a sandboxed instance over from the process that died.
func (b *Backend) Adopt(ctx context.Context, spec runner.InstanceSpec) (_ runner.Instance, err error) {
	o, ok := b.claim(spec.ID, spec.InstanceID)
	if !ok {
		return nil, fmt.Errorf("process: there is no instance %s to take over", spec.InstanceID)
	}
	i := &instance{b: b, id: spec.InstanceID, folder: o.folder(), done: make(chan struct{})}
	defer func() {
		if err != nil {
			i.kill()
			i.leave()
			err = errors.Join(err, o.end(context.WithoutCancel(ctx)))
		}
	}()
	a, err := parseArtifact(spec.Artifact)
	if err != nil {
		return nil, err
	}
	if a.Command != nil {
		_, i.ports, err = b.ownCommand(spec, a)
	} else if spec.Script != nil {
		_, i.ports = boxedScriptCommand(spec, a)
	}
	if err != nil {
		return nil, err
	}
	if !o.rec.alive() {
		return nil, fmt.Errorf("process: instance %s has ended", spec.InstanceID)
	}
	i.connect(spec)
	box, err := sandbox.Adopt(ctx, i.folder.dir, o.rec.Key, o.rec.PID, spec.Log)
	if err != nil {
		return nil, fmt.Errorf("process: instance %s: %w", spec.InstanceID, err)
	}
	if err := i.occupy(spec, box); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	b.registerLocked(i)
	return i, nil
}

// Disown ends what is left of a deployment.
func (b *Backend) Disown(id string) {
	b.mu.Lock()
	left := b.orphans[id]
	delete(b.orphans, id)
	b.mu.Unlock()
	for _, o := range left {
		if err := o.end(context.Background()); err != nil {
			b.cfg.Logf("process: end instance %s: %v", o.rec.ID, err)
		}
	}
}

// disownAll ends whatever nobody took over.
func (b *Backend) disownAll() {
	b.mu.Lock()
	ids := make([]string, 0, len(b.orphans))
	for id := range b.orphans {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	for _, id := range ids {
		b.Disown(id)
	}
}
