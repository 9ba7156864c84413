package intercept

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"software.sslmate.com/src/go-pkcs12"
)

// TrustStorePassword opens truststore.p12. It protects nothing, and Java
// insists on one; this is its own default.
const TrustStorePassword = "changeit"

// TrustFiles are the files clients are pointed at.
type TrustFiles struct {
	// CA is our root alone (NODE_EXTRA_CA_CERTS suffices with it).
	CA string
	// Bundle is our root and the system's, for clients whose variable
	// replaces their trust: REQUESTS_CA_BUNDLE, SSL_CERT_FILE, CURL_CA_BUNDLE.
	Bundle string
	// TrustStore is the bundle as PKCS#12, for Java.
	TrustStore string
	// SystemRoots is how many roots beside ours the bundle holds.
	SystemRoots int
}

// systemBundles are where systems keep their roots in one file: Debian and
// Ubuntu, Fedora, older Red Hat, openSUSE, Alpine and macOS.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// SystemRoots reads the roots the surrounding system trusts: the file
// sslCertFile names (the caller's SSL_CERT_FILE) when it is not empty, else the
// first of the usual places. None found is no error: nil.
func SystemRoots(sslCertFile string) ([]byte, error) {
	if sslCertFile != "" {
		data, err := os.ReadFile(sslCertFile)
		if err != nil {
			return nil, fmt.Errorf("SSL_CERT_FILE: %w", err)
		}
		return data, nil
	}
	for _, path := range systemBundles {
		data, err := os.ReadFile(path)
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("system roots: %w", err)
		}
	}
	return nil, nil
}

// WriteTrust writes ca.pem, bundle.pem and truststore.p12 into dir. Files that
// are up to date stay untouched.
func (a *Authority) WriteTrust(dir string, systemRoots []byte) (TrustFiles, error) {
	return writeTrust(a.root, dir, systemRoots)
}

// WriteTrust does as Authority.WriteTrust for the root of an emulator somewhere
// else, PEM as its RootPEM gives it.
func WriteTrust(rootPEM []byte, dir string, systemRoots []byte) (TrustFiles, error) {
	block, _ := pem.Decode(rootPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return TrustFiles{}, errors.New("no certificate")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return TrustFiles{}, err
	}
	return writeTrust(root, dir, systemRoots)
}

func writeTrust(root *x509.Certificate, dir string, systemRoots []byte) (TrustFiles, error) {
	files := TrustFiles{
		CA:         filepath.Join(dir, rootFile),
		Bundle:     filepath.Join(dir, "bundle.pem"),
		TrustStore: filepath.Join(dir, "truststore.p12"),
	}
	roots := append([]*x509.Certificate{root}, foreignRoots(systemRoots)...)
	files.SystemRoots = len(roots) - 1

	var bundle bytes.Buffer
	for _, root := range roots {
		if root.Subject.CommonName != "" {
			fmt.Fprintf(&bundle, "# %q\n", root.Subject.CommonName)
		}
		bundle.Write(encodePEM(root.Raw))
	}
	stale := true
	if old, err := os.ReadFile(files.Bundle); err == nil && bytes.Equal(old, bundle.Bytes()) {
		_, err := os.Stat(files.TrustStore)
		stale = err != nil
	}
	if stale {
		// The trust store first: an interruption leaves the bundle stale, and
		// the next start writes both.
		store, err := pkcs12.Modern2023.EncodeTrustStoreEntries(trustEntries(roots), TrustStorePassword)
		if err != nil {
			return TrustFiles{}, fmt.Errorf("trust store: %w", err)
		}
		if err := writeAtomically(files.TrustStore, store, 0o644); err != nil {
			return TrustFiles{}, fmt.Errorf("trust store: %w", err)
		}
		if err := writeAtomically(files.Bundle, bundle.Bytes(), 0o644); err != nil {
			return TrustFiles{}, fmt.Errorf("bundle: %w", err)
		}
	}
	if err := writeIfDifferent(files.CA, encodePEM(root.Raw), 0o644); err != nil {
		return TrustFiles{}, fmt.Errorf("root: %w", err)
	}
	return files, nil
}

// foreignRoots parses a bundle, leaving out doubles, roots of ours (the bundle
// may be one we wrote, when we run inside our own environment) and blocks that
// are not certificates Go understands.
func foreignRoots(data []byte) []*x509.Certificate {
	var roots []*x509.Certificate
	seen := map[[32]byte]bool{}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || slices.Contains(cert.Subject.Organization, organization) {
			continue
		}
		if sum := sha256.Sum256(cert.Raw); !seen[sum] {
			seen[sum] = true
			roots = append(roots, cert)
		}
	}
	return roots
}

// trustEntries names each root; Java drops all but one of equal names.
func trustEntries(roots []*x509.Certificate) []pkcs12.TrustStoreEntry {
	entries := make([]pkcs12.TrustStoreEntry, len(roots))
	for i, root := range roots {
		entries[i] = pkcs12.TrustStoreEntry{Cert: root, FriendlyName: fmt.Sprintf("%03d %s", i, root.Subject.String())}
	}
	return entries
}
