package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/amlocal/amlocal/internal/clock"
)

// Durability says what an acknowledged change survives.
type Durability int

const (
	// Power means loss of power: every commit is fsynced.
	Power Durability = iota
	// Process means death of the process, kill -9 included, but not loss of
	// power.
	Process
)

// String is the name the command line uses.
func (d Durability) String() string {
	if d == Process {
		return "process"
	}
	return "power"
}

// Options of Open. The zero value is good.
type Options struct {
	Durability Durability
	// Clock names what is moved aside and seeds the versions of a fresh
	// database; nil is the system's.
	Clock clock.Clock
	// Logf receives the rare thing a user should read, from any goroutine;
	// nil discards it.
	Logf func(format string, args ...any)
}

// Store is an open state folder. Its methods may be called concurrently.
type Store struct {
	db         *bolt.DB
	dir        string
	durability Durability
	logf       func(format string, args ...any)
	lock       *lockFile
	files      *Files
	ephemeral  bool

	// Owned by whoever's turn it is: the committer or the closure it runs.
	version, savedVersion uint64
	// Owned by the committer.
	broken error
	stuck  bool

	wake      chan struct{} // holds a token while there may be work
	closing   chan struct{}
	committer sync.WaitGroup
	swept     chan struct{} // closed when the start's sweep is over
	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex
	closed  bool
	queue   []*request
	orphans []Digest // perhaps unreferenced; the committer decides
}

// ErrClosed is returned by a store that was closed.
var ErrClosed = errors.New("store: closed")

const (
	databaseName = "documents.db"
	filesName    = "files"
	incomingName = "incoming"
)

// LockName is the file in the state folder that is locked while it is open.
const LockName = "lock"

// Open opens the state folder dir and makes it if need be. Only one process
// can have it open: another gets a *LockedError at once. A database that does
// not open is moved aside and a fresh one begun; one written by a newer
// program is refused with a *SchemaError.
//
// A folder that is already there keeps its permissions; everything in it is
// readable by its owner alone.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.Clock == nil {
		opts.Clock = clock.System{}
	}
	if opts.Logf == nil {
		opts.Logf = func(string, ...any) {}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := makeDir(dir, opts.Durability); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := acquireLock(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir:        dir,
		durability: opts.Durability,
		logf:       opts.Logf,
		lock:       lock,
		wake:       make(chan struct{}, 1),
		closing:    make(chan struct{}),
		swept:      make(chan struct{}),
	}
	if err := s.open(opts.Clock); err != nil {
		return nil, errors.Join(err, lock.release())
	}
	s.committer.Go(s.commitLoop)
	s.committer.Go(s.sweepContent)
	return s, nil
}

// makeDir makes the state folder, and its name durable.
func makeDir(dir string, durability Durability) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if durability == Power {
		return syncDir(filepath.Dir(dir))
	}
	return nil
}

// OpenEphemeral opens a store in a temporary folder that Close removes.
func OpenEphemeral(ctx context.Context) (*Store, error) {
	dir, err := os.MkdirTemp("", "amlocal-store-")
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s, err := Open(ctx, dir, Options{Durability: Process})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.ephemeral = true
	return s, nil
}

func (s *Store) open(clk clock.Clock) error {
	db, err := openDatabase(filepath.Join(s.dir, databaseName), s.durability)
	var damage *damageError
	if errors.As(err, &damage) {
		aside, asideErr := moveAside(s.dir, clk.Now())
		if asideErr != nil {
			return fmt.Errorf("store: the database in %s is damaged (%w) and cannot be moved aside: %w", s.dir, damage, asideErr)
		}
		s.logf("the database in %s does not open (%v); it was moved to %s and a fresh one begun", s.dir, damage, aside)
		db, err = openDatabase(filepath.Join(s.dir, databaseName), s.durability)
	}
	if err != nil {
		return fmt.Errorf("store: open %s: %w", s.dir, err)
	}
	if s.version, err = prepareSchema(db, s.dir, clk.Now()); err != nil {
		return errors.Join(err, db.Close())
	}
	s.savedVersion = s.version
	s.db = db
	if s.files, err = openFiles(s); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// Files is the content half of the store.
func (s *Store) Files() *Files { return s.files }

// Close commits what is waiting, waits for open views to end, and gives the
// folder back. Do not call it from inside View or Update. Closing again
// returns the first result.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.closing)
	s.committer.Wait()
	s.files.close()
	var errs []error
	// A write transaction that could not be ended would block Close for ever.
	if !s.stuck {
		errs = append(errs, s.db.Close())
	}
	errs = append(errs, s.lock.release())
	if s.ephemeral {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// View runs f on a snapshot that later changes do not touch. The ReadTx is
// for one goroutine at a time and ends with f. Do not call Update from f.
func (s *Store) View(ctx context.Context, f func(ReadTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	btx, err := s.begin(false)
	if err != nil {
		return err
	}
	tx := &readTx{btx: btx}
	defer func() {
		tx.ended.Store(true)
		_ = btx.Rollback()
	}()
	return f(tx)
}

// guarded runs f and turns its panics into errors, a fault in the mapped
// database included: a damaged page must not end the process.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the database engine failed: %v", p)
		}
	}()
	return f()
}
