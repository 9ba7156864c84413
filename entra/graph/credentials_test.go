package graph_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func newCert(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// signInWith presents a signed assertion; the AADSTS text when it is refused.
func (w *world) signInWith(appID, assertion string) string {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {appID}, "scope": {"https://management.azure.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
	r := httptest.NewRequest("POST", "https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.entra.ServeHTTP(rec, r)
	var body struct {
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(rec.Body.Bytes(), &body)
	return body.Description
}

func (w *world) ok(want int, method, target, body string) map[string]any {
	w.t.Helper()
	status, out := w.as(admin, method, target, body)
	if status != want {
		w.t.Fatalf("%s %s: %d %v, want %d", method, target, status, out, want)
	}
	return out
}

// newApp makes an application with its service principal.
func (w *world) newApp(body string) (path, appID string) {
	w.t.Helper()
	app := w.ok(201, "POST", "/v1.0/applications", body)
	appID = app["appId"].(string)
	w.ok(201, "POST", "/v1.0/servicePrincipals", `{"appId": "`+appID+`"}`)
	return "/v1.0/applications/" + app["id"].(string), appID
}

func TestKeyCredentials(t *testing.T) {
	w := newWorld(t)
	key, der := newCert(t)
	text := base64.StdEncoding.EncodeToString(der)
	path, appID := w.newApp(`{"displayName": "ci", "keyCredentials": [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": "` + text + `", "displayName": "CN=CLI-Login"}]}`)
	sign := func(key *rsa.PrivateKey, der []byte) string {
		sum := sha1.Sum(der)
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": appID, "sub": appID, "aud": "https://login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", "exp": time.Now().Add(time.Minute).Unix(),
		})
		token.Header["x5t"] = base64.RawURLEncoding.EncodeToString(sum[:])
		raw, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if refused := w.signInWith(appID, sign(key, der)); refused != "" {
		t.Error(refused)
	}
	shown := w.ok(200, "GET", path, "")["keyCredentials"].([]any)
	first := shown[0].(map[string]any)
	if len(shown) != 1 || first["key"] != nil || first["keyId"] == "" || len(first["customKeyIdentifier"].(string)) != 40 || first["displayName"] != "CN=CLI-Login" {
		t.Errorf("%v", shown)
	}

	// A second beside the first, which is named without its key, as PEM.
	key2, der2 := newCert(t)
	pemText := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der2}))
	kept, _ := json.Marshal(first)
	w.ok(204, "PATCH", path, `{"keyCredentials": [`+string(kept)+`, {"key": "`+pemText+`"}]}`)
	for _, raw := range []string{sign(key, der), sign(key2, der2)} {
		if refused := w.signInWith(appID, raw); refused != "" {
			t.Error(refused)
		}
	}
	w.ok(400, "PATCH", path, `{"keyCredentials": [{"keyId": "`+tenant+`"}]}`)
	w.ok(400, "PATCH", path, `{"keyCredentials": [{"type": "Symmetric", "key": "`+text+`"}]}`)
	w.ok(400, "PATCH", path, `{"keyCredentials": [{"key": "AAAA"}]}`)
	w.ok(204, "PATCH", path, `{"keyCredentials": []}`)
	if refused := w.signInWith(appID, sign(key, der)); !strings.HasPrefix(refused, "AADSTS700027:") {
		t.Errorf("with a certificate that was taken away: %q", refused)
	}
}

func TestFederatedIdentityCredentials(t *testing.T) {
	w := newWorld(t)
	path, appID := w.newApp(`{"displayName": "ci"}`)
	list := path + "/federatedIdentityCredentials"
	issuer := "https://login.microsoftonline.com/" + tenant + "/v2.0"
	body := `{"name": "uai", "issuer": "` + issuer + `", "subject": "` + uai.ObjectID + `", "audiences": ["api://AzureADTokenExchange"]}`
	token := w.token(uai, "api://AzureADTokenExchange")
	if refused := w.signInWith(appID, token); !strings.HasPrefix(refused, "AADSTS70021:") {
		t.Errorf("before there was one: %q", refused)
	}
	made := w.ok(201, "POST", list, body)
	if refused := w.signInWith(appID, token); refused != "" {
		t.Error(refused)
	}
	if refused := w.signInWith(appID, w.token(admin, "api://AzureADTokenExchange")); !strings.HasPrefix(refused, "AADSTS700213:") {
		t.Errorf("another subject: %q", refused)
	}
	w.ok(400, "POST", list, body)
	w.ok(400, "POST", list, strings.Replace(body, `"uai"`, `"other"`, 1))
	w.ok(400, "POST", list, `{"name": "x", "issuer": "https://a", "subject": "b", "audiences": []}`)
	w.ok(400, "POST", list, `{"name": "x", "issuer": "https://a", "audiences": ["c"]}`)
	one := list + "/" + made["id"].(string)
	if got := w.ok(200, "GET", list+"/uai", ""); got["subject"] != uai.ObjectID {
		t.Errorf("%v", got)
	}
	if got := w.ok(200, "GET", list, "")["value"].([]any); len(got) != 1 {
		t.Errorf("%v", got)
	}
	w.ok(204, "PATCH", one, `{"subject": "`+admin.ObjectID+`"}`)
	if refused := w.signInWith(appID, token); !strings.HasPrefix(refused, "AADSTS700213:") {
		t.Errorf("after the change: %q", refused)
	}
	w.ok(400, "PATCH", one, `{"name": "renamed"}`)
	w.ok(204, "DELETE", one, "")
	w.ok(404, "DELETE", one, "")
	w.ok(404, "GET", list+"/uai", "")
	if refused := w.signInWith(appID, token); !strings.HasPrefix(refused, "AADSTS70021:") {
		t.Errorf("after it was deleted: %q", refused)
	}
}
