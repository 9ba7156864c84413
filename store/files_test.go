package store_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/amlocal/amlocal/store"
	"github.com/amlocal/amlocal/store/storetest"
)

func stage(t testing.TB, s *store.Store, content string) *store.Staged {
	t.Helper()
	st, err := s.Files().Stage(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatalf("Stage: %v", err)
	}
	return st
}

func ref(t testing.TB, s *store.Store, d store.Digest) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error { return s.Files().Ref(tx, d) }); err != nil {
		t.Fatalf("Ref: %v", err)
	}
}

func unref(t testing.TB, s *store.Store, d store.Digest) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error { return s.Files().Unref(tx, d) }); err != nil {
		t.Fatalf("Unref: %v", err)
	}
}

// settled waits until the committer has dealt with what was released.
func settled(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Update(t.Context(), func(store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t testing.TB, s *store.Store, d store.Digest, want string) {
	t.Helper()
	f, err := s.Files().Open(d)
	if err != nil {
		t.Errorf("Open: %v", err)
		return
	}
	defer func() { _ = f.Close() }()
	got, err := io.ReadAll(f)
	if err != nil || string(got) != want {
		t.Errorf("content %.40q (%v), want %.40q", got, err, want)
	}
}

func wantGone(t testing.TB, s *store.Store, d store.Digest) {
	t.Helper()
	if f, err := s.Files().Open(d); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			_ = f.Close()
		}
		t.Errorf("Open of a removed content: %v", err)
	}
}

func entries(t testing.TB, dirs ...string) (names []string) {
	t.Helper()
	for _, dir := range dirs {
		found, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestStage(t *testing.T) {
	s := storetest.New(t)
	for _, content := range []string{"", "x", strings.Repeat("0123456789abcdef", 100_000)} {
		st := stage(t, s, content)
		if want := store.Digest(sha256.Sum256([]byte(content))); st.Digest != want {
			t.Errorf("digest %s, want %s", st.Digest, want)
		}
		if st.MD5 != md5.Sum([]byte(content)) {
			t.Errorf("MD5 %x", st.MD5)
		}
		if st.Size != int64(len(content)) {
			t.Errorf("size %d, want %d", st.Size, len(content))
		}
		wantContent(t, s, st.Digest, content)
		st.Release()
		st.Release()
		settled(t, s)
		wantGone(t, s, st.Digest)
	}
}

func TestReferences(t *testing.T) {
	s := storetest.New(t)
	st := stage(t, s, "content")
	ref(t, s, st.Digest)
	st.Release()
	settled(t, s)
	wantContent(t, s, st.Digest, "content")
	ref(t, s, st.Digest) // one that is referred to needs no Staged
	unref(t, s, st.Digest)
	wantContent(t, s, st.Digest, "content")

	// A change that fails takes nothing away.
	boom := errors.New("boom")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := s.Files().Unref(tx, st.Digest); err != nil {
			return err
		}
		if err := s.Files().Unref(tx, st.Digest); err == nil {
			t.Error("Unref below zero succeeded")
		}
		return boom
	})
	if err != boom {
		t.Fatal(err)
	}
	wantContent(t, s, st.Digest, "content")

	// Within one change only the outcome counts.
	err = s.Update(t.Context(), func(tx store.Tx) error {
		if err := s.Files().Ref(tx, st.Digest); err != nil {
			return err
		}
		return errors.Join(s.Files().Unref(tx, st.Digest), s.Files().Unref(tx, st.Digest))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantGone(t, s, st.Digest)
	err = s.Update(t.Context(), func(tx store.Tx) error { return s.Files().Ref(tx, st.Digest) })
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Ref of a content that is not there: %v", err)
	}
}

// A held content outlives its last reference, and an open file its name.
func TestPinned(t *testing.T) {
	s := storetest.New(t)
	first := stage(t, s, "content")
	ref(t, s, first.Digest)
	second := stage(t, s, "content")
	first.Release()
	unref(t, s, first.Digest)
	wantContent(t, s, first.Digest, "content")
	ref(t, s, second.Digest)
	second.Release()
	settled(t, s)
	wantContent(t, s, second.Digest, "content")
	f, err := s.Files().Open(second.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	unref(t, s, second.Digest)
	wantGone(t, s, second.Digest)
	if runtime.GOOS != "windows" {
		if got, err := io.ReadAll(f); err != nil || string(got) != "content" {
			t.Errorf("an open file reads %q, %v", got, err)
		}
	}
}

func TestRefWantsItsOwnTransaction(t *testing.T) {
	a, b := storetest.New(t), storetest.New(t)
	st := stage(t, a, "content")
	defer st.Release()
	err := b.Update(t.Context(), func(tx store.Tx) error { return a.Files().Ref(tx, st.Digest) })
	if err == nil {
		t.Error("a transaction of another store was taken")
	}
}

func TestStageFailures(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{Durability: store.Process})
	defer func() { _ = s.Close() }()
	boom := errors.New("boom")
	if _, err := s.Files().Stage(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(boom))); !errors.Is(err, boom) {
		t.Errorf("Stage of a failing reader: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	half := iotest.OneByteReader(io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { cancel(); return 1, nil })))
	if _, err := s.Files().Stage(ctx, half); !errors.Is(err, context.Canceled) {
		t.Errorf("Stage with an ended context: %v", err)
	}
	if left := entries(t, filepath.Join(dir, "files"), filepath.Join(dir, "incoming")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	// What is still arriving when the store closes does not settle any more.
	r, w := io.Pipe()
	staged := make(chan error)
	go func() {
		_, err := s.Files().Stage(t.Context(), r)
		staged <- err
	}()
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := <-staged; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Stage across Close: %v", err)
	}
	if _, err := s.Files().Stage(t.Context(), strings.NewReader("x")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Stage after Close: %v", err)
	}
	if left := entries(t, filepath.Join(dir, "files"), filepath.Join(dir, "incoming")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Many goroutines write, replace and drop the same few contents; what is
// referred to is always there, and nothing else is in the end.
func TestConcurrentContents(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{Durability: store.Process})
	defer func() { _ = s.Close() }()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				content := fmt.Sprint("content ", (g+i)%3)
				st, err := s.Files().Stage(t.Context(), strings.NewReader(content))
				if err != nil {
					t.Error(err)
					return
				}
				err = s.Update(t.Context(), func(tx store.Tx) error { return s.Files().Ref(tx, st.Digest) })
				st.Release()
				if err != nil {
					t.Error(err)
					return
				}
				wantContent(t, s, st.Digest, content)
				if err := s.Update(t.Context(), func(tx store.Tx) error { return s.Files().Unref(tx, st.Digest) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	settled(t, s)
	if left := entries(t, filepath.Join(dir, "files"), filepath.Join(dir, "incoming")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestDigestText(t *testing.T) {
	d := store.Digest(sha256.Sum256(nil))
	text, err := json.Marshal(map[string]store.Digest{"d": d})
	if err != nil || !bytes.Contains(text, []byte(`"e3b0c442`)) {
		t.Errorf("JSON %s, %v", text, err)
	}
	var back map[string]store.Digest
	if err := json.Unmarshal(text, &back); err != nil || back["d"] != d {
		t.Errorf("back %v, %v", back, err)
	}
	for _, bad := range []string{"", "e3b0", strings.ToUpper(d.String()), "../" + d.String()[3:], d.String() + "0"} {
		if got, err := store.ParseDigest(bad); err == nil {
			t.Errorf("ParseDigest(%q) = %v", bad, got)
		}
	}
}
