package entra

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"github.com/amlocal/amlocal/internal/httpx"
)

func (s *Service) jwksV1(w http.ResponseWriter, r *http.Request) error { return s.jwks(w, r, "") }

// jwksV2 names each key's issuer, as the v2 document does.
func (s *Service) jwksV2(w http.ResponseWriter, r *http.Request) error {
	t, ok := s.tenant(r)
	if ok && t.shared {
		return s.jwks(w, r, "https://"+publicHost+"/{tenantid}/v2.0")
	}
	return s.jwks(w, r, s.issuerV2())
}

func (s *Service) jwks(w http.ResponseWriter, r *http.Request, issuer string) error {
	if _, ok := s.tenant(r); !ok {
		return errUnknownTenant("invalid_tenant", segment(r))
	}
	keys, err := s.keys.wait(r.Context())
	if err != nil {
		return err
	}
	set := struct {
		Keys []map[string]any `json:"keys"`
	}{}
	for _, k := range keys {
		entry, err := publicJWK(k)
		if err != nil {
			return fmt.Errorf("publishing key %s: %w", k.kid, err)
		}
		if issuer != "" {
			entry["issuer"] = issuer
		}
		set.Keys = append(set.Keys, entry)
	}
	w.Header().Set("Cache-Control", "max-age=86400, private")
	writeJSON(w, http.StatusOK, set)
	return nil
}

// publicJWK lets go-jose encode the public half; it is never given the private.
func publicJWK(k signingKey) (map[string]any, error) {
	jwk := jose.JSONWebKey{
		Key: &k.private.PublicKey, KeyID: k.kid, Use: "sig",
		Certificates: []*x509.Certificate{k.cert},
	}
	data, err := jwk.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var entry map[string]any
	if err := json.Unmarshal(data, &entry); err != nil {
		return nil, err
	}
	entry["x5t"] = k.kid
	return entry, nil
}

// segment is the tenant as the client wrote it, for messages.
func segment(r *http.Request) string { return httpx.Var(r, "tenant") }
