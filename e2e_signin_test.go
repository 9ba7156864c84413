package amlocal

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// entraPost sends a form to the token service's own handler.
func entraPost(t *testing.T, e *Emulator, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://login.microsoftonline.com/"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	e.entra.ServeHTTP(rec, r)
	var body map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v", rec.Body, err)
	}
	return rec.Code, body
}

// TestDevicePage: the page signs a user in with their password, and nobody
// else; pages of other origins and other host names do not get near it.
func TestDevicePage(t *testing.T) {
	covers.R(t, "R-315")
	l := newLab(t, nil)
	var user PrincipalInfo
	l.adminDo(t, http.MethodPost, "principals", NewPrincipal{Type: "user", Name: "devi"}, http.StatusCreated, &user)
	if user.Password == "" {
		t.Fatal("no password was made")
	}
	public := func(pairs ...string) url.Values {
		v := url.Values{"client_id": {"04b07795-8ddb-461a-bbee-02f9e1bf7b46"}, "scope": {"https://management.azure.com/.default openid offline_access"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	_, begun := entraPost(t, l.e, "organizations/oauth2/v2.0/devicecode", public())
	page, _ := begun["verification_uri"].(string)
	if page != l.e.Access().URL()+"/_amlocal/device" {
		t.Fatalf("%v", begun)
	}
	visit := func(method string, form url.Values, change func(*http.Request)) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, page, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if change != nil {
			change(r)
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
	right := url.Values{"code": {begun["user_code"].(string)}, "login": {user.UserPrincipalName}, "passwd": {user.Password}}
	with := func(name, value string) url.Values {
		v := url.Values{}
		for k := range right {
			v.Set(k, right.Get(k))
		}
		v.Set(name, value)
		return v
	}
	if status, text := visit(http.MethodGet, nil, nil); status != 200 || !strings.Contains(text, "<form") {
		t.Errorf("%d %s", status, text)
	}
	for _, c := range []struct {
		name, want string
		status     int
		form       url.Values
		change     func(*http.Request)
	}{
		{"wrong password", "AADSTS50126", 200, with("passwd", "x"), nil},
		{"unknown user", "AADSTS50034", 200, with("login", "nobody@amlocal.onmicrosoft.com"), nil},
		{"wrong code", "no sign-in waits", 200, with("code", "<b>"), nil},
		{"page of another origin", "CrossOrigin", 403, right, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }},
		{"page of another site", "CrossOrigin", 403, right, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		{"rebound name", "MisdirectedRequest", 421, right, func(r *http.Request) { r.Host = "evil.example" }},
	} {
		if status, text := visit(http.MethodPost, c.form, c.change); status != c.status || !strings.Contains(text, c.want) || strings.Contains(text, "<b>") {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	poll := func() map[string]any {
		_, body := entraPost(t, l.e, "organizations/oauth2/v2.0/token", public("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", begun["device_code"].(string)))
		return body
	}
	if body := poll(); body["error"] != "authorization_pending" {
		t.Errorf("after the refusals: %v", body)
	}
	if status, text := visit(http.MethodPost, right, nil); status != 200 || !strings.Contains(text, "devi@amlocal.onmicrosoft.com is signed in to Microsoft Azure CLI.") {
		t.Errorf("%d %s", status, text)
	}
	if body := poll(); body["access_token"] == nil || body["refresh_token"] == nil {
		t.Errorf("%v", body)
	}
	// Without a password only with the admin token.
	if status, raw := l.admin(t, http.MethodPost, "device/finish", map[string]string{"code": "X", "as": "devi"}, "x"); status != 401 {
		t.Errorf("%d %s", status, raw)
	}
	l.adminDo(t, http.MethodPost, "device/finish", map[string]string{"code": "X", "as": "devi"}, http.StatusBadRequest, nil)
}

// TestWorldCredentials: a world's certificates, federated credentials and
// issuers sign in, and Graph shows them.
func TestWorldCredentials(t *testing.T) {
	covers.R(t, "R-315")
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "one", Use: "sig", Algorithm: "RS256"}}})
	if err != nil {
		t.Fatal(err)
	}
	const ci = "66666666-7777-8888-9999-000000000000"
	for name, text := range map[string]string{
		"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "jwks.json": string(keys),
		"world.yaml": `
issuers:
  - {issuer: https://issuer.example, keys: jwks.json}
principals:
  servicePrincipals:
    - name: ci
      clientId: ` + ci + `
      certificate: cert.pem
      federated:
        - {issuer: https://issuer.example, subject: job}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := New(t.Context(), Config{Ephemeral: true, Runner: "process", World: filepath.Join(dir, "world.yaml"), CADir: t.TempDir(), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(t.Context()) })
	sum := sha1.Sum(der)
	target := azure.SeedTenantID + "/oauth2/v2.0/token"
	for name, c := range map[string]struct {
		header string
		value  string
		claims jwt.MapClaims
	}{
		"certificate": {"x5t", base64.RawURLEncoding.EncodeToString(sum[:]), jwt.MapClaims{"iss": ci, "sub": ci, "aud": "https://login.microsoftonline.com/" + target}},
		"federated":   {"kid", "one", jwt.MapClaims{"iss": "https://issuer.example", "sub": "job", "aud": "api://AzureADTokenExchange"}},
	} {
		c.claims["exp"] = now.Add(time.Minute).Unix()
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, c.claims)
		token.Header[c.header] = c.value
		raw, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		status, body := entraPost(t, e, target, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {ci}, "scope": {"https://management.azure.com/.default"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {raw},
		})
		if status != 200 {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
}
