package store

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

func mustOpen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, Options{Durability: Process, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A commit that the disk refuses is everybody's error, runs no hook, leaves
// nothing behind, and does not end the store.
func TestFullDisk(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer func() { _ = s.Close() }()
	write := func(size int) error {
		return s.Update(t.Context(), func(tx Tx) error {
			tx.OnCommit(func() {
				if size > 1<<20 {
					t.Error("the hook of a failed commit ran")
				}
			})
			return tx.Put("b", []byte("k"), make([]byte, size))
		})
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = 1 << 20
	if err := write(2 << 20); !errors.Is(err, berrors.ErrMaxSizeReached) {
		t.Errorf("Update on a full disk: %v", err)
	}
	boom := errors.New("boom")
	if err := s.Update(t.Context(), func(Tx) error { return boom }); err != boom {
		t.Errorf("a failing closure after it: %v", err)
	}
	if err := s.View(t.Context(), func(tx ReadTx) error {
		if v, ok := tx.Get("b", []byte("k")); !ok || len(v) != 1 {
			t.Errorf("%d bytes after the failed commit", len(v))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = 0
	if err := write(3); err != nil {
		t.Errorf("Update when there is room again: %v", err)
	}
}

// When the engine fails under the committer, callers get errors and Close
// returns.
func TestEngineFailure(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	put := func() error {
		return s.Update(t.Context(), func(tx Tx) error { return tx.Put("b", []byte("k"), []byte("v")) })
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	// Without its metadata bucket the commit panics.
	if err := s.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(metaBucket) }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := put(); err == nil || !strings.Contains(err.Error(), "database engine failed") {
			t.Errorf("Update: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "not written by amlocal") {
		t.Errorf("Open: %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if err := s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(metaBucket).Put(schemaKey, numberBytes(schemaVersion+1))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the refusal gives the lock back
		_, err = Open(t.Context(), dir, Options{})
		var schema *SchemaError
		if !errors.As(err, &schema) || schema.Found != schemaVersion+1 || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open: %v", err)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil || string(after) != string(before) {
		t.Errorf("the refused database was changed (%v)", err)
	}
}

// A start removes what a killed process left: content without a reference and
// content that never arrived whole. It leaves strangers' files alone.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	st, err := s.files.Stage(t.Context(), strings.NewReader("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(tx Tx) error { return s.files.Ref(tx, st.Digest) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	orphan := Digest(sha256.Sum256([]byte("orphan")))
	kept := []string{s.files.path(st.Digest), filepath.Join(s.files.dir, "notes.txt")}
	gone := []string{s.files.path(orphan), filepath.Join(s.files.incoming, "123")}
	for _, path := range append([]string{kept[1]}, gone...) {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = mustOpen(t, dir)
	<-s.swept
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range kept {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	for _, path := range gone {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
}

// The sweep of a start must not take what the same process just staged.
func TestSweepSparesWhatIsStaged(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer func() { _ = s.Close() }()
	<-s.swept
	st, err := s.files.Stage(t.Context(), strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	s.swept = make(chan struct{})
	s.sweepContent()
	if err := s.Update(t.Context(), func(tx Tx) error { return s.files.Ref(tx, st.Digest) }); err != nil {
		t.Fatal(err)
	}
	st.Release()
	s.swept = make(chan struct{})
	s.sweepContent()
	if err := s.Update(t.Context(), func(Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if f, err := s.files.Open(st.Digest); err != nil {
		t.Error(err)
	} else {
		_ = f.Close()
	}
}
