package entra

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is a SHA-1 thumbprint by definition (RFC 7515)
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/store"
)

// certificateRecord is a certificate an application signs in with.
type certificateRecord struct {
	KeyID string `json:"keyId"`
	DER   []byte `json:"der"`
}

// AddCertificate lets an application sign in with the certificate's key. Like a
// password's, the application needs no service principal yet. keyID replaces a
// certificate of the same name.
func (s *Service) AddCertificate(tx store.Tx, appID, keyID string, der []byte) error {
	if p, ok := s.PrincipalByAppID(tx, appID); ok && p.IsManagedIdentity() {
		return fmt.Errorf("entra: %s is a managed identity and cannot have a certificate", appID)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("entra: the certificate cannot be read: %w", err)
	}
	if _, ok := c.PublicKey.(*rsa.PublicKey); !ok {
		return errors.New("entra: the certificate's key is not RSA, which Entra ID asks for")
	}
	records := slices.DeleteFunc(certificatesOf(tx, appID), func(r certificateRecord) bool { return strings.EqualFold(r.KeyID, keyID) })
	return putRecord(tx, certificatesBucket, []byte(fold(appID)), append(records, certificateRecord{keyID, der}))
}

// RemoveCertificate takes a certificate away; one that is not there is no
// error.
func (s *Service) RemoveCertificate(tx store.Tx, appID, keyID string) error {
	records := slices.DeleteFunc(certificatesOf(tx, appID), func(r certificateRecord) bool { return strings.EqualFold(r.KeyID, keyID) })
	return putRecord(tx, certificatesBucket, []byte(fold(appID)), records)
}

func certificatesOf(tx store.ReadTx, appID string) []certificateRecord {
	records, _ := getRecord[[]certificateRecord](tx, certificatesBucket, []byte(fold(appID)))
	return records
}

// findCertificate is the one of the application's that an assertion's header
// names by its thumbprint.
func findCertificate(tx store.ReadTx, appID string, header map[string]any) (*x509.Certificate, bool) {
	old, _ := header["x5t"].(string)
	modern, _ := header["x5t#S256"].(string)
	if old == "" && modern == "" {
		old, _ = header["kid"].(string)
	}
	for _, r := range certificatesOf(tx, appID) {
		sum1, sum256 := sha1.Sum(r.DER), sha256.Sum256(r.DER) //nolint:gosec // see the import
		if modern != "" && !sameThumbprint(modern, sum256[:]) || modern == "" && !sameThumbprint(old, sum1[:]) {
			continue
		}
		c, err := x509.ParseCertificate(r.DER)
		return c, err == nil
	}
	return nil, false
}

// sameThumbprint takes the forms clients write: base64url with or without
// padding, MSAL Go's plain base64, and hexadecimal in kid.
func sameThumbprint(written string, sum []byte) bool {
	raw, err := thumbprintBytes(written)
	return err == nil && bytes.Equal(raw, sum) || strings.EqualFold(written, hex.EncodeToString(sum))
}

func thumbprintBytes(written string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(written))
}

// thumbprintOf is the header's thumbprint as messages show it.
func thumbprintOf(header map[string]any) string {
	for _, name := range []string{"x5t", "x5t#S256", "kid"} {
		written, _ := header[name].(string)
		if raw, err := thumbprintBytes(written); err == nil && len(raw) > 0 {
			return strings.ToUpper(hex.EncodeToString(raw))
		}
		if written != "" {
			return written
		}
	}
	return ""
}
