package entra

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	docs := newDocs(t)
	start := func() world {
		return newWorld(t, func(d *Deps) { d.KeyDir, d.Documents = dir, docs })
	}
	first := start()
	raw := first.mint(t, principalC, storageURI)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start()
	if _, err := second.Verify(t.Context(), raw, []string{storageURI}); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info, err)
	}
	path := filepath.Join(dir, keyFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	start()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v %v", info, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 { // keyFile and refreshKeyFile
		t.Errorf("left in the folder: %v", entries)
	}
}

func TestDamagedKeysAreNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openKeyring(dir, epoch)
	if err == nil || !strings.Contains(err.Error(), keyFile) {
		t.Errorf("got %v, want an error naming %s", err, keyFile)
	}
}
