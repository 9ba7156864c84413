package relay

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"time"
)

// Side is one end's key, and the certificate it expects of the other end.
type Side struct {
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	Peer        []byte `json:"peer"`
}

// Settings are what an agent is given before it starts.
type Settings struct {
	Side Side `json:"side"`
	// Pool holds all networks; Control is the one by which the emulator
	// comes. Of the pool only Control's addresses may use the emulator's port.
	Pool    netip.Prefix `json:"pool"`
	Control netip.Prefix `json:"control"`
}

// NewPair makes keys for both ends.
func NewPair() (emulator, agent Side, err error) {
	for _, side := range []*Side{&emulator, &agent} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return emulator, agent, fmt.Errorf("relay: %w", err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "amlocal"},
			// Not looked at: the peer's bytes are compared.
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		}
		if side.Certificate, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
			return emulator, agent, fmt.Errorf("relay: %w", err)
		}
		if side.Key, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return emulator, agent, fmt.Errorf("relay: %w", err)
		}
	}
	emulator.Peer, agent.Peer = agent.Certificate, emulator.Certificate
	return emulator, agent, nil
}

// TLS is the configuration of one end, as client or as server.
func (s Side) TLS() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("relay: key: %w", err)
	}
	peer := s.Peer
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{s.Certificate}, PrivateKey: key}},
		ClientAuth:   tls.RequireAnyClientCert,
		// Names and chains mean nothing here; the certificate itself does.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection pins the peer
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(peer) == 0 || len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, peer) {
				return errors.New("relay: the peer is not the one expected")
			}
			return nil
		},
		SessionTicketsDisabled: true,
	}, nil
}

// Encode is the settings as the agent reads them.
func (s Settings) Encode() ([]byte, error) { return json.Marshal(s) }

// ParseSettings reads what Encode wrote.
func ParseSettings(raw []byte) (Settings, error) {
	var s Settings
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("relay: settings: %w", err)
	}
	if !s.Pool.IsValid() || !s.Control.IsValid() || !s.Control.Addr().Is4() {
		return s, errors.New("relay: settings lack a network")
	}
	return s, nil
}
