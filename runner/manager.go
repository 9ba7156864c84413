package runner

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

// Deps is what a Manager needs.
type Deps struct {
	Backend Backend
	Clock   clock.Clock
	// Dir keeps the deployments' logs across restarts of the emulator.
	Dir string
	// Logf gets the manager's own events; nil drops them.
	Logf func(format string, args ...any)

	// RestartMin doubling to RestartMax is the pause before an instance that
	// ended is started again; 0 means 1 s and 1 min.
	RestartMin, RestartMax time.Duration
	// Quiet waits until a deployment has no request under way; with targets,
	// until none of them has. It is asked before instances that get no new
	// requests are ended; nil knows of no request.
	Quiet func(ctx context.Context, id string, targets []Target) error
	// Drain is how long a replaced or removed revision may finish its requests
	// before its SIGTERM, and a replaced one after it; 0 means 30 s, what the
	// inference server allows itself.
	Drain time.Duration
	// StopGrace is the same for a removed or failed one; 0 means 5 s.
	StopGrace time.Duration
}

// Manager runs deployments on a Backend. It does not sweep what an earlier
// process left: call Backend.Sweep before the first Deploy, or Inherit.
type Manager struct {
	deps   Deps
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	deployments map[string]*deployment
	books       map[string]*logbook // by file
	owners      map[[sha256.Size]byte]string
}

// deployment is one Spec.ID through its revisions.
type deployment struct {
	id, name string
	current  *revision // serving, or nil
	attempt  *attempt  // in flight, or nil
	removed  bool
	failure  string
}

// attempt is one Deploy in flight.
type attempt struct {
	revision string
	building bool
	cancel   context.CancelFunc
	done     chan struct{}
}

// NewManager starts no instance and no goroutine.
func NewManager(deps Deps) (*Manager, error) {
	if deps.Backend == nil || deps.Clock == nil || deps.Dir == "" {
		return nil, errors.New("runner: Backend, Clock and Dir are needed")
	}
	if deps.Logf == nil {
		deps.Logf = func(string, ...any) {}
	}
	deps.RestartMin = orDefault(deps.RestartMin, time.Second)
	deps.RestartMax = orDefault(deps.RestartMax, time.Minute)
	deps.Drain = orDefault(deps.Drain, 30*time.Second)
	deps.StopGrace = orDefault(deps.StopGrace, 5*time.Second)
	if err := os.MkdirAll(deps.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	m := &Manager{deps: deps, deployments: map[string]*deployment{}, books: map[string]*logbook{}, owners: map[[sha256.Size]byte]string{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

func orDefault(d, or time.Duration) time.Duration {
	if d <= 0 {
		return or
	}
	return d
}

// Remove ends the deployment's instances, once their requests are answered, and
// forgets its logs. Removing what is not there is no error.
func (m *Manager) Remove(ctx context.Context, id string) error {
	m.mu.Lock()
	d := m.deployments[id]
	var waiting *attempt
	var current *revision
	if d != nil {
		waiting = d.attempt
	}
	m.mu.Unlock()
	if waiting != nil {
		waiting.cancel()
	}
	if d != nil {
		// What waits for an instance still gets one.
		m.quiet(ctx, id, nil)
	}
	m.mu.Lock()
	if d != nil && m.deployments[id] == d {
		d.removed = true
		waiting, current = d.attempt, d.current
		d.current = nil
		delete(m.deployments, id)
	}
	m.mu.Unlock()
	if waiting != nil {
		waiting.cancel()
		select {
		case <-waiting.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if current != nil {
		current.stop(m.deps.StopGrace)
	}
	m.Disown(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deployments[id] != nil { // created again meanwhile: its logs are new ones
		return nil
	}
	for _, kind := range []LogKind{InferenceServer, StorageInitializer} {
		path := m.logPath(id, kind)
		if b := m.books[path]; b != nil {
			b.close()
			delete(m.books, path)
		}
	}
	if err := os.RemoveAll(m.logDir(id)); err != nil {
		return fmt.Errorf("runner: remove the logs of %s: %w", id, err)
	}
	return nil
}

// quiet waits for requests under way, within the time they are given.
func (m *Manager) quiet(ctx context.Context, id string, targets []Target) {
	if m.deps.Quiet == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.deps.Drain)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	if err := m.deps.Quiet(ctx, id, targets); err != nil {
		m.deps.Logf("runner: %s is ended with requests under way: %v", m.Name(id), err)
	}
}

// Targets are the deployment's ready instances; none for an unknown id.
func (m *Manager) Targets(id string) []Target {
	m.mu.Lock()
	d := m.deployments[id]
	var current *revision
	if d != nil {
		current = d.current
	}
	m.mu.Unlock()
	if current == nil {
		return nil
	}
	return current.targets()
}

// Owner finds the deployment whose instance was given the secret. The look-up
// is by hash, so its time says nothing about a guessed secret.
func (m *Manager) Owner(secret string) (id string, ok bool) {
	sum := sha256.Sum256([]byte(secret))
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok = m.owners[sum]
	return id, ok
}

// Name is the deployment's name for people, "" for an unknown id.
func (m *Manager) Name(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.deployments[id]; d != nil {
		return d.name
	}
	return readName(m.logDir(id))
}

// Logs gives the last tail lines of one log, all that is kept for tail <= 0.
// The logs of a failed deployment stay until it is removed.
func (m *Manager) Logs(id string, kind LogKind, tail int) string {
	m.mu.Lock()
	path := m.logPath(id, kind)
	book := m.books[path]
	if book == nil {
		if _, err := os.Stat(path); err != nil {
			m.mu.Unlock()
			return ""
		}
		var err error
		if book, err = m.bookLocked(id, kind); err != nil {
			m.mu.Unlock()
			m.deps.Logf("runner: open log %s: %v", path, err)
			return ""
		}
	}
	m.mu.Unlock()
	return book.tail(tail)
}

// Follow yields the last tail lines of a log (all for tail <= 0) and then each
// new one, until ctx ends or the deployment is removed.
func (m *Manager) Follow(ctx context.Context, id string, kind LogKind, tail int) iter.Seq[string] {
	return func(yield func(string) bool) {
		m.mu.Lock()
		book, err := m.bookLocked(id, kind)
		m.mu.Unlock()
		if err != nil {
			m.deps.Logf("runner: follow log: %v", err)
			return
		}
		book.follow(ctx, tail, yield)
	}
}

// Log is where the control plane writes its own lines about a deployment, such
// as the download of code and model; each line gets the time in front.
func (m *Manager) Log(id string, kind LogKind) io.Writer {
	m.mu.Lock()
	defer m.mu.Unlock()
	book, err := m.bookLocked(id, kind)
	if err != nil {
		m.deps.Logf("runner: open log: %v", err)
		return io.Discard
	}
	return stamped(m.deps.Clock, book)
}

// bookLocked opens a log once.
func (m *Manager) bookLocked(id string, kind LogKind) (*logbook, error) {
	path := m.logPath(id, kind)
	if b := m.books[path]; b != nil {
		return b, nil
	}
	if m.closed {
		return nil, errors.New("runner: closed")
	}
	b, err := openLogbook(path)
	if err != nil {
		return nil, err
	}
	m.books[path] = b
	return b, nil
}

// logDir is by hash: an id is any string.
func (m *Manager) logDir(id string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(m.deps.Dir, hex.EncodeToString(sum[:12]))
}

func (m *Manager) logPath(id string, kind LogKind) string {
	return filepath.Join(m.logDir(id), string(kind)+".log")
}

// DeploymentStatus is one line of `amlocal status`.
type DeploymentStatus struct {
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Revision  string           `json:"revision,omitempty"`
	State     string           `json:"state"` // building, starting, running, degraded, failed
	Failure   string           `json:"failure,omitempty"`
	Backend   string           `json:"backend"`
	Instances []InstanceStatus `json:"instances,omitempty"`
}

// InstanceStatus is one replica.
type InstanceStatus struct {
	ID       string    `json:"id"`
	URL      string    `json:"url,omitempty"`
	Ready    bool      `json:"ready"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
}

// Status lists all deployments by name.
func (m *Manager) Status() []DeploymentStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]DeploymentStatus, 0, len(m.deployments))
	for _, d := range m.deployments {
		s := DeploymentStatus{ID: d.id, Name: d.name, Backend: m.deps.Backend.Name(), Failure: d.failure, State: "failed"}
		if d.current != nil {
			s.Revision, s.State, s.Instances = d.current.spec.Revision, "running", d.current.status()
			for _, i := range s.Instances {
				if !i.Ready {
					s.State = "degraded"
				}
			}
		}
		if a := d.attempt; a != nil {
			s.Revision, s.State = a.revision, "starting"
			if a.building {
				s.State = "building"
			}
		}
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Close cancels what is in flight and ends every instance, within about
// StopGrace.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	var current []*revision
	for _, d := range m.deployments {
		if d.current != nil {
			current = append(current, d.current)
		}
	}
	m.mu.Unlock()
	m.cancel()
	var stops sync.WaitGroup
	for _, r := range current {
		stops.Go(func() { r.stop(m.deps.StopGrace) })
	}
	stops.Wait()
	err := m.deps.Backend.Close()
	m.work.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.books {
		b.close()
	}
	return err
}

// newSecret registers a fresh 256-bit secret for id.
func (m *Manager) newSecret(id string) string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand
	secret := hex.EncodeToString(raw[:])
	m.ownSecret(secret, id)
	return secret
}

// ownSecret registers a secret for id.
func (m *Manager) ownSecret(secret, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owners[sha256.Sum256([]byte(secret))] = id
}

func (m *Manager) forgetSecret(secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.owners, sha256.Sum256([]byte(secret)))
}

// newInstanceID is short, because it becomes part of paths whose length
// Unix sockets limit.
func newInstanceID() string {
	var raw [6]byte
	_, _ = rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}
