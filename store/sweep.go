package store

import (
	"errors"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// addOrphans asks the committer to look at contents that may have become
// unreferenced. Only it removes files: it alone knows that no commit is under
// way that refers to one.
func (s *Store) addOrphans(digests ...Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphans = append(s.orphans, digests...)
	s.wakeLocked()
}

// removeOrphans removes those of the digests, and of the ones waiting, that
// nothing refers to. Runs on the committer.
func (s *Store) removeOrphans(digests []Digest) {
	s.mu.Lock()
	digests = append(digests, s.orphans...)
	s.orphans = nil
	s.mu.Unlock()
	if len(digests) == 0 {
		return
	}
	unreferenced, err := s.unreferenced(digests)
	if err != nil {
		s.logf("cannot tell which files are still in use; they stay until the next start: %v", err)
		return
	}
	for _, d := range unreferenced {
		if err := s.files.removeUnpinned(d); err != nil {
			s.logf("cannot remove an unused file; it stays until the next start: %v", err)
		}
	}
}

// unreferenced returns those of the digests whose committed count is zero.
func (s *Store) unreferenced(digests []Digest) (found []Digest, err error) {
	err = guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			counts := tx.Bucket(filesBucket)
			for _, d := range digests {
				if counts.Get(d[:]) == nil {
					found = append(found, d)
				}
			}
			return nil
		})
	})
	return found, err
}

// sweepContent looks once through all files for those a killed process left
// unreferenced. It runs beside the first requests, so that a start does not
// wait for the folder's size; the committer decides, as for any other orphan.
// A name that is no digest is not ours and stays.
func (s *Store) sweepContent() {
	defer close(s.swept)
	dir, err := os.Open(s.files.dir)
	if err != nil {
		s.logf("cannot look for unused files: %v", err)
		return
	}
	defer func() { _ = dir.Close() }()
	for {
		names, err := dir.Readdirnames(1024)
		var digests []Digest
		for _, name := range names {
			if d, err := ParseDigest(name); err == nil {
				digests = append(digests, d)
			}
		}
		if err == nil || errors.Is(err, io.EOF) {
			var viewErr error
			if digests, viewErr = s.unreferenced(digests); viewErr == nil && len(digests) > 0 {
				s.addOrphans(digests...)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.logf("cannot look for unused files: %v", err)
			}
			return
		}
		select {
		case <-s.closing:
			return
		default:
		}
	}
}
