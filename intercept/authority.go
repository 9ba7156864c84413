package intercept

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/amlocal/amlocal/internal/clock"
)

const (
	authorityLife = 365 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	// skew tolerates clocks behind ours: containers in a virtual machine that slept.
	skew = time.Hour

	// organization marks our certificates, so that a bundle built from
	// another bundle of ours does not collect our former roots.
	organization = "amlocal"

	authorityFile = "authority.pem"
	rootFile      = "ca.pem"
	lockFile      = "lock"
)

// Authority signs the certificates we answer with. It belongs to a user and
// lives in a folder only that user can read. Its root signed one intermediate,
// limited to the names we answer for, and the root's key was thrown away at
// once: whoever steals the folder still cannot impersonate other sites.
//
// The limit sits on the intermediate because Java ignores constraints that a
// trust anchor carries (measured: wire/runner.md).
type Authority struct {
	clock        clock.Clock
	root         *x509.Certificate
	intermediate *x509.Certificate
	signer       *ecdsa.PrivateKey
	leaves       leafCache
}

// OpenAuthority loads the authority in dir, or makes one: when there is none,
// when less than 30 days are left, or when it does not cover names. Processes
// that open it at the same time get the same one.
func OpenAuthority(dir string, names []string, clk clock.Clock) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	unlock, err := lockFolder(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("certificate authority: lock %s: %w", dir, err)
	}
	defer unlock()

	a, err := loadAuthority(filepath.Join(dir, authorityFile), clk)
	switch {
	case err == nil && a.usable(names):
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, errAuthorityBroken):
		if a, err = newAuthority(dir, names, clk); err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
	default:
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := writeIfDifferent(filepath.Join(dir, rootFile), a.RootPEM(), 0o600); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if a.leaves.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return a, nil
}

// RootPEM is the certificate clients must trust.
func (a *Authority) RootPEM() []byte { return encodePEM(a.root.Raw) }

// Expires is when the authority ends.
func (a *Authority) Expires() time.Time { return a.intermediate.NotAfter }

func (a *Authority) usable(names []string) bool {
	if a.clock.Now().Add(renewBefore).After(a.intermediate.NotAfter) {
		return false
	}
	for _, name := range names {
		if !a.permits(name) {
			return false
		}
	}
	return true
}

// permits reports whether the intermediate may sign for name, a DNS name or an
// address.
func (a *Authority) permits(name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return slices.ContainsFunc(a.intermediate.PermittedIPRanges, func(r *net.IPNet) bool { return r.Contains(ip) })
	}
	return slices.ContainsFunc(a.intermediate.PermittedDNSDomains, func(d string) bool {
		return name == d || strings.HasSuffix(name, "."+d)
	})
}

// errAuthorityBroken is a file that does not hold an authority: a new one
// takes its place, for nothing else depends on the old one's key.
var errAuthorityBroken = errors.New("not a certificate authority of ours")

func loadAuthority(path string, clk clock.Clock) (*Authority, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a := &Authority{clock: clk}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errAuthorityBroken, err)
			}
			certs = append(certs, cert)
		case "EC PRIVATE KEY":
			if a.signer, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
				return nil, fmt.Errorf("%w: %w", errAuthorityBroken, err)
			}
		}
	}
	if len(certs) != 2 || a.signer == nil || !a.signer.PublicKey.Equal(certs[1].PublicKey) || certs[1].CheckSignatureFrom(certs[0]) != nil {
		return nil, errAuthorityBroken
	}
	a.root, a.intermediate = certs[0], certs[1]
	return a, nil
}

func newAuthority(dir string, names []string, clk clock.Clock) (*Authority, error) {
	a := &Authority{clock: clk}
	now := clk.Now()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // lives in this function only
	if err != nil {
		return nil, err
	}
	if a.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	rootSerial, err := newSerial()
	if err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber: rootSerial,
		// The serial in the name keeps a renewed root apart from the former
		// one in stores that look issuers up by name alone.
		Subject:   pkix.Name{Organization: []string{organization}, CommonName: fmt.Sprintf("amlocal local root %x", rootSerial.Bytes()[:4])},
		NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
	}
	if a.root, err = sign(root, root, &rootKey.PublicKey, rootKey); err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	intermediate := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{organization}, CommonName: fmt.Sprintf("amlocal constrained authority %x", serial.Bytes()[:4])},
		NotBefore:    root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         append([]string{"localhost"}, dnsNames(names)...),
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
			{IP: net.IPv4(169, 254, 169, 254).To4(), Mask: net.CIDRMask(32, 32)},
		},
	}
	if a.intermediate, err = sign(intermediate, a.root, &a.signer.PublicKey, rootKey); err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(a.signer)
	if err != nil {
		return nil, err
	}
	// One file, renamed into place: a crash leaves the old authority or the
	// new one, never a key without its certificate.
	content := slices.Concat(encodePEM(a.root.Raw), encodePEM(a.intermediate.Raw),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	if err := writeAtomically(filepath.Join(dir, authorityFile), content, 0o600); err != nil {
		return nil, err
	}
	return a, nil
}

// dnsNames drops addresses: those the authority covers are fixed.
func dnsNames(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return net.ParseIP(n) != nil || n == "localhost" })
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial is 127 random bits with the top one set: positive, never short.
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 126)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return nil, err
	}
	return n.Add(n, limit), nil
}

func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeAtomically replaces path in one step.
func writeAtomically(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// writeIfDifferent spares the disk, and readers, an unchanged file.
func writeIfDifferent(path string, data []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return writeAtomically(path, data, mode)
}
