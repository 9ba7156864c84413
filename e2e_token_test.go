package amlocal

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/covers"
)

// Audiences, as clients ask for them.
const (
	forStorage    = "https://storage.azure.com"
	forManagement = "https://management.azure.com"
	forVault      = "https://vault.azure.net"
	forML         = "https://ml.azure.com"
)

// readRaw gets accountOne/box/hello.txt with a credential as it is.
func (l *lab) readRaw(t *testing.T, bearer, version string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+accountOne+".blob.core.windows.net/box/hello.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if version != "" {
		r.Header.Set("x-ms-version", version)
	}
	return l.do(t, r)
}

// arm gets a path of the control plane with a credential as it is.
func (l *lab) armRaw(t *testing.T, method, path, bearer, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://management.azure.com"+path+"?api-version=2024-04-01", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	r.Header.Set("Content-Type", "application/json")
	return l.do(t, r)
}

// armCode is the code of an ARM error body.
func armCode(t *testing.T, a answer) (code, message string) {
	t.Helper()
	var doc struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Errorf("not an ARM error: %s", a.body)
	}
	return doc.Error.Code, doc.Error.Message
}

// claimsOf reads a token without checking it.
func claimsOf(t *testing.T, raw string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(raw, claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func kidOf(t *testing.T, raw string) string {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := token.Header["kid"].(string)
	return kid
}

// publishedKey is a key of the tenant's key set.
func (l *lab) publishedKey(t *testing.T, kid string) *rsa.PublicKey {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://login.microsoftonline.com/common/discovery/keys", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := l.do(t, r)
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &set); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	for _, k := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			if _, leaks := k[private]; leaks {
				t.Fatalf("the key set publishes %q", private)
			}
		}
		if k["kid"] != kid {
			continue
		}
		n, _ := base64.RawURLEncoding.DecodeString(k["n"].(string))
		e, _ := base64.RawURLEncoding.DecodeString(k["e"].(string))
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	t.Fatalf("key %s is not published", kid)
	return nil
}

// signingKey is the private key behind a key id: what only the issuer has.
func (l *lab) signingKey(t *testing.T, public *rsa.PublicKey) *rsa.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(l.e.path("keys", "signing-keys.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := key.(*rsa.PrivateKey); ok && key.PublicKey.Equal(public) {
				return key
			}
		}
	}
	t.Fatal("the private key is not in the state folder")
	return nil
}

func sign(t *testing.T, method jwt.SigningMethod, kid string, claims jwt.MapClaims, key any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = kid
	raw, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// with changes some claims of a copy.
func with(claims jwt.MapClaims, changes map[string]any) jwt.MapClaims {
	out := jwt.MapClaims{}
	for k, v := range claims {
		out[k] = v
	}
	for k, v := range changes {
		out[k] = v
	}
	return out
}

// forgery is a token that must not be believed.
type forgery struct {
	name, raw string
	armCode   string
}

// forgeries makes every kind of bad token out of a good one.
func (l *lab) forgeries(t *testing.T, good string) []forgery {
	t.Helper()
	kid, claims := kidOf(t, good), claimsOf(t, good)
	public := l.publishedKey(t, kid)
	private := l.signingKey(t, public)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	spki := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	parts := strings.Split(good, ".")
	// The first letter of a signature carries six whole bits.
	first := byte('A')
	if parts[2][0] == first {
		first = 'B'
	}
	payload := func(changes map[string]any) string {
		raw, err := json.Marshal(with(claims, changes))
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	const (
		foreign = "https://sts.windows.net/00000000-1111-4222-8333-444444444444/"
		plain   = "InvalidAuthenticationToken"
		tenant  = "InvalidAuthenticationTokenTenant"
	)
	return []forgery{
		{"signature altered", parts[0] + "." + parts[1] + "." + string(first) + parts[2][1:], plain},
		{"signature cut off", parts[0] + "." + parts[1] + ".", plain},
		{"claims altered", parts[0] + "." + payload(map[string]any{"appid": uuid.NewString()}) + "." + parts[2], plain},
		{"alg none", header(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".", plain},
		{"alg None with the old signature", header(`{"alg":"None","typ":"JWT","kid":"`+kid+`"}`) + "." + parts[1] + "." + parts[2], plain},
		{"HS256 with the public key as PEM", sign(t, jwt.SigningMethodHS256, kid, claims, spki), plain},
		{"HS256 with the public key as DER", sign(t, jwt.SigningMethodHS256, kid, claims, der), plain},
		{"a stranger's key under our key id", sign(t, jwt.SigningMethodRS256, kid, claims, stranger), plain},
		{"a key id that is not published", sign(t, jwt.SigningMethodRS256, "nosuchkey", claims, private), plain},
		{"foreign issuer, own key", sign(t, jwt.SigningMethodRS256, kid, with(claims, map[string]any{"iss": foreign}), private), tenant},
		{"no expiry", sign(t, jwt.SigningMethodRS256, kid, with(claims, map[string]any{"exp": nil}), private), ""},
		{"not a token", "nonsense", plain},
		{"empty claims", header(`{"alg":"none"}`) + "." + header(`{}`) + ".", plain},
	}
}

// refusedByBlob checks both answers Azure gives, by x-ms-version.
func (l *lab) refusedByBlob(t *testing.T, raw string) {
	t.Helper()
	modern := l.readRaw(t, raw, "2021-12-02")
	if modern.status != 401 || modern.header.Get("x-ms-error-code") != "InvalidAuthenticationInfo" || !strings.Contains(modern.body, "<Code>InvalidAuthenticationInfo</Code>") {
		t.Errorf("2021-12-02: %d %s %s, want 401 InvalidAuthenticationInfo", modern.status, modern.header.Get("x-ms-error-code"), modern.body)
	}
	if challenge := modern.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer authorization_uri=https://login.microsoftonline.com/") || !strings.Contains(challenge, "resource_id=https://storage.azure.com") {
		t.Errorf("2021-12-02: challenge %q", challenge)
	}
	old := l.readRaw(t, raw, "2019-02-02")
	if old.status != 403 || old.header.Get("x-ms-error-code") != "AuthenticationFailed" || old.header.Get("WWW-Authenticate") != "" {
		t.Errorf("2019-02-02: %d %s, challenge %q, want 403 AuthenticationFailed without", old.status, old.header.Get("x-ms-error-code"), old.header.Get("WWW-Authenticate"))
	}
	for _, a := range []answer{modern, old} {
		if strings.Contains(a.body, helloText) {
			t.Error("the blob was served")
		}
	}
}

func (l *lab) refusedByARM(t *testing.T, raw, code string) {
	t.Helper()
	a := l.armRaw(t, http.MethodGet, seedGroup, raw, "")
	got, _ := armCode(t, a)
	if a.status != 401 || (code != "" && got != code) || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("ARM: %d %s, challenge %q, want 401 %s", a.status, got, a.header.Get("WWW-Authenticate"), code)
	}
}

// TestTokensThatProveNothing takes real tokens, spoils them, and shows them to
// blob and ARM. The principal has every role: only the token is wrong.
func TestTokensThatProveNothing(t *testing.T) {
	covers.R(t, "R-1014", "R-1016", "R-524")
	l := newLab(t, nil)
	p := l.principal("bearer")
	l.owner.grant(t, p.oid, "Storage Blob Data Owner", seedSubscription)
	l.owner.grant(t, p.oid, "Owner", seedSubscription)
	storage, management := p.token(t, forStorage), p.token(t, forManagement)

	for _, version := range []string{"2021-12-02", "2019-02-02", "2017-11-09", "2025-01-05"} {
		if a := l.readRaw(t, storage, version); a.status != 200 || a.body != helloText {
			t.Fatalf("the good token at %s: %d %s", version, a.status, a.body)
		}
	}
	if a := l.armRaw(t, http.MethodGet, seedGroup, management, ""); a.status != 200 {
		t.Fatalf("the good token at ARM: %d %s", a.status, a.body)
	}
	for _, f := range l.forgeries(t, storage) {
		t.Run("blob/"+f.name, func(t *testing.T) { l.refusedByBlob(t, f.raw) })
	}
	for _, f := range l.forgeries(t, management) {
		t.Run("arm/"+f.name, func(t *testing.T) { l.refusedByARM(t, f.raw, f.armCode) })
	}
	// The spoiled ones must not have displaced the good one in any cache.
	if a := l.readRaw(t, storage, "2021-12-02"); a.status != 200 {
		t.Errorf("the good token afterwards: %d %s", a.status, a.body)
	}
}

func TestTokensForSomeoneElse(t *testing.T) {
	covers.R(t, "R-1014", "R-1029", "R-525")
	l := newLab(t, nil)
	p := l.principal("bearer")
	l.owner.grant(t, p.oid, "Storage Blob Data Owner", seedSubscription)
	l.owner.grant(t, p.oid, "Owner", seedSubscription)
	for _, resource := range []string{forManagement, forVault, forML} {
		t.Run("blob/"+resource, func(t *testing.T) {
			raw := p.token(t, resource)
			if aud, _ := claimsOf(t, raw)["aud"].(string); strings.TrimSuffix(aud, "/") != resource {
				t.Fatalf("aud %q", aud)
			}
			l.refusedByBlob(t, raw)
			if a := l.readRaw(t, raw, "2021-12-02"); !strings.Contains(a.body, "AuthenticationErrorDetail") || !strings.Contains(strings.ToLower(a.body), "audience") {
				t.Errorf("the detail does not speak of the audience: %s", a.body)
			}
		})
	}
	for _, resource := range []string{forStorage, forVault, forML} {
		t.Run("arm/"+resource, func(t *testing.T) { l.refusedByARM(t, p.token(t, resource), "InvalidAuthenticationTokenAudience") })
	}
	t.Run("arm/none", func(t *testing.T) { l.refusedByARM(t, "", "AuthenticationFailed") })
	t.Run("a key is no token", func(t *testing.T) {
		covers.R(t, "R-301")
		l.owner.endpoint(t, "keyed", wish(nil))
		l.refusedByARM(t, *l.owner.keys(t, "keyed").PrimaryKey, "InvalidAuthenticationToken")
	})
}

func TestOldStorageVersions(t *testing.T) {
	covers.R(t, "R-515", "R-1017")
	l := newLab(t, nil)
	p := l.principal("bearer")
	l.owner.grant(t, p.oid, "Storage Blob Data Owner", seedSubscription)
	raw := p.token(t, forStorage)
	for _, version := range []string{"", "2017-07-29", "2009-09-19"} {
		a := l.readRaw(t, raw, version)
		if a.status != 403 || a.header.Get("x-ms-error-code") != "AuthenticationFailed" || a.header.Get("WWW-Authenticate") != "" || strings.Contains(a.body, helloText) {
			t.Errorf("x-ms-version %q: %d %s", version, a.status, a.body)
		}
	}
}

// TestTokensExpire moves the emulator's clock.
func TestTokensExpire(t *testing.T) {
	covers.R(t, "R-1015", "R-414")
	now := clock.NewManual(time.Now())
	l := newLab(t, func(c *Config) { c.Clock = now })
	p := l.principal("bearer")
	l.owner.grant(t, p.oid, "Storage Blob Data Owner", seedSubscription)
	l.owner.grant(t, p.oid, "Owner", seedSubscription)
	l.owner.endpoint(t, "aad", wish(func(e *armmachinelearning.OnlineEndpoint) {
		e.Properties.AuthMode = to.Ptr(armmachinelearning.EndpointAuthModeAADToken)
	}))
	storage, management, ml := p.token(t, forStorage), p.token(t, forManagement), p.token(t, forML)
	if a := l.readRaw(t, storage, "2021-12-02"); a.status != 200 {
		t.Fatalf("before: %d %s", a.status, a.body)
	}
	if a := l.score(t, "aad", "", ml, "{}"); a.status != 404 {
		t.Errorf("scoring before: %d %s, want 404 for want of a deployment", a.status, a.body)
	}
	now.Advance(2 * time.Hour)
	l.refusedByBlob(t, storage)
	if a := l.readRaw(t, storage, "2021-12-02"); !strings.Contains(a.body, "Lifetime validation failed. The token is expired.") {
		t.Errorf("detail: %s", a.body)
	}
	l.refusedByARM(t, management, "ExpiredAuthenticationToken")
	if a := l.score(t, "aad", "", ml, "{}"); a.status != 401 {
		t.Errorf("scoring: %d %s, want 401", a.status, a.body)
	}
	// A new session gets new tokens.
	again := l.session(p.app, "not-a-secret")
	if a := l.readRaw(t, again.token(t, forStorage), "2021-12-02"); a.status != 200 {
		t.Errorf("after: %d %s", a.status, a.body)
	}
}

// TestWrongClientSecret signs in with what is not the secret.
func TestWrongClientSecret(t *testing.T) {
	covers.C(t, sdk, "R-101")
	l := newLab(t, nil)
	p := l.principal("bearer")
	for _, s := range []*session{l.session(p.app, "wrong"), l.session(uuid.NewString(), "not-a-secret")} {
		_, err := s.cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{forStorage + "/.default"}})
		if err == nil || !strings.Contains(err.Error(), "AADSTS") {
			t.Errorf("got %v, want an AADSTS error", err)
		}
	}
}

// TestSecretsStayIn looks for private key material in what is published.
func TestSecretsStayIn(t *testing.T) {
	l := newLab(t, nil)
	pub := l.publishedKey(t, kidOf(t, l.owner.token(t, forStorage)))
	key := l.signingKey(t, pub)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://login.microsoftonline.com/common/discovery/v2.0/keys", nil)
	if err != nil {
		t.Fatal(err)
	}
	body := l.do(t, r).body
	for _, secret := range [][]byte{key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()} {
		if strings.Contains(body, base64.RawURLEncoding.EncodeToString(secret)) {
			t.Error("the key set publishes a private number")
		}
	}
	info, err := os.Stat(l.e.path("keys", "signing-keys.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("signing keys: %v %v", info.Mode(), err)
	}
	if bytes.Contains([]byte(body), []byte("PRIVATE")) {
		t.Error("the key set publishes a private key")
	}
}
