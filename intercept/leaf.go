package intercept

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	leafLife = 30 * 24 * time.Hour
	// maxLeaves bounds the cache: names come from clients.
	maxLeaves = 1024
)

// leafCache holds signed certificates by name. One key serves them all; it
// lives as long as the process.
type leafCache struct {
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	byName map[string]*tls.Certificate
}

// Certificate is a certificate for name, a DNS name or an address, signed on
// first use. Names outside the authority's constraints are refused: every
// client would refuse the certificate.
func (a *Authority) Certificate(name string) (*tls.Certificate, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !a.permits(name) {
		return nil, fmt.Errorf("no certificate for %q: it is not a name the emulator answers for", name)
	}
	now := a.clock.Now()
	a.leaves.mu.Lock()
	defer a.leaves.mu.Unlock()
	if cert, ok := a.leaves.byName[name]; ok && now.Add(24*time.Hour).Before(cert.Leaf.NotAfter) {
		return cert, nil
	}
	cert, err := a.signLeaf(name, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", name, err)
	}
	if a.leaves.byName == nil || len(a.leaves.byName) >= maxLeaves {
		// Signing takes a tenth of a millisecond: start over rather than
		// keep an order of use.
		a.leaves.byName = map[string]*tls.Certificate{}
	}
	a.leaves.byName[name] = cert
	return cert, nil
}

func (a *Authority) signLeaf(name string, now time.Time) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// No common name: it holds 64 characters, and clients read the
		// alternative name.
		Subject:   pkix.Name{Organization: []string{organization}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(leafLife - skew),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if template.NotAfter.After(a.intermediate.NotAfter) {
		template.NotAfter = a.intermediate.NotAfter
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	leaf, err := sign(template, a.intermediate, &a.leaves.key.PublicKey, a.signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{
		Certificate: [][]byte{leaf.Raw, a.intermediate.Raw},
		PrivateKey:  a.leaves.key,
		Leaf:        leaf,
	}, nil
}

// serverConfig answers each connection with a certificate for the name it
// asks, or for the address it dialled when it asks none.
func (a *Authority) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName != "" {
				if c, ok := hello.Conn.(*conn); ok {
					c.sni = hello.ServerName
				}
				return a.Certificate(hello.ServerName)
			}
			return a.Certificate(nameWithoutSNI(hello.Conn))
		},
	}
}
