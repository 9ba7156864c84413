package vault

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/seal"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

const (
	tenant  = "11111111-1111-1111-1111-111111111111"
	byRoles = "roles"
	byRule  = "policies"
	vaultID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/"
	issuer  = "https://sts.windows.net/" + tenant + "/"
)

var (
	alice = azure.Principal{ObjectID: "33333333-3333-3333-3333-333333333333", AppID: "22222222-2222-2222-2222-222222222222", TenantID: tenant, Type: azure.ServicePrincipal, Name: "alice"}
	bob   = azure.Principal{ObjectID: "44444444-4444-4444-4444-444444444444", AppID: "55555555-5555-5555-5555-555555555555", TenantID: tenant, Type: azure.ServicePrincipal, Name: "bob"}
)

// world is a vault service with its neighbours played by the test; the roles
// are the real evaluator.
type world struct {
	t      testing.TB
	svc    *Service
	store  *store.Store
	clock  *clock.Manual
	audit  *audit.Log
	index  *rbac.Index
	vaults table
	http   *http.Client // reaches vaults by their public names
}

type table map[string]*Vault

func (v table) Vault(_ context.Context, name string) (Vault, bool, error) {
	found, ok := v[strings.ToLower(name)]
	if !ok {
		return Vault{}, false, nil
	}
	return *found, true, nil
}

func newWorld(t testing.TB) *world {
	t.Helper()
	docs, err := store.OpenEphemeral(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docs.Close() })
	w := &world{t: t, store: docs, clock: clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), audit: audit.NewLog(100, nil),
		index: rbac.New(rbac.BuiltIn()), vaults: table{}}
	for _, name := range []string{byRoles, byRule} {
		w.vaults[name] = &Vault{Name: name, ResourceID: vaultID + name, Location: "eastus", TenantID: tenant, RBAC: name == byRoles, RetentionDays: 90}
	}
	key, err := seal.Random()
	if err != nil {
		t.Fatal(err)
	}
	w.svc, err = New(Deps{Documents: docs, Seal: key, Clock: w.clock, Audit: w.audit, Authorizer: w.index, Verifier: verifier{w}, Vaults: w.vaults, Groups: w.index})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(w.svc)
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS12}
	t.Cleanup(transport.CloseIdleConnections)
	w.http = &http.Client{Transport: transport}
	return w
}

// grant gives a built-in role.
func (w *world) grant(who azure.Principal, role, scope string) {
	w.t.Helper()
	def, ok := w.index.DefinitionByName(role)
	if !ok {
		w.t.Fatalf("no role %q", role)
	}
	if err := w.index.Put(rbac.Assignment{ID: scope + "/providers/Microsoft.Authorization/roleAssignments/" + who.Name + role,
		RoleDefinitionID: def.ID, PrincipalID: who.ObjectID, PrincipalType: who.Type, Scope: scope}); err != nil {
		w.t.Fatal(err)
	}
}

// token is a JWT nobody signed, for a verifier that does not look.
func (w *world) token(who azure.Principal, edit func(map[string]any)) string {
	claims := map[string]any{"aud": audience, "iss": issuer, "oid": who.ObjectID, "exp": w.clock.Now().Add(time.Hour).Unix()}
	if edit != nil {
		edit(claims)
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln"
}

type verifier struct{ w *world }

func (v verifier) Verify(_ context.Context, raw string, audiences []string) (azure.Claims, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return azure.Claims{}, azure.ErrTokenMalformed
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c struct {
		Aud, Iss, Oid, Sig string
		Exp                int64
	}
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return azure.Claims{}, azure.ErrTokenMalformed
	}
	switch {
	case c.Sig == "bad":
		return azure.Claims{}, azure.ErrTokenSignature
	case c.Iss != issuer:
		return azure.Claims{}, azure.ErrTokenIssuer
	case !slices.Contains(audiences, c.Aud):
		return azure.Claims{}, azure.ErrTokenAudience
	case v.w.clock.Now().Unix() >= c.Exp:
		return azure.Claims{}, azure.ErrTokenExpired
	}
	for _, p := range []azure.Principal{alice, bob} {
		if p.ObjectID == c.Oid {
			return azure.Claims{Principal: p, Audience: c.Aud, Issuer: c.Iss}, nil
		}
	}
	return azure.Claims{}, azure.ErrTokenPrincipal
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	raw    string
	body   struct {
		bundle
		Items []bundle `json:"-"`
		Next  string   `json:"nextLink"`
		Error struct {
			Code, Message string
			Inner         struct{ Code string } `json:"innererror"`
		}
	}
	items []bundle
}

// do sends a request; the path gets an api-version unless it has a query.
func (w *world) do(who azure.Principal, method, vault, path, body string) answer {
	w.t.Helper()
	return w.send(w.token(who, nil), method, vault, path, body)
}

func (w *world) send(token, method, vault, path, body string) answer {
	w.t.Helper()
	if !strings.Contains(path, "?") {
		path += "?api-version=7.4"
	}
	if !strings.HasPrefix(path, "https://") {
		path = "https://" + vault + hostSuffix + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if len(raw) == 0 {
		return a
	}
	var value struct{ Value json.RawMessage }
	if err := json.Unmarshal(raw, &value); err != nil {
		w.t.Fatalf("%s %s answered no JSON: %q", method, path, raw)
	}
	if len(value.Value) > 0 && value.Value[0] == '[' {
		err = json.Unmarshal(value.Value, &a.items)
		if err == nil {
			var next struct {
				Next string `json:"nextLink"`
			}
			err = json.Unmarshal(raw, &next)
			a.body.Next = next.Next
		}
	} else {
		err = json.Unmarshal(raw, &a.body)
	}
	if err != nil {
		w.t.Fatalf("%s %s: %v in %q", method, path, err, raw)
	}
	return a
}

// want is do that insists on a status.
func (w *world) want(status int, who azure.Principal, method, vault, path, body string) answer {
	w.t.Helper()
	a := w.do(who, method, vault, path, body)
	if a.status != status {
		w.t.Fatalf("%s %s: status %d, want %d; body %s", method, path, a.status, status, a.raw)
	}
	return a
}

// set makes a version with a value and returns its id.
func (w *world) set(vault, name, value string) (version string) {
	w.t.Helper()
	a := w.want(http.StatusOK, alice, http.MethodPut, vault, "/secrets/"+name, fmt.Sprintf(`{"value":%q}`, value))
	id := a.body.ID
	return id[strings.LastIndexByte(id, '/')+1:]
}

func (a answer) value() string {
	if a.body.Value == nil {
		return ""
	}
	return *a.body.Value
}
