package amlocal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLostSealKey: a state folder whose key is gone, or another's, is not
// started with a new one: its secrets would be lost without a word.
func TestLostSealKey(t *testing.T) {
	dir := t.TempDir()
	open := func() error {
		e, err := New(t.Context(), Config{StateDir: dir, CADir: filepath.Join(t.TempDir(), "ca"), Runner: "process", Logf: t.Logf, Port: 0})
		if err != nil {
			return err
		}
		return e.Close(t.Context())
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if err := open(); err != nil {
		t.Fatalf("with its key: %v", err)
	}
	path := filepath.Join(dir, "keys", "seal.key")
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() error{
		"is missing":     func() error { return os.Remove(path) },
		"is not the key": func() error { return os.WriteFile(path, make([]byte, len(key)), 0o600) },
		"holds 5 bytes":  func() error { return os.WriteFile(path, key[:5], 0o600) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := open(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("a key that %s: %v", what, err)
		}
		if err := os.WriteFile(path, key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(); err != nil {
		t.Errorf("with its key again: %v", err)
	}
}
