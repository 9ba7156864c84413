//go:build unix

package store_test

import (
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/amlocal/amlocal/store"
)

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	s := open(t, dir, store.Options{})
	defer func() { _ = s.Close() }()
	st := stage(t, s, "content")
	defer st.Release()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		paths = append(paths, e.Name())
		return nil
	})
	if err != nil || !slices.Contains(paths, "documents.db") || !slices.Contains(paths, st.Digest.String()) {
		t.Errorf("walked %q: %v", paths, err)
	}
}
