// Package seal encrypts what must not lie in clear on disk: secrets of a vault,
// credentials of a connection. One key per state folder, in a file of its own
// beside the other keys, so that a copy of the database alone gives none of
// them away.
//
// AES-256 in GCM with a random nonce per value (NIST SP 800-38D). The name a
// value is stored under is authenticated with it: a sealed value moved to
// another name does not open.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keySize = 32

// ErrForged is returned for what this key did not seal, or not for this name.
var ErrForged = errors.New("seal: the value was not sealed by this key under this name")

// Key seals and opens values. It is safe for concurrent use.
type Key struct {
	aead cipher.AEAD
	mark string
}

// Mark tells one key from another and gives nothing of it away.
func (k *Key) Mark() string { return k.mark }

// Random returns a key that is kept nowhere: what it seals ends with it.
func Random() (*Key, error) {
	raw := make([]byte, keySize)
	rand.Read(raw)
	return newKey(raw)
}

// Open reads the key file at path, mode 0600, and makes it where there is none.
// The file is there whole or not at all. A file of another length is an error:
// a new key in its place would open nothing sealed before.
func Open(path string) (*Key, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		raw = make([]byte, keySize)
		rand.Read(raw)
		err = save(path, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if len(raw) != keySize {
		return nil, fmt.Errorf("seal: %s holds %d bytes, want %d", filepath.Base(path), len(raw), keySize)
	}
	if err := os.Chmod(path, 0o600); err != nil { // restored from a backup, say
		return nil, fmt.Errorf("seal: %w", err)
	}
	return newKey(raw)
}

func newKey(raw []byte) (*Key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	mark := hmac.New(sha256.New, raw)
	mark.Write([]byte("mark"))
	return &Key{aead: aead, mark: hex.EncodeToString(mark.Sum(nil)[:8])}, nil
}

// Seal encrypts value for the name it is stored under.
func (k *Key) Seal(name string, value []byte) []byte {
	return k.aead.Seal(nil, nil, value, []byte(name))
}

// Open decrypts what Seal returned for the same name, or returns ErrForged.
func (k *Key) Open(name string, sealed []byte) ([]byte, error) {
	value, err := k.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, ErrForged
	}
	return value, nil
}

func save(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
