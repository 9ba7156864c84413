package entra

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/internal/covers"
)

func TestOpenIDConfiguration(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ name, target, issuer, token, jwks string }{
		{"E01", login + tid + "/v2.0", "https://login.microsoftonline.com/" + tid + "/v2.0",
			login + tid + "/oauth2/v2.0/token", login + tid + "/discovery/v2.0/keys"},
		{"domain leads to the GUID", login + domain + "/v2.0", "https://login.microsoftonline.com/" + tid + "/v2.0",
			login + tid + "/oauth2/v2.0/token", login + tid + "/discovery/v2.0/keys"},
		{"v1", login + tid, "https://sts.windows.net/" + tid + "/", login + tid + "/oauth2/token", login + "common/discovery/keys"},
		{"organizations", login + "organizations/v2.0", "https://login.microsoftonline.com/{tenantid}/v2.0",
			login + "organizations/oauth2/v2.0/token", login + "organizations/discovery/v2.0/keys"},
		{"sts alias", "https://sts.windows.net/" + tid + "/v2.0", "https://login.microsoftonline.com/" + tid + "/v2.0",
			login + tid + "/oauth2/v2.0/token", login + tid + "/discovery/v2.0/keys"},
		{"private authority", "https://localhost:4390/" + tid + "/v2.0", "https://login.microsoftonline.com/" + tid + "/v2.0",
			"https://localhost:4390/" + tid + "/oauth2/v2.0/token", "https://localhost:4390/" + tid + "/discovery/v2.0/keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.get(t, c.target+"/.well-known/openid-configuration?")
			if a.status != 200 || a.body["issuer"] != c.issuer || a.body["token_endpoint"] != c.token || a.body["jwks_uri"] != c.jwks {
				t.Errorf("%d %s", a.status, a.raw)
			}
			for _, key := range []string{"authorization_endpoint", "device_authorization_endpoint"} {
				if s, _ := a.body[key].(string); !strings.HasPrefix(s, "https://") {
					t.Errorf("%s = %v", key, a.body[key])
				}
			}
			if got := a.header.Get("Cache-Control"); got != "max-age=86400, private" {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
	t.Run("E02", func(t *testing.T) {
		a := w.get(t, login+"unknown-tid/v2.0/.well-known/openid-configuration")
		if a.status != 400 || a.body["error"] != "invalid_tenant" || a.body["error_codes"].([]any)[0] != 90002.0 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
}

func TestInstanceDiscovery(t *testing.T) {
	w := newWorld(t)
	const base = login + "common/discovery/instance?api-version=1.1&authorization_endpoint="
	for _, c := range []struct{ name, endpoint, discovery, alias string }{
		{"E03", login + tid + "/oauth2/v2.0/authorize", login + tid + "/v2.0/.well-known/openid-configuration", "login.microsoftonline.com"},
		{"v1", login + "common/oauth2/authorize", login + "common/.well-known/openid-configuration", "login.microsoftonline.com"},
		{"windows.net", "https://login.windows.net/" + tid + "/oauth2/v2.0/authorize", "https://login.windows.net/" + tid + "/v2.0/.well-known/openid-configuration", "login.windows.net"},
		{"private", "https://localhost:4390/" + tid + "/oauth2/v2.0/authorize", "https://localhost:4390/" + tid + "/v2.0/.well-known/openid-configuration", "localhost:4390"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.get(t, base+c.endpoint)
			if a.status != 200 || a.body["tenant_discovery_endpoint"] != c.discovery || a.body["api-version"] != "1.1" {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			var doc instanceDocument
			if err := json.Unmarshal([]byte(a.raw), &doc); err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(doc.Metadata, func(h instanceHost) bool { return slices.Contains(h.Aliases, c.alias) }) {
				t.Errorf("no alias %s in %s", c.alias, a.raw)
			}
		})
	}
	for _, bad := range []string{"", "http://localhost/x/oauth2/authorize", "%zz", "https://localhost"} {
		if a := w.get(t, base+bad); a.status != 400 {
			t.Errorf("%q: %d %s", bad, a.status, a.raw)
		}
	}
}

func TestKeySets(t *testing.T) {
	covers.R(t, "R-524")
	w := newWorld(t)
	raw := w.mint(t, principalC, storageURI)
	for _, path := range []string{"common/discovery/keys", tid + "/discovery/keys", tid + "/discovery/v2.0/keys", "common/discovery/v2.0/keys"} {
		t.Run(path, func(t *testing.T) {
			a := w.get(t, login+path)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal([]byte(a.raw), &set); err != nil {
				t.Fatal(err)
			}
			if len(set.Keys) < 2 {
				t.Fatalf("%d keys, want at least 2", len(set.Keys))
			}
			// No parameter of a private key, and nothing else unexpected.
			for _, k := range a.body["keys"].([]any) {
				for name := range k.(map[string]any) {
					if !slices.Contains([]string{"kty", "use", "kid", "x5t", "n", "e", "x5c", "issuer"}, name) {
						t.Errorf("the key set shows %q", name)
					}
				}
				if strings.Contains(path, "v2.0") != (k.(map[string]any)["issuer"] != nil) {
					t.Error("issuer belongs to v2 only")
				}
			}
			// E14: the kid in the token's header finds the key that verifies it.
			parsed, err := jwt.Parse(raw, func(token *jwt.Token) (any, error) {
				keys := set.Key(token.Header["kid"].(string))
				if len(keys) != 1 || !keys[0].IsPublic() || !keys[0].Valid() {
					t.Fatalf("kid %v finds %d keys", token.Header["kid"], len(keys))
				}
				return keys[0].Key, nil
			}, jwt.WithoutClaimsValidation())
			if err != nil || !parsed.Valid {
				t.Error(err)
			}
			for _, k := range set.Keys {
				sum := base64.RawURLEncoding.EncodeToString(k.CertificateThumbprintSHA1)
				if sum != k.KeyID || len(k.Certificates) != 1 || k.Certificates[0].PublicKeyAlgorithm != x509.RSA {
					t.Errorf("kid %s, x5t %s, %d certificates", k.KeyID, sum, len(k.Certificates))
				}
			}
		})
	}
	if a := w.get(t, login+"unknown/discovery/keys"); a.status != 400 {
		t.Errorf("%d %s", a.status, a.raw)
	}
}
