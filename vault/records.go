package vault

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/amlocal/amlocal/store"
)

// Buckets. Keys are joined with NUL and lower-cased: vaults and secrets are
// named without regard to letter case.
const (
	secretBucket  = "vault.secrets"  // vault NUL secret
	versionBucket = "vault.versions" // vault NUL secret NUL version
)

// secret is a stored secret: its name as its first version spelled it.
type secret struct {
	Name    string `json:"name"`
	Current string `json:"current"`
	// Deleted and Purge are set while it is soft-deleted.
	Deleted time.Time `json:"deleted,omitzero"`
	Purge   time.Time `json:"purge,omitzero"`
}

func (s secret) isDeleted() bool { return !s.Deleted.IsZero() }

// version is a stored version of a secret. Value is encrypted.
type version struct {
	Value       []byte            `json:"value"`
	Enabled     bool              `json:"enabled"`
	NotBefore   *int64            `json:"nbf,omitempty"`
	Expires     *int64            `json:"exp,omitempty"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
	ContentType string            `json:"contentType,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func key(parts ...string) []byte { return []byte(strings.ToLower(strings.Join(parts, "\x00"))) }

// prefixOf is the prefix of all keys below parts.
func prefixOf(parts ...string) []byte { return append(key(parts...), 0) }

func get[T any](tx store.ReadTx, bucket string, k []byte) (value T, ok bool, err error) {
	raw, ok := tx.Get(bucket, k)
	if !ok {
		return value, false, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, false, fmt.Errorf("read %s %q: %w", bucket, k, err)
	}
	return value, true, nil
}

func put(tx store.Tx, bucket string, k []byte, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s %q: %w", bucket, k, err)
	}
	return tx.Put(bucket, k, raw)
}

// load reads a secret. One whose retention is over is there no more.
func (s *Service) load(tx store.ReadTx, vault, name string) (secret, bool, error) {
	rec, ok, err := get[secret](tx, secretBucket, key(vault, name))
	if ok && s.gone(rec) {
		return secret{}, false, err
	}
	return rec, ok, err
}

func (s *Service) gone(rec secret) bool {
	return rec.isDeleted() && !s.now().Before(rec.Purge)
}

// erase removes a secret with all its versions.
func (s *Service) erase(tx store.Tx, vault, name string) error {
	if err := eraseBelow(tx, versionBucket, prefixOf(vault, name)); err != nil {
		return err
	}
	return tx.Delete(secretBucket, key(vault, name))
}

func eraseBelow(tx store.Tx, bucket string, prefix []byte) error {
	var keys [][]byte
	for k := range tx.Scan(bucket, prefix, nil) {
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys {
		if err := tx.Delete(bucket, k); err != nil {
			return err
		}
	}
	return nil
}

// DeleteVault removes everything a vault holds: what purging a vault means.
func (s *Service) DeleteVault(tx store.Tx, vault string) error {
	for _, bucket := range []string{versionBucket, secretBucket} {
		if err := eraseBelow(tx, bucket, prefixOf(vault)); err != nil {
			return err
		}
	}
	return nil
}
