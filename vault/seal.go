package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/amlocal/amlocal/store"
)

const (
	keyFile = "vault.key"
	keySize = 32 // AES-256
)

// openSealer reads the key of the stored values, or makes one. A key that was
// lost is not replaced while there are values it is needed for.
func openSealer(dir string, docs store.Documents) (cipher.AEAD, error) {
	raw, err := readKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if raw, err = makeKey(dir, docs); err != nil {
			return nil, fmt.Errorf("vault: key: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("vault: key: %w", err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("vault: key: %w", err)
	}
	return cipher.NewGCM(block)
}

func readKey(dir string) ([]byte, error) {
	if dir == "" {
		return nil, fs.ErrNotExist
	}
	path := filepath.Join(dir, keyFile)
	raw, err := os.ReadFile(path)
	if err == nil && len(raw) != keySize {
		err = fmt.Errorf("%s is damaged: it has %d bytes, not %d", path, len(raw), keySize)
	}
	return raw, err
}

func makeKey(dir string, docs store.Documents) ([]byte, error) {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // documented never to fail
	if dir == "" {
		return raw, nil
	}
	path := filepath.Join(dir, keyFile)
	used := false
	err := docs.View(context.Background(), func(tx store.ReadTx) error {
		for range tx.Scan(versionBucket, nil, nil) {
			used = true
			break
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if used {
		return nil, fmt.Errorf("%s is missing, and the state folder holds secrets that only it decrypts: put it back, or begin with another state folder", path)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return raw, writeKey(dir, path, raw)
}

// writeKey writes the file as a whole or not at all: half a key would lock
// every secret.
func writeKey(dir, path string, raw []byte) error {
	tmp, err := os.CreateTemp(dir, ".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(raw)
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// seal encrypts a value for one place: moved to another record it does not
// open.
func (s *Service) seal(value string, place []byte) []byte {
	nonce := make([]byte, s.sealer.NonceSize())
	_, _ = rand.Read(nonce)
	return s.sealer.Seal(nonce, nonce, []byte(value), place)
}

func (s *Service) unseal(sealed, place []byte) (string, error) {
	n := s.sealer.NonceSize()
	if len(sealed) < n {
		return "", errUnsealed
	}
	plain, err := s.sealer.Open(nil, sealed[:n], sealed[n:], place)
	if err != nil {
		return "", errUnsealed
	}
	return string(plain), nil
}
