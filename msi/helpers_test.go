package msi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/store"
)

const (
	tid = "11111111-1111-1111-1111-111111111111"
	st  = "https://storage.azure.com"
	// owner is the deployment under test, other one of another endpoint.
	owner  = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/ep/deployments/blue"
	other  = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/other/deployments/blue"
	secret = "s3"
	rb     = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/b"
)

// The identities of the specification's vectors: A is system-assigned, B and D
// are user-assigned.
var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	idA   = azure.Principal{
		ObjectID: "33333333-3333-3333-3333-333333333333", AppID: "22222222-2222-2222-2222-222222222222",
		TenantID: tid, Type: azure.ServicePrincipal, Name: "ep", ResourceID: strings.TrimSuffix(owner, "/deployments/blue"),
	}
	idB = azure.Principal{
		ObjectID: "55555555-5555-5555-5555-555555555555", AppID: "44444444-4444-4444-4444-444444444444",
		TenantID: tid, Type: azure.ServicePrincipal, Name: "b", ResourceID: rb,
	}
	idD = azure.Principal{
		ObjectID: "88888888-8888-8888-8888-888888888888", AppID: "99999999-9999-9999-9999-999999999999",
		TenantID: tid, Type: azure.ServicePrincipal, Name: "d", ResourceID: strings.TrimSuffix(rb, "b") + "d",
	}
)

// keyDir is shared: making keys takes a tenth of a second.
var keyDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "msi-keys-")
	if err != nil {
		panic(err)
	}
	keyDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// secrets are the instances' secrets and whose they are.
type secrets map[string]string

func (s secrets) Owner(secret string) (string, bool) { o, ok := s[secret]; return o, ok }

// attached are the identities of each deployment.
type attached map[string]msi.Assigned

func (a attached) IdentitiesOf(_ context.Context, owner string) (msi.Assigned, error) {
	return a[owner], nil
}

// world is the endpoint with the real token service behind it.
type world struct {
	*msi.Service
	entra    *entra.Service
	docs     store.Documents
	clock    *clock.Manual
	log      *audit.Log
	attached attached
}

func newWorld(t testing.TB, change ...func(*msi.Deps)) world {
	t.Helper()
	docs, err := store.OpenEphemeral(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docs.Close() })
	w := world{
		docs: docs, clock: clock.NewManual(epoch), log: audit.NewLog(64, nil),
		attached: attached{owner: {System: &idA, User: []azure.Principal{idB}}, other: {User: []azure.Principal{idD}}},
	}
	w.entra, err = entra.New(entra.Deps{Documents: docs, KeyDir: keyDir, Clock: w.clock, Audit: w.log, TenantID: tid})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.entra.Close() })
	err = docs.Update(context.Background(), func(tx store.Tx) error {
		for _, p := range []azure.Principal{idA, idB, idD} {
			if err := w.entra.PutPrincipal(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d := msi.Deps{
		Issuer: w.entra, Instances: secrets{secret: owner, "s4": other}, Identities: w.attached,
		Clock: w.clock, Audit: w.log,
	}
	for _, f := range change {
		f(&d)
	}
	if w.Service, err = msi.New(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func strict(d *msi.Deps)     { d.Strict = true }
func cloudShell(d *msi.Deps) { d.CloudShell = true }

// answer is a response read to its end; body is nil when it is not JSON.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

// ask sends a request to h; headers are name, value pairs.
func ask(h http.Handler, r *http.Request, headers ...string) answer {
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), raw: rec.Body.String()}
	_ = json.Unmarshal(rec.Body.Bytes(), &a.body)
	return a
}

func get(target string) *http.Request { return httptest.NewRequest(http.MethodGet, target, nil) }

// wantToken checks "token(X, aud)" of the specification.
func (w world) wantToken(t *testing.T, a answer, who azure.Principal, audience string) {
	t.Helper()
	raw, _ := a.body["access_token"].(string)
	if a.status != 200 || raw == "" {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %q", a.header.Get("Content-Type"))
	}
	if a.body["resource"] != audience || a.body["token_type"] != "Bearer" {
		t.Errorf("resource %v, token_type %v", a.body["resource"], a.body["token_type"])
	}
	claims := decode(t, raw)
	for name, want := range map[string]any{
		"aud": audience, "appid": who.AppID, "oid": who.ObjectID, "sub": who.ObjectID, "tid": tid, "appidacr": "2",
	} {
		if claims[name] != want {
			t.Errorf("%s = %v, want %v", name, claims[name], want)
		}
	}
	if got, err := w.entra.Verify(t.Context(), raw, []string{audience}); err != nil || got.Principal != who {
		t.Errorf("verified as %+v, %v", got.Principal, err)
	}
}

// wantError checks the shape of a refusal: JSON, no token, one message twice.
func wantError(t *testing.T, a answer, status int, contains string) {
	t.Helper()
	message, _ := a.body["message"].(string)
	if a.status != status || a.body["statusCode"] != float64(status) || message == "" || a.body["error_description"] != message ||
		a.body["error"] == "" || a.body["correlationId"] != a.header.Get("x-ms-request-id") {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %q", a.header.Get("Content-Type"))
	}
	if !strings.Contains(message, contains) {
		t.Errorf("message %q lacks %q", message, contains)
	}
	if strings.Contains(a.raw, "access_token") {
		t.Errorf("a refusal with a token: %s", a.raw)
	}
}

func decode(t testing.TB, raw string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWS: %q", raw)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(data, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}
