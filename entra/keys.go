package entra

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is a SHA-1 thumbprint by definition (RFC 7517)
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/amlocal/amlocal/internal/clock"
)

const (
	keyBits = 2048
	// publishedKeys is how many keys the JWKS shows at least. Only the first
	// signs: a verifier that ignores `kid` is found out. The second is the next
	// one, so that verifiers have it before it is used.
	publishedKeys = 2
	keyLife       = 5 * 365 * 24 * time.Hour
	keyFile       = "signing-keys.pem"
	// retiredHeader says in a certificate's block until when it is published.
	retiredHeader = "Retired-Until"
	// keySubject is the name on Entra's own signing certificates.
	keySubject = "accounts.accesscontrol.windows.net"
)

// signingKey is one RSA key with its certificate. kid is the certificate's
// thumbprint, which is also x5t.
type signingKey struct {
	private *rsa.PrivateKey
	cert    *x509.Certificate
	kid     string
	// until is when a retired key is no longer published; zero: it is not
	// retired.
	until time.Time
}

// keyring is the set of keys, complete once ready is closed.
type keyring struct {
	dir   string // empty: in memory
	clock clock.Clock
	ready chan struct{}

	mu      sync.Mutex
	keys    []signingKey // the first signs, the second is the next to
	revoked int
	err     error
}

// revocations counts how often all keys but the next one were revoked. What is
// signed after the count was read is signed by a key that this many left.
func (k *keyring) revocations() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.revoked
}

// wait returns the published keys, of which the first signs.
func (k *keyring) wait(ctx context.Context) ([]signingKey, error) {
	select {
	case <-k.ready:
	default:
		select {
		case <-k.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return published(k.keys, k.clock.Now()), k.err
}

// published leaves out the keys whose time is over.
func published(keys []signingKey, now time.Time) []signingKey {
	over := func(key signingKey) bool { return !key.until.IsZero() && !now.Before(key.until) }
	if !slices.ContainsFunc(keys, over) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), over)
}

// openKeyring reads the keys in dir, or begins to make them.
func openKeyring(dir string, clock clock.Clock) (*keyring, error) {
	k := &keyring{dir: dir, clock: clock, ready: make(chan struct{})}
	if dir != "" {
		keys, err := loadKeys(filepath.Join(dir, keyFile))
		switch {
		case err == nil:
			k.keys = keys
			close(k.ready)
			return k, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("entra: signing keys: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("entra: signing keys: %w", err)
		}
	}
	go func() {
		defer close(k.ready)
		keys, err := generateKeys(clock.Now())
		if err == nil {
			err = k.save(keys)
		}
		if err != nil {
			k.err = fmt.Errorf("entra: signing keys: %w", err)
			return
		}
		k.keys = keys
	}()
	return k, nil
}

func (k *keyring) save(keys []signingKey) error {
	if k.dir == "" {
		return nil
	}
	return saveKeys(filepath.Join(k.dir, keyFile), keys)
}

// rotate makes the next key the signing one, as verifiers know it already, and
// publishes a new next one. The old key goes on being published for overlap.
func (k *keyring) rotate(ctx context.Context, overlap time.Duration) error {
	if _, err := k.wait(ctx); err != nil {
		return err
	}
	now := k.clock.Now()
	made, err := generateKey(now)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.keys[0]
	old.until = now.Add(overlap)
	keys := append([]signingKey{k.keys[1], made, old}, k.keys[2:]...)
	if overlap == 0 {
		keys = keys[:2] // all that were retired before as well
	}
	keys = slices.Clone(published(keys, now))
	if err := k.save(keys); err != nil {
		return err
	}
	k.keys = keys
	if overlap == 0 {
		k.revoked++
	}
	return nil
}

func generateKeys(now time.Time) ([]signingKey, error) {
	keys := make([]signingKey, publishedKeys)
	var group errgroup.Group
	for i := range keys {
		group.Go(func() (err error) {
			keys[i], err = generateKey(now)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return keys, nil
}

func generateKey(now time.Time) (signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return signingKey{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return signingKey{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: keySubject},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(keyLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return signingKey{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return signingKey{}, err
	}
	return newSigningKey(private, cert), nil
}

func newSigningKey(private *rsa.PrivateKey, cert *x509.Certificate) signingKey {
	sum := sha1.Sum(cert.Raw) //nolint:gosec // see the import
	return signingKey{private: private, cert: cert, kid: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// saveKeys writes all keys as one file.
func saveKeys(path string, keys []signingKey) error {
	var text bytes.Buffer
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return err
		}
		_ = pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
		block := &pem.Block{Type: "CERTIFICATE", Bytes: k.cert.Raw}
		if !k.until.IsZero() {
			block.Headers = map[string]string{retiredHeader: k.until.UTC().Format(time.RFC3339Nano)}
		}
		_ = pem.Encode(&text, block)
	}
	return writeWhole(path, text.Bytes())
}

// writeWhole writes a file of mode 0600 that is there whole or not at all.
func writeWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".signing-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func loadKeys(path string) ([]signingKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 { // restored from a backup, say
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []signingKey
	active := 0
	var private *rsa.PrivateKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
			}
			rsaKey, ok := key.(*rsa.PrivateKey)
			if !ok {
				return nil, fmt.Errorf("%s: a key is not RSA", filepath.Base(path))
			}
			private = rsaKey
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
			}
			if private == nil || !private.PublicKey.Equal(cert.PublicKey) {
				return nil, fmt.Errorf("%s: a certificate does not follow its key", filepath.Base(path))
			}
			key := newSigningKey(private, cert)
			if until, retired := block.Headers[retiredHeader]; retired {
				if key.until, err = time.Parse(time.RFC3339Nano, until); err != nil {
					return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
				}
			} else {
				active++
			}
			keys = append(keys, key)
			private = nil
		}
	}
	if active < publishedKeys || !keys[0].until.IsZero() || !keys[1].until.IsZero() {
		return nil, fmt.Errorf("%s: %d keys that are not retired, want at least %d, and those first; remove the file to have new ones made",
			filepath.Base(path), active, publishedKeys)
	}
	return keys, nil
}
