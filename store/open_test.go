package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

func get(t testing.TB, s *store.Store, key string) (value string, ok bool) {
	t.Helper()
	err := s.View(t.Context(), func(tx store.ReadTx) error {
		var v []byte
		v, ok = tx.Get("b", []byte(key))
		value = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return value, ok
}

func put(t testing.TB, s *store.Store, key, value string) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Put("b", []byte(key), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A damaged database, however damaged, is kept, with its files, and the user
// is told where; the emulator starts.
func TestDamagedDatabaseIsMovedAside(t *testing.T) {
	page := os.Getpagesize()
	for name, damage := range map[string]func(db []byte) []byte{
		"not a database":     func([]byte) []byte { return []byte(strings.Repeat("what is this? ", 5000)) },
		"a few bytes":        func([]byte) []byte { return []byte("short") },
		"one page":           func(db []byte) []byte { return db[:page] },
		"zeroed":             func(db []byte) []byte { return make([]byte, len(db)) },
		"metas zeroed":       func(db []byte) []byte { clear(db[:2*page]); return db },
		"metas flipped":      func(db []byte) []byte { db[40] ^= 1; db[page+40] ^= 1; return db },
		"cut after metas":    func(db []byte) []byte { return db[:2*page] },
		"cut short":          func(db []byte) []byte { return db[:len(db)*2/3/page*page] },
		"all pages but meta": func(db []byte) []byte { fill(db[2*page:], 0xff); return db },
		"pages of zeros":     func(db []byte) []byte { clear(db[2*page:]); return db },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			now := clock.NewManual(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
			var said []string
			opts := store.Options{Durability: store.Process, Clock: now, Logf: func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) }}
			s := open(t, dir, opts)
			for i := range 200 {
				put(t, s, fmt.Sprint("k", i), strings.Repeat("v", 500))
			}
			st := stage(t, s, "content")
			ref(t, s, st.Digest)
			st.Release()
			closeStore(t, s)

			path := filepath.Join(dir, "documents.db")
			db, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			db = damage(db)
			if err := os.WriteFile(path, db, 0o600); err != nil {
				t.Fatal(err)
			}
			for round, aside := range []string{"damaged-20260304T050607Z", "damaged-20260304T050607Z-2"} {
				said = nil
				s = open(t, dir, opts)
				if _, ok := get(t, s, "k1"); ok {
					t.Error("the fresh database has old documents")
				}
				put(t, s, "after", "v")
				closeStore(t, s)
				if len(said) != 1 || !strings.Contains(said[0], filepath.Join(dir, aside)) {
					t.Errorf("said %q", said)
				}
				kept, err := os.ReadFile(filepath.Join(dir, aside, "documents.db"))
				if err != nil || !bytes.Equal(kept, db) {
					t.Errorf("the damaged database was not kept as it was (%v)", err)
				}
				if round == 0 {
					if _, err := os.Stat(filepath.Join(dir, aside, "files", st.Digest.String())); err != nil {
						t.Error(err)
					}
				}
				s = open(t, dir, opts)
				if v, _ := get(t, s, "after"); v != "v" {
					t.Errorf("the fresh database lost a document: %q", v)
				}
				closeStore(t, s)
				if err := os.WriteFile(path, db, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Wherever a file is cut, the loss is noticed at the start: a page that is
// missing under the mapping would end the process when it is read.
func TestCutDatabaseIsNoticed(t *testing.T) {
	dir := t.TempDir()
	opts := store.Options{Durability: store.Process, Logf: func(string, ...any) {}}
	s := open(t, dir, opts)
	for i := range 30 {
		put(t, s, fmt.Sprint("k", i), strings.Repeat("v", 1500))
	}
	closeStore(t, s)
	path := filepath.Join(dir, "documents.db")
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(db) - os.Getpagesize(); size > 0; size -= os.Getpagesize() {
		if err := os.WriteFile(path, db[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, opts)
		if _, ok := get(t, s, "k0"); ok {
			t.Errorf("a database cut from %d to %d bytes was opened", len(db), size)
		}
		closeStore(t, s)
	}
	if moved, err := filepath.Glob(filepath.Join(dir, "damaged-*")); err != nil || len(moved) != len(db)/os.Getpagesize()-1 {
		t.Errorf("%d databases moved aside, %v", len(moved), err)
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// A start that was killed before it wrote anything is no damage.
func TestEmptyDatabaseFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "documents.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, store.Options{Logf: func(f string, a ...any) { t.Errorf(f, a...) }})
	put(t, s, "k", "v")
	closeStore(t, s)
}

// A file that cannot be read is not a damaged one.
func TestUnreadableDatabaseStays(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "documents.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Open(t.Context(), dir, store.Options{}); err == nil {
		_ = s.Close()
		t.Fatal("a directory was opened")
	}
	if _, err := os.Stat(filepath.Join(dir, "documents.db")); err != nil {
		t.Error(err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	_, err := store.Open(t.Context(), dir, store.Options{})
	var locked *store.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second Open: %v", err)
	}
	put(t, s, "k", "v")
	closeStore(t, s)
	closeStore(t, open(t, dir, store.Options{}))
}

// ETags of a discarded store must not match in the next one.
func TestVersionsFollowTheClock(t *testing.T) {
	version := func(now time.Time) (v uint64) {
		s := open(t, t.TempDir(), store.Options{Clock: clock.NewManual(now)})
		defer closeStore(t, s)
		if err := s.Update(t.Context(), func(tx store.Tx) (err error) { v, err = tx.Version(); return err }); err != nil {
			t.Fatal(err)
		}
		return v
	}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	if a, b := version(now), version(now.Add(time.Second)); b <= a+1000 {
		t.Errorf("versions %d, then %d", a, b)
	}
	if v := version(time.Time{}); v == 0 || v > 1000 {
		t.Errorf("version %d at the beginning of time", v)
	}
}

func TestEphemeral(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := store.OpenEphemeral(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "v")
	stage(t, s, "content").Release()
	closeStore(t, s)
	if left := entries(t, os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
