package blobfake

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

const (
	acct      = "acct"
	tenant    = "11111111-1111-1111-1111-111111111111"
	accountID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct"
	blobURL   = "https://acct.blob.core.windows.net"
	storageID = "https://storage.azure.com"
	issuer    = "https://sts.windows.net/" + tenant + "/"
)

var alice = azure.Principal{
	ObjectID: "33333333-3333-3333-3333-333333333333", AppID: "22222222-2222-2222-2222-222222222222",
	TenantID: tenant, Type: azure.ServicePrincipal, Name: "alice",
}

// world is a blob service with its neighbours played by the test.
type world struct {
	t        testing.TB
	svc      *Service
	store    *store.Store
	clock    *clock.Manual
	audit    *audit.Log
	accounts accountTable
	rbac     *grants
	tokens   *tokens
	tls      *httptest.Server
	plain    *httptest.Server
	http     *http.Client // reaches accounts by their public names
}

type accountTable map[string]*Account

func (a accountTable) Account(_ context.Context, name string) (Account, bool, error) {
	found, ok := a[name]
	if !ok {
		return Account{}, false, nil
	}
	return *found, true, nil
}

// grants is an Authorizer that knows "object id, action, scope and below".
type grants struct {
	mu   sync.Mutex
	rows []grant
}

type grant struct {
	oid, action, scope string
	data               bool
}

func (g *grants) allow(who azure.Principal, action string, data bool, scope string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows = append(g.rows, grant{who.ObjectID, action, scope, data})
}

func (g *grants) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows = nil
}

func (g *grants) Decide(_ context.Context, who azure.Principal, c azure.Check) azure.Decision {
	g.mu.Lock()
	defer g.mu.Unlock()
	ok := slices.ContainsFunc(g.rows, func(r grant) bool {
		return r.oid == who.ObjectID && r.data == c.Data && strings.EqualFold(r.action, c.Action) &&
			(c.Scope == r.scope || strings.HasPrefix(c.Scope, r.scope+"/"))
	})
	return azure.Decision{Allowed: ok, Principal: who, Check: c}
}

// tokens signs and verifies real JWTs.
type tokens struct {
	key   *rsa.PrivateKey
	clock clock.Clock
}

func (v *tokens) sign(who azure.Principal, aud string, edit func(jwt.MapClaims)) string {
	now := v.clock.Now()
	claims := jwt.MapClaims{
		"aud": aud, "iss": issuer, "iat": now.Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
		"oid": who.ObjectID, "sub": who.ObjectID, "appid": who.AppID, "tid": who.TenantID,
	}
	if edit != nil {
		edit(claims)
	}
	raw, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(v.key)
	if err != nil {
		panic(err)
	}
	return raw
}

func (v *tokens) Verify(_ context.Context, raw string, audiences []string) (azure.Claims, error) {
	var claims jwt.MapClaims
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(v.clock.Now), jwt.WithExpirationRequired()).
		ParseWithClaims(raw, &claims, func(*jwt.Token) (any, error) { return &v.key.PublicKey, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return azure.Claims{}, azure.ErrTokenExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return azure.Claims{}, azure.ErrTokenNotYetValid
	case errors.Is(err, jwt.ErrTokenMalformed):
		return azure.Claims{}, azure.ErrTokenMalformed
	case err != nil:
		return azure.Claims{}, azure.ErrTokenSignature
	case claims["iss"] != issuer:
		return azure.Claims{}, azure.ErrTokenIssuer
	}
	aud, _ := claims["aud"].(string)
	if !slices.ContainsFunc(audiences, func(a string) bool { return strings.EqualFold(a, aud) }) {
		return azure.Claims{}, azure.ErrTokenAudience
	}
	oid, _ := claims["oid"].(string)
	return azure.Claims{Principal: azure.Principal{ObjectID: oid, TenantID: tenant, Type: azure.ServicePrincipal}, Audience: aud}, nil
}

var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func testKey(seed string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(seed, 64)[:64]))
}

func newWorld(t testing.TB) *world {
	t.Helper()
	st, err := store.OpenEphemeral(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, store: st, clock: clock.NewManual(time.Now()), audit: audit.NewLog(100, nil), rbac: &grants{},
		accounts: accountTable{
			acct: {Name: acct, ResourceID: accountID, Keys: [2]string{testKey("one"), testKey("two")},
				AllowBlobPublicAccess: true, AllowSharedKey: true},
			"other": {Name: "other", ResourceID: strings.Replace(accountID, "acct", "other", 1),
				Keys: [2]string{testKey("three"), testKey("four")}, AllowBlobPublicAccess: false, AllowSharedKey: true},
		},
	}
	w.tokens = &tokens{signingKey(), w.clock}
	w.svc, err = New(w.deps())
	if err != nil {
		t.Fatal(err)
	}
	w.tls, w.plain = httptest.NewTLSServer(w.svc), httptest.NewServer(w.svc)
	address := w.tls.Listener.Addr().String()
	w.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
			DisableCompression: true,
		},
	}
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		w.tls.Close()
		w.plain.Close()
		_ = w.svc.Close()
		_ = st.Close()
	})
	return w
}

func (w *world) deps() Deps {
	return Deps{Documents: w.store, Files: w.store.Files(), Clock: w.clock, Audit: w.audit,
		Authorizer: w.rbac, Verifier: w.tokens, Accounts: w.accounts, TenantID: tenant}
}

// update runs f in a transaction.
func (w *world) update(f func(tx store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(context.Background(), f); err != nil {
		w.t.Fatal(err)
	}
}

// container makes one in account acct.
func (w *world) container(name string, access PublicAccess) {
	w.t.Helper()
	w.update(func(tx store.Tx) error {
		_, err := w.svc.CreateContainer(tx, acct, name, access, nil)
		return err
	})
}

// answer is a response, read to its end.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) code() string { return a.Header.Get("x-ms-error-code") }

// xmlError is an error body.
type xmlError struct {
	Code                      string
	Message                   string
	AuthenticationErrorDetail string
}

func (a answer) error(t testing.TB) xmlError {
	t.Helper()
	var e xmlError
	if err := xml.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("error body %q: %v", a.body, err)
	}
	return e
}

// do sends a request; header pairs follow the body.
func (w *world) do(method, url, body string, headers ...string) answer {
	w.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, r)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := w.http
	if req.URL.Scheme == "http" && !strings.HasSuffix(req.URL.Hostname(), hostSuffix) {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{res, b}
}

// sas signs all of account acct for an hour.
func (w *world) sas() string {
	return AccountSAS(*w.accounts[acct], "sco", "rwdlac", time.Time{}, w.clock.Now().Add(time.Hour))
}

// own sends a request with an all-mighty account SAS.
func (w *world) own(method, path, body string, headers ...string) answer {
	w.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return w.do(method, blobURL+path+sep+w.sas(), body, append([]string{"x-ms-version", "2021-12-02"}, headers...)...)
}

// put stores a blob.
func (w *world) put(path, body string, headers ...string) answer {
	w.t.Helper()
	a := w.own("PUT", path, body, append([]string{"x-ms-blob-type", "BlockBlob"}, headers...)...)
	if a.StatusCode != http.StatusCreated {
		w.t.Fatalf("put %s: %d %s", path, a.StatusCode, a.body)
	}
	return a
}
