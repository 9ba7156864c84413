// Package storetest holds the conformance suite every implementation of
// store.Documents runs, and a store for other packages' tests.
package storetest

import (
	"testing"

	"github.com/amlocal/amlocal/store"
)

// Store is what the suite needs of an implementation.
type Store interface {
	store.Documents
	Close() error
}

// New opens a store that ends with the test.
func New(tb testing.TB) *store.Store {
	tb.Helper()
	s, err := store.OpenEphemeral(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Run proves an implementation. open opens the store kept in dir and fails
// the test when it cannot; the suite closes what it opens, and opens a folder
// again only after that.
func Run(t *testing.T, open func(t *testing.T, dir string) Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e *env)
	}{
		{"Documents", testDocuments},
		{"Limits", testLimits},
		{"Copies", testCopies},
		{"Scan", testScan},
		{"ScanSeesOwnWrites", testScanSeesOwnWrites},
		{"Reopen", testReopen},
		{"Rollback", testRollback},
		{"Isolation", testIsolation},
		{"Panic", testPanic},
		{"Goexit", testGoexit},
		{"Cancel", testCancel},
		{"Versions", testVersions},
		{"OnCommit", testOnCommit},
		{"Snapshot", testSnapshot},
		{"Counter", testCounter},
		{"Ended", testEnded},
		{"Close", testClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{T: t, dir: t.TempDir(), open: open}
			e.reopen()
			t.Cleanup(func() {
				if err := e.s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.test(t, e)
		})
	}
}

// env is one test's store, with helpers that fail the test.
type env struct {
	*testing.T
	dir  string
	open func(t *testing.T, dir string) Store
	s    Store
}

func (e *env) reopen() {
	e.Helper()
	if e.s != nil {
		if err := e.s.Close(); err != nil {
			e.Fatalf("Close: %v", err)
		}
	}
	e.s = e.open(e.T, e.dir)
}

func (e *env) update(f func(tx store.Tx) error) {
	e.Helper()
	if err := e.s.Update(e.Context(), f); err != nil {
		e.Fatalf("Update: %v", err)
	}
}

func (e *env) put(bucket, key, value string) {
	e.Helper()
	e.update(func(tx store.Tx) error { return tx.Put(bucket, []byte(key), []byte(value)) })
}

// want checks what a fresh view finds under key; absent means no value.
func (e *env) want(bucket, key, value string) {
	e.Helper()
	err := e.s.View(e.Context(), func(tx store.ReadTx) error {
		wantIn(e.T, tx, bucket, key, value)
		return nil
	})
	if err != nil {
		e.Fatalf("View: %v", err)
	}
}

// absent stands for no value; it is none that the tests write.
const absent = "\x00absent"

func wantIn(t *testing.T, tx store.ReadTx, bucket, key, value string) {
	t.Helper()
	got, ok := tx.Get(bucket, []byte(key))
	switch {
	case !ok && got != nil:
		t.Errorf("Get(%q, %q) = %q without ok", bucket, key, got)
	case !ok && value != absent:
		t.Errorf("Get(%q, %q) finds nothing, want %q", bucket, key, value)
	case ok && got == nil:
		t.Errorf("Get(%q, %q) = nil with ok", bucket, key)
	case ok && string(got) != value:
		t.Errorf("Get(%q, %q) = %q, want %q", bucket, key, got, value)
	}
}
