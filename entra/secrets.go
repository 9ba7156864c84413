package entra

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/amlocal/amlocal/store"
)

// secretRecord is what is kept of a client secret.
type secretRecord struct {
	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
	// KeyID names a secret that can be taken away again.
	KeyID string `json:"keyId,omitempty"`
	// Expires is zero for a secret that does not.
	Expires time.Time `json:"expires,omitzero"`
}

// SetSecret makes secret the application's only client secret, without expiry.
func (s *Service) SetSecret(tx store.Tx, appID, secret string) error {
	if err := dropSecrets(tx, appID); err != nil {
		return err
	}
	return s.AddSecret(tx, appID, secret, time.Time{})
}

// AddSecret gives the application one more client secret; a zero expires means
// never.
func (s *Service) AddSecret(tx store.Tx, appID, secret string, expires time.Time) error {
	if _, ok := s.PrincipalByAppID(tx, appID); !ok {
		return fmt.Errorf("entra: no application %s", appID)
	}
	return s.AddPassword(tx, appID, "", secret, expires)
}

// AddPassword is AddSecret with a name for the secret, and for applications
// that have no service principal yet: nobody signs in with it before that.
func (s *Service) AddPassword(tx store.Tx, appID, keyID, secret string, expires time.Time) error {
	if secret == "" {
		return errors.New("entra: an empty client secret")
	}
	if p, ok := s.PrincipalByAppID(tx, appID); ok && p.IsManagedIdentity() {
		return fmt.Errorf("entra: %s is a managed identity and cannot have a secret", appID)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	records, _ := getRecord[[]secretRecord](tx, secretsBucket, []byte(fold(appID)))
	records = append(records, secretRecord{Salt: salt, Hash: hashSecret(salt, secret), KeyID: keyID, Expires: expires})
	return putRecord(tx, secretsBucket, []byte(fold(appID)), records)
}

// RemovePassword takes away the secret of that name; one that is not there is
// no error. Tokens already issued stay valid until they expire.
func (s *Service) RemovePassword(tx store.Tx, appID, keyID string) error {
	records, _ := getRecord[[]secretRecord](tx, secretsBucket, []byte(fold(appID)))
	records = slices.DeleteFunc(records, func(r secretRecord) bool { return r.KeyID != "" && strings.EqualFold(r.KeyID, keyID) })
	return putRecord(tx, secretsBucket, []byte(fold(appID)), records)
}

func dropSecrets(tx store.Tx, appID string) error {
	if appID == "" {
		return nil
	}
	return tx.Delete(secretsBucket, []byte(fold(appID)))
}

// dropCredentials ends every way an application proves itself.
func dropCredentials(tx store.Tx, appID string) error {
	if appID == "" {
		return nil
	}
	for _, bucket := range []string{secretsBucket, certificatesBucket, federatedBucket} {
		if err := tx.Delete(bucket, []byte(fold(appID))); err != nil {
			return err
		}
	}
	return nil
}

type secretVerdict int

const (
	secretWrong secretVerdict = iota
	secretExpired
	secretRight
)

// checkSecret compares with every secret of the application, in a time that
// does not depend on where they differ.
func checkSecret(tx store.ReadTx, appID, secret string, now time.Time) secretVerdict {
	records, _ := getRecord[[]secretRecord](tx, secretsBucket, []byte(fold(appID)))
	verdict := secretWrong
	for _, r := range records {
		if subtle.ConstantTimeCompare(r.Hash, hashSecret(r.Salt, secret)) != 1 {
			continue
		}
		if r.Expires.IsZero() || now.Before(r.Expires) {
			verdict = secretRight
		} else if verdict == secretWrong {
			verdict = secretExpired
		}
	}
	return verdict
}

func hashSecret(salt []byte, secret string) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(secret))
	return h.Sum(nil)
}
