package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/amlocal/amlocal/internal/seal"
)

func TestSealedValuesOpenUnderTheirNameOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	key, err := seal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a secret of some length")
	sealed := key.Seal("vault/name/1", secret)
	if bytes.Contains(sealed, secret[:8]) {
		t.Error("the sealed value shows the secret")
	}
	if bytes.Equal(sealed, key.Seal("vault/name/1", secret)) {
		t.Error("the same value sealed twice looks the same")
	}

	again, err := seal.Open(path) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("vault/name/1", sealed); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("opened %q, %v", got, err)
	}
	other, err := seal.Random()
	if err != nil {
		t.Fatal(err)
	}
	if key.Mark() != again.Mark() || key.Mark() == other.Mark() {
		t.Errorf("marks %s, %s and %s", key.Mark(), again.Mark(), other.Mark())
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() ([]byte, error){
		"another name": func() ([]byte, error) { return key.Open("vault/name/2", sealed) },
		"another key":  func() ([]byte, error) { return other.Open("vault/name/1", sealed) },
		"changed":      func() ([]byte, error) { return key.Open("vault/name/1", changed) },
		"nothing":      func() ([]byte, error) { return key.Open("vault/name/1", nil) },
	} {
		if got, err := open(); !errors.Is(err, seal.ErrForged) {
			t.Errorf("%s: opened %q, %v", what, got, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := seal.Open(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others can read the key", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(path); err == nil {
		t.Error("a key of the wrong length was taken")
	}
	if raw, _ := os.ReadFile(path); string(raw) != "short" {
		t.Error("a damaged key was replaced: what it sealed is lost")
	}
}
