package intercept_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/clock"
)

var testNames = []string{"management.azure.com", "blob.core.windows.net", "login.microsoftonline.com", "azure.com"}

func openAuthority(t testing.TB, dir string, clk clock.Clock, names ...string) *intercept.Authority {
	t.Helper()
	if names == nil {
		names = testNames
	}
	a, err := intercept.OpenAuthority(dir, names, clk)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pool(t testing.TB, a *intercept.Authority) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(a.RootPEM()) {
		t.Fatal("root is not a certificate")
	}
	return p
}

func TestAuthorityIsKeptAndRenewed(t *testing.T) {
	dir := t.TempDir()
	clk := clock.NewManual(time.Now())
	first := openAuthority(t, dir, clk)
	if again := openAuthority(t, dir, clk, "management.azure.com"); !bytes.Equal(first.RootPEM(), again.RootPEM()) {
		t.Error("a second start made a new authority")
	}
	clk.Advance(330 * 24 * time.Hour)
	if again := openAuthority(t, dir, clk); !bytes.Equal(first.RootPEM(), again.RootPEM()) {
		t.Error("renewed with 35 days left")
	}
	clk.Advance(6 * 24 * time.Hour)
	renewed := openAuthority(t, dir, clk)
	if bytes.Equal(first.RootPEM(), renewed.RootPEM()) {
		t.Error("not renewed with 29 days left")
	}
	if wider := openAuthority(t, dir, clk, append(testNames, "azurecr.io")...); bytes.Equal(wider.RootPEM(), renewed.RootPEM()) {
		t.Error("not renewed although a name is missing")
	}
}

func TestAuthorityReplacesABrokenFile(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "garbage": "-----BEGIN NOTHING", "cut": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "authority.pem"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			a := openAuthority(t, dir, clock.System{})
			if again := openAuthority(t, dir, clock.System{}); !bytes.Equal(a.RootPEM(), again.RootPEM()) {
				t.Error("the new authority was not kept")
			}
		})
	}
}

func TestAuthorityConcurrentFirstStarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	roots := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range roots {
		wg.Go(func() {
			a, err := intercept.OpenAuthority(dir, testNames, clock.System{})
			if err != nil {
				t.Error(err)
				return
			}
			roots[i] = a.RootPEM()
		})
	}
	wg.Wait()
	for _, root := range roots {
		if !bytes.Equal(root, roots[0]) {
			t.Fatal("two starts ended with different authorities")
		}
	}
}

func TestLeaves(t *testing.T) {
	clk := clock.NewManual(time.Now())
	a := openAuthority(t, t.TempDir(), clk)
	for _, name := range []string{"management.azure.com", "ACCT.blob.core.windows.net.", "localhost", "127.0.0.1", "::1", "169.254.169.254"} {
		cert, err := a.Certificate(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := a.Certificate(name)
		if err != nil || again != cert {
			t.Errorf("%s: signed twice (%v)", name, err)
		}
		intermediates := x509.NewCertPool()
		parent, err := x509.ParseCertificate(cert.Certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		intermediates.AddCert(parent)
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{
			DNSName: strings.TrimSuffix(name, "."), Roots: pool(t, a), Intermediates: intermediates, CurrentTime: clk.Now(),
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); life > 30*24*time.Hour {
			t.Errorf("%s: lives %v, want at most 30 days", name, life)
		}
		if len(cert.Leaf.AuthorityKeyId) == 0 || !bytes.Equal(cert.Leaf.AuthorityKeyId, parent.SubjectKeyId) || cert.Leaf.IsCA {
			t.Errorf("%s: key identifiers do not chain", name)
		}
		clk.Advance(29*24*time.Hour + time.Hour)
		if fresh, err := a.Certificate(name); err != nil || fresh == cert {
			t.Errorf("%s: served with less than a day left (%v)", name, err)
		}
		clk.Advance(-29*24*time.Hour - time.Hour)
	}
	for _, name := range []string{"", "example.com", "evilazure.com", "azure.com.example.com", "10.0.0.1", "core.windows.net", "windows.net"} {
		if _, err := a.Certificate(name); err == nil {
			t.Errorf("signed for %q", name)
		}
	}
	for i := range 3000 { // bounded: more names than the cache holds
		if _, err := a.Certificate("a" + big.NewInt(int64(i)).String() + ".blob.core.windows.net"); err != nil {
			t.Fatal(err)
		}
	}
}

// stolen reads the authority's key as a thief would.
func stolen(t testing.TB, dir string) (intermediate *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			if intermediate, err = x509.ParseCertificate(block.Bytes); err != nil {
				t.Fatal(err)
			}
		} else if key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	return intermediate, key
}

// forge signs for a name the authority must not be able to speak for.
func forge(t testing.TB, dir, name string) tls.Certificate {
	t.Helper()
	parent, signer := stolen(t, dir)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(42), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, parent.Raw}, PrivateKey: key}
}

func TestGoRefusesNamesOutsideTheConstraints(t *testing.T) {
	dir := t.TempDir()
	a := openAuthority(t, dir, clock.System{})
	for name, allowed := range map[string]bool{"x.blob.core.windows.net": true, "bank.example": false} {
		client, server := net.Pipe()
		go func() {
			_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{forge(t, dir, name)}}).Handshake()
			_ = server.Close()
		}()
		err := tls.Client(client, &tls.Config{ServerName: name, RootCAs: pool(t, a)}).Handshake()
		if (err == nil) != allowed {
			t.Errorf("%s: %v", name, err)
		}
		_ = client.Close()
	}
}

func TestTrustFiles(t *testing.T) {
	other := openAuthority(t, t.TempDir(), clock.System{}) // a former root of ours: must not be collected
	foreign := foreignRoot(t)
	a := openAuthority(t, t.TempDir(), clock.System{})
	dir := t.TempDir()
	system := append(append(append([]byte("junk\n"), foreign...), foreign...), other.RootPEM()...)
	files, err := a.WriteTrust(dir, system)
	if err != nil {
		t.Fatal(err)
	}
	if files.SystemRoots != 1 {
		t.Errorf("%d system roots, want 1", files.SystemRoots)
	}
	bundle, err := os.ReadFile(files.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(bundle, a.RootPEM()) || !bytes.Contains(bundle, foreign) || bytes.Contains(bundle, other.RootPEM()) {
		t.Error("the bundle is not our root and the system's")
	}
	if ca, err := os.ReadFile(files.CA); err != nil || !bytes.Equal(ca, a.RootPEM()) {
		t.Errorf("ca.pem is not the root (%v)", err)
	}
	p12, err := os.ReadFile(files.TrustStore)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pkcs12.DecodeTrustStore(p12, intercept.TrustStorePassword)
	if err != nil || len(certs) != 2 {
		t.Errorf("trust store: %d roots, %v", len(certs), err)
	}
	if _, err := a.WriteTrust(dir, system); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(files.TrustStore); err != nil || !bytes.Equal(again, p12) {
		t.Errorf("an up-to-date trust store was written again (%v)", err)
	}
	if _, err := a.WriteTrust(dir, nil); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(files.Bundle); err != nil || bytes.Contains(again, foreign) {
		t.Errorf("a stale bundle was kept (%v)", err)
	}
}

func foreignRoot(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	template.Subject.CommonName = "Some public root"
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestSystemRoots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, foreignRoot(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := intercept.SystemRoots(path); err != nil || !bytes.Contains(data, []byte("CERTIFICATE")) {
		t.Errorf("SSL_CERT_FILE was not read: %v", err)
	}
	if _, err := intercept.SystemRoots(path + ".missing"); err == nil {
		t.Error("a missing SSL_CERT_FILE is not an error")
	}
	if _, err := intercept.SystemRoots(""); err != nil {
		t.Error(err)
	}
}
