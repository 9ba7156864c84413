package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// A batch is cut at these sizes so that its members are not kept waiting by
// late-comers, nor memory by their values.
const (
	maxBatchClosures = 256
	maxBatchBytes    = 16 << 20
)

// request is one Update call on its way through the committer.
type request struct {
	state atomic.Int32   // waiting, then claimed or abandoned
	turn  chan *updateTx // committer: run your closure on this
	ran   chan bool      // caller: it ran, and this is whether it succeeded
	done  chan error     // committer: the batch committed, or why not
	hooks chan struct{}  // caller: the OnCommit hooks have run
}

const (
	waiting int32 = iota
	claimed
	abandoned
)

// Update runs f once and returns when what it wrote is durable, or f's error
// when f failed and nothing was written. If ctx ends before f's turn came, f
// never runs; once it has run, Update waits for the commit.
//
// f runs on the calling goroutine while no other closure does. It must not
// call Update or Close, and may not keep tx.
func (s *Store) Update(ctx context.Context, f func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{
		turn:  make(chan *updateTx, 1),
		ran:   make(chan bool, 1),
		done:  make(chan error, 1),
		hooks: make(chan struct{}),
	}
	if err := s.enqueue(r); err != nil {
		return err
	}
	var tx *updateTx
	select {
	case tx = <-r.turn:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err()
		}
		tx = <-r.turn
	}
	if tx == nil { // the committer has no transaction to offer
		return <-r.done
	}
	if err := ctx.Err(); err != nil {
		tx.ended.Store(true)
		r.ran <- false
		return err
	}
	failed := r.run(tx, f)
	err := <-r.done
	switch {
	case err != nil && failed != nil:
		// f may have failed over what an uncommitted neighbour wrote.
		return fmt.Errorf("%w (the change itself failed: %w)", err, failed)
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	if len(tx.hooks) > 0 {
		defer close(r.hooks)
		for _, hook := range tx.hooks {
			hook()
		}
	}
	return nil
}

// run gives the turn back whatever f does: a panic or runtime.Goexit unwinds
// the caller, with its own stack, and counts as failure for the committer.
func (r *request) run(tx *updateTx, f func(Tx) error) error {
	ok := false
	defer func() {
		tx.ended.Store(true)
		r.ran <- ok
	}()
	err := f(tx)
	ok = err == nil
	return err
}

func (s *Store) enqueue(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.queue = append(s.queue, r)
	s.wakeLocked()
	return nil
}

func (s *Store) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next claims the oldest request whose caller still waits.
func (s *Store) next() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		r := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if r.state.CompareAndSwap(waiting, claimed) {
			return r
		}
	}
	s.queue = nil
	return nil
}

// commitLoop is the committer: the only writer of the database and the only
// remover of files.
func (s *Store) commitLoop() {
	for {
		last := false
		select {
		case <-s.wake:
		case <-s.closing:
			last = true
		}
		for r := s.next(); r != nil; r = s.next() {
			s.commitBatch(r)
		}
		s.removeOrphans(nil)
		if last {
			return
		}
	}
}

// member is a request whose closure has run.
type member struct {
	r  *request
	tx *updateTx
	ok bool
}

// commitBatch runs first and everything that waits behind it, and commits
// what succeeded.
func (s *Store) commitBatch(first *request) {
	btx, err := s.beginBatch()
	if err != nil {
		first.done <- err
		first.turn <- nil
		return
	}
	members, dirty, err := s.runClosures(btx, first)
	if err == nil {
		err = s.commit(btx, dirty)
	} else {
		s.fail(err)
	}
	if err != nil {
		err = fmt.Errorf("store: the change was not committed: %w", err)
		if rollbackErr := guarded(btx.Rollback); rollbackErr != nil && !errors.Is(rollbackErr, berrors.ErrTxClosed) {
			s.fail(rollbackErr)
			s.stuck = true
		}
	} else {
		s.savedVersion = s.version
		var gone []Digest
		for _, m := range members {
			if m.ok {
				gone = append(gone, m.tx.released()...)
			}
		}
		s.removeOrphans(gone)
	}
	for _, m := range members {
		m.r.done <- err
		if err == nil && m.ok && len(m.tx.hooks) > 0 {
			<-m.r.hooks
		}
	}
}

func (s *Store) beginBatch() (*bolt.Tx, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	return s.begin(true)
}

// begin opens a transaction of the engine.
func (s *Store) begin(writable bool) (*bolt.Tx, error) {
	btx, err := s.db.Begin(writable)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return nil, ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return btx, nil
}

func (s *Store) runClosures(btx *bolt.Tx, first *request) (members []member, dirty bool, err error) {
	size := 0
	for r := first; r != nil; r = s.next() {
		m := member{r: r, tx: &updateTx{readTx: readTx{btx: btx}, s: s}}
		r.turn <- m.tx
		m.ok = <-r.ran
		members = append(members, m)
		if m.ok {
			err := guarded(func() error {
				changed, err := m.tx.apply()
				dirty = dirty || changed
				return err
			})
			if err != nil {
				return members, dirty, err
			}
			size += m.tx.size()
		}
		if len(members) == maxBatchClosures || size >= maxBatchBytes {
			break
		}
	}
	return members, dirty, nil
}

// commit ends the transaction. One that changed nothing costs no fsync.
func (s *Store) commit(btx *bolt.Tx, dirty bool) error {
	if !dirty && s.version == s.savedVersion {
		return btx.Rollback()
	}
	id := btx.ID()
	panicked := true
	err := guarded(func() error {
		// Versions that failed closures were given are used up as well.
		err := btx.Bucket(metaBucket).Put(versionKey, numberBytes(s.version))
		if err == nil {
			err = btx.Commit()
		}
		panicked = false
		return err
	})
	if err != nil && (panicked || s.visible(id)) {
		// Readers may see it and the disk may not have it: nothing that is
		// built upon it can be promised.
		s.fail(err)
	}
	return err
}

// visible reports whether the transaction is what readers see.
func (s *Store) visible(id int) (yes bool) {
	err := guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			yes = tx.ID() >= id
			return nil
		})
	})
	return yes || err != nil
}

// fail stops all further writing: the engine's state is not known any more.
func (s *Store) fail(err error) {
	if s.broken == nil {
		s.broken = fmt.Errorf("store: writing stopped after a failure, start again: %w", err)
		s.logf("%v", s.broken)
	}
}
