//go:build unix

package intercept_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/amlocal/amlocal/internal/clock"
)

func TestAuthorityFilesAreTheUsersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	openAuthority(t, dir, clock.System{})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want 0700", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want 0600", e.Name(), info.Mode(), err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		keys += bytes.Count(data, []byte("PRIVATE KEY-----\n")) / 2
	}
	if keys != 1 {
		t.Errorf("%d private keys are kept, want the constrained intermediate's alone", keys)
	}
}
