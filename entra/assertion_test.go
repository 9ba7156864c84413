package entra

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

// clientCert is a self-signed certificate, valid from an hour before now.
func clientCert(t testing.TB, now time.Time, life time.Duration) (*rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for k, v := range header {
		token.Header[k] = v
	}
	raw, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func asserted(raw string) url.Values {
	return form("client_secret", "", "client_assertion_type", jwtBearer, "client_assertion", raw)
}

func (a answer) number() float64 {
	codes, _ := a.body["error_codes"].([]any)
	if len(codes) != 1 {
		return 0
	}
	n, _ := codes[0].(float64)
	return n
}

const v2Token = login + tid + "/oauth2/v2.0/token"

func TestCertificateAssertion(t *testing.T) {
	w := newWorld(t)
	key, cert := clientCert(t, epoch, 24*time.Hour)
	stranger, _ := clientCert(t, epoch, 24*time.Hour)
	oldKey, old := clientCert(t, epoch, -time.Minute)
	w.update(t, func(tx store.Tx) error {
		if err := w.AddCertificate(tx, appC, "old", old.Raw); err != nil {
			return err
		}
		return w.AddCertificate(tx, appC, "k", cert.Raw)
	})
	x5t := func(c *x509.Certificate) map[string]any {
		sum := sha1.Sum(c.Raw)
		return map[string]any{"x5t": base64.RawURLEncoding.EncodeToString(sum[:])}
	}
	x5t256 := func(c *x509.Certificate) map[string]any {
		sum := sha256.Sum256(c.Raw)
		return map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	}
	claims := func(pairs ...any) map[string]any {
		c := map[string]any{
			"iss": appC, "sub": appC, "aud": v2Token, "jti": "1", "nbf": epoch.Unix(), "exp": epoch.Add(10 * time.Minute).Unix(),
		}
		for i := 0; i < len(pairs); i += 2 {
			if c[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
				delete(c, pairs[i].(string))
			}
		}
		return c
	}
	rs := jwt.SigningMethodRS256
	for _, c := range []struct {
		name, raw string
		number    float64
	}{
		{"RS256 and SHA-1", sign(t, rs, key, x5t(cert), claims()), 0},
		{"PS256 and SHA-256", sign(t, jwt.SigningMethodPS256, key, x5t256(cert), claims()), 0},
		{"for the issuer", sign(t, rs, key, x5t(cert), claims("aud", "https://login.microsoftonline.com/"+tid+"/v2.0")), 0},
		{"for v1 by domain", sign(t, rs, key, x5t(cert), claims("aud", login+domain+"/oauth2/token")), 0},
		{"a little late", sign(t, rs, key, x5t(cert), claims("exp", epoch.Add(-4*time.Minute).Unix())), 0},
		{"another key under its name", sign(t, rs, stranger, x5t(cert), claims()), 700027},
		{"unknown key", sign(t, rs, stranger, map[string]any{"x5t": "AAAA"}, claims()), 700027},
		{"no key named", sign(t, rs, key, nil, claims()), 700027},
		{"right SHA-1, wrong SHA-256", sign(t, rs, key, map[string]any{"x5t": x5t(cert)["x5t"], "x5t#S256": "AAAA"}, claims()), 700027},
		{"expired certificate", sign(t, rs, oldKey, x5t(old), claims()), 700027},
		{"signed with the public key as a secret", sign(t, jwt.SigningMethodHS256, cert.Raw, x5t(cert), claims()), 700027},
		{"not signed", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, x5t(cert), claims()), 700027},
		{"for another subject", sign(t, rs, key, x5t(cert), claims("sub", "someone")), 700021},
		{"for another tenant", sign(t, rs, key, x5t(cert), claims("aud", login+"other/oauth2/v2.0/token")), 700023},
		{"for another host", sign(t, rs, key, x5t(cert), claims("aud", "https://evil.example/"+tid+"/oauth2/v2.0/token")), 700023},
		{"too late", sign(t, rs, key, x5t(cert), claims("exp", epoch.Add(-6*time.Minute).Unix())), 700024},
		{"too early", sign(t, rs, key, x5t(cert), claims("nbf", epoch.Add(6*time.Minute).Unix())), 700024},
		{"for ever", sign(t, rs, key, x5t(cert), claims("exp", nil)), 700024},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.post(t, v2Token, asserted(c.raw))
			if c.number != 0 {
				if a.status != 401 || a.body["error"] != "invalid_client" || a.number() != c.number {
					t.Fatalf("%d %s", a.status, a.raw)
				}
				return
			}
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			if got := part(t, a.body["access_token"].(string), 1); got["appidacr"] != "2" || got["oid"] != principalC.ObjectID {
				t.Errorf("claims %v", got)
			}
		})
	}
	w.update(t, func(tx store.Tx) error { return w.RemoveCertificate(tx, appC, "K") })
	if a := w.post(t, v2Token, asserted(sign(t, rs, key, x5t(cert), claims()))); a.number() != 700027 {
		t.Errorf("a certificate that was taken away: %d %s", a.status, a.raw)
	}
	for _, bad := range []string{systemA.AppID, appC} {
		der := cert.Raw
		if bad == appC {
			der = []byte("not a certificate")
		}
		if err := w.docs.Update(t.Context(), func(tx store.Tx) error { return w.AddCertificate(tx, bad, "x", der) }); err == nil {
			t.Errorf("%s took it", bad)
		}
	}
}

// The SDK dates its assertions by the machine's clock, ours may stand anywhere.
func TestClientCertificateCredential(t *testing.T) {
	covers.C(t, goSDK, "R-315")
	w := newWorld(t, func(d *Deps) { d.ClientClock = clock.System{} })
	key, cert := clientCert(t, clock.System{}.Now(), time.Hour)
	w.update(t, func(tx store.Tx) error { return w.AddCertificate(tx, appC, "k", cert.Raw) })
	options := &azidentity.ClientCertificateCredentialOptions{}
	options.Transport = newToServer(t, w)
	cred, err := azidentity.NewClientCertificateCredential(tid, appC, []*x509.Certificate{cert}, crypto.PrivateKey(key), options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{storageURI + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := w.Verify(t.Context(), token.Token, storageAudiences); err != nil || claims.Principal != principalC {
		t.Errorf("%+v %v", claims, err)
	}
}

func TestFederatedAssertion(t *testing.T) {
	covers.R(t, "R-315")
	w := newWorld(t)
	const issuer = "https://kube.example/cluster"
	key, _ := clientCert(t, epoch, time.Hour)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "one", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	w.update(t, func(tx store.Tx) error {
		for id, c := range map[string]FederatedCredential{
			"kube":     {Issuer: issuer, Subject: "system:serviceaccount:ns:sa", Audiences: []string{exchangeURI}},
			"identity": {Issuer: w.issuerV2(), Subject: userB.ObjectID, Audiences: []string{exchangeURI}},
			"app":      {Issuer: w.issuerV2(), Subject: principalC.ObjectID, Audiences: []string{exchangeURI}},
			"unknown":  {Issuer: "https://nobody.example", Subject: "x", Audiences: []string{exchangeURI}},
		} {
			c.ID = id
			if err := w.PutFederatedCredential(tx, appC, c); err != nil {
				return err
			}
		}
		if err := w.PutFederatedCredential(tx, userB.AppID, FederatedCredential{ID: "k", Issuer: issuer, Subject: "b", Audiences: []string{exchangeURI}}); err != nil {
			return err
		}
		return w.PutIssuer(tx, issuer, keys)
	})
	kube := func(kid string, pairs ...any) string {
		c := map[string]any{"iss": issuer, "sub": "system:serviceaccount:ns:sa", "aud": []string{exchangeURI}, "exp": epoch.Add(time.Hour).Unix()}
		for i := 0; i < len(pairs); i += 2 {
			c[pairs[i].(string)] = pairs[i+1]
		}
		return sign(t, jwt.SigningMethodRS256, key, map[string]any{"kid": kid}, c)
	}
	own, err := w.ManagedIdentityToken(t.Context(), userB, exchangeURI)
	if err != nil {
		t.Fatal(err)
	}
	if c := part(t, own.Raw, 1); c["ver"] != "2.0" || c["aud"] != exchangeAppID || c["azp"] != userB.AppID || c["azpacr"] != "2" || c["appid"] != nil || c["iss"] != "https://login.microsoftonline.com/"+tid+"/v2.0" {
		t.Errorf("token for exchange: %v", c)
	}
	if h := part(t, own.Raw, 0); h["x5t"] != nil || h["kid"] == "" {
		t.Errorf("its header: %v", h)
	}
	arm, err := w.ManagedIdentityToken(t.Context(), userB, armURI)
	if err != nil {
		t.Fatal(err)
	}
	app, err := w.Mint(t.Context(), principalC, exchangeURI, MintOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, raw string
		number    float64
	}{
		{"E12", kube("one"), 0},
		{"an application's token", app.Raw, 700236},
		{"managed identity's token", own.Raw, 0},
		{"no kid", kube(""), 0},
		{"E13 another subject", kube("one", "sub", "system:serviceaccount:ns:other"), 700213},
		{"subject in other letters", kube("one", "sub", "SYSTEM:serviceaccount:ns:sa"), 700213},
		{"another issuer", kube("one", "iss", issuer+"/"), 700211},
		{"another audience", kube("one", "aud", "https://management.azure.com"), 700212},
		{"unknown key", kube("two"), 50013},
		{"expired", kube("one", "exp", epoch.Add(-time.Hour).Unix()), 700024},
		{"issuer without keys", kube("one", "iss", "https://nobody.example", "sub", "x"), 50166},
		{"our own token for something else", arm.Raw, 700211},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.post(t, v2Token, asserted(c.raw))
			if a.number() != c.number || (c.number == 0) != (a.status == 200) {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			if c.number == 0 && part(t, a.body["access_token"].(string), 1)["appidacr"] != "2" {
				t.Error("appidacr is not 2")
			}
		})
	}
	t.Run("as a user-assigned identity", func(t *testing.T) {
		f := asserted(kube("one", "sub", "b"))
		f.Set("client_id", userB.AppID)
		a := w.post(t, v2Token, f)
		if a.status != 200 || part(t, a.body["access_token"].(string), 1)["oid"] != userB.ObjectID {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	})
	t.Run("azidentity", func(t *testing.T) {
		covers.C(t, goSDK, "R-315")
		options := &azidentity.ClientAssertionCredentialOptions{}
		options.Transport = newToServer(t, w)
		cred, err := azidentity.NewClientAssertionCredential(tid, appC, func(context.Context) (string, error) { return kube("one"), nil }, options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{storageURI + "/.default"}}); err != nil {
			t.Fatal(err)
		}
	})
	w.update(t, func(tx store.Tx) error { return w.RemoveFederatedCredential(tx, appC, "KUBE") })
	if a := w.post(t, v2Token, asserted(kube("one"))); a.number() != 700211 {
		t.Errorf("a credential that was taken away: %d %s", a.status, a.raw)
	}
}

func TestPutIssuerRefusals(t *testing.T) {
	w := newWorld(t)
	key, _ := clientCert(t, epoch, time.Hour)
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: "one"}}})
	if err != nil {
		t.Fatal(err)
	}
	for issuer, keys := range map[string]string{
		"http://plain.example": `{"keys":[]}`, "https://none.example": `{"keys":[]}`, "https://text.example": `no`, "https://private.example": string(private),
		"https://secret.example": `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
	} {
		if err := w.docs.Update(t.Context(), func(tx store.Tx) error { return w.PutIssuer(tx, issuer, []byte(keys)) }); err == nil {
			t.Errorf("%s was taken", issuer)
		}
	}
}

func FuzzAssertion(f *testing.F) {
	f.Add("e30.e30.c2ln")
	f.Add("eyJhbGciOiJSUzI1NiIsIng1dCI6IkFBIn0.eyJpc3MiOiJhIn0.c2ln")
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseAssertion(raw)
		if err == nil {
			thumbprintOf(a.header)
			_ = a.verify([]byte("x"), "RS256")
		}
	})
}
