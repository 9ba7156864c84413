package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

const (
	tid        = "11111111-1111-1111-1111-111111111111"
	domain     = "contoso.onmicrosoft.com"
	appC       = "66666666-6666-6666-6666-666666666666"
	storageURI = "https://storage.azure.com"
	armURI     = "https://management.azure.com"
)

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	// systemA is an endpoint's system-assigned identity, userB a
	// user-assigned one, principalC an application with secret "pw".
	systemA = azure.Principal{
		ObjectID: "33333333-3333-3333-3333-333333333333", AppID: "22222222-2222-2222-2222-222222222222",
		TenantID: tid, Type: azure.ServicePrincipal, Name: "ep",
		ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/ep",
	}
	userB = azure.Principal{
		ObjectID: "55555555-5555-5555-5555-555555555555", AppID: "44444444-4444-4444-4444-444444444444",
		TenantID: tid, Type: azure.ServicePrincipal, Name: "b",
		ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/b",
	}
	principalC = azure.Principal{
		ObjectID: "77777777-7777-7777-7777-777777777777", AppID: appC,
		TenantID: tid, Type: azure.ServicePrincipal, Name: "app",
	}
)

// sharedKeys is a folder whose keys most tests use: making them takes a tenth
// of a second.
var sharedKeys string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "entra-keys-")
	if err != nil {
		panic(err)
	}
	ring, err := openKeyring(dir, clock.NewManual(epoch))
	if err != nil {
		panic(err)
	}
	<-ring.ready
	sharedKeys = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// newDocs is an empty store.
func newDocs(t testing.TB) store.Documents {
	t.Helper()
	docs, err := store.OpenEphemeral(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docs.Close() })
	return docs
}

// ownKeys gives a service keys nobody else has.
func ownKeys(d *Deps) { d.KeyDir = "" }

// world is a service with its clock and log, and the three principals.
type world struct {
	*Service
	clock *clock.Manual
	docs  store.Documents
	log   *audit.Log
}

func newWorld(t testing.TB, change ...func(*Deps)) world {
	t.Helper()
	w := world{clock: clock.NewManual(epoch), docs: newDocs(t), log: audit.NewLog(64, nil)}
	d := Deps{Documents: w.docs, Clock: w.clock, Audit: w.log, KeyDir: sharedKeys, TenantID: tid, TenantDomain: domain}
	for _, f := range change {
		f(&d)
	}
	w.docs = d.Documents
	s, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w.Service = s
	w.update(t, func(tx store.Tx) error {
		for _, p := range []azure.Principal{systemA, userB, principalC} {
			if err := s.PutPrincipal(tx, p); err != nil {
				return err
			}
		}
		return s.SetSecret(tx, appC, "pw")
	})
	return w
}

func (w world) update(t testing.TB, f func(store.Tx) error) {
	t.Helper()
	if err := w.docs.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func (w world) view(t testing.TB, f func(store.ReadTx)) {
	t.Helper()
	if err := w.docs.View(context.Background(), func(tx store.ReadTx) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func (w world) mint(t testing.TB, p azure.Principal, resource string) string {
	t.Helper()
	token, err := w.Mint(context.Background(), p, resource, MintOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Raw
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (w world) do(t testing.TB, r *http.Request) answer {
	t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), raw: rec.Body.String()}
	if err := json.Unmarshal(rec.Body.Bytes(), &a.body); err != nil {
		t.Fatalf("%s %s: not JSON: %v: %s", r.Method, r.URL, err, a.raw)
	}
	return a
}

func (w world) get(t testing.TB, target string) answer {
	t.Helper()
	return w.do(t, httptest.NewRequest(http.MethodGet, target, nil))
}

func (w world) post(t testing.TB, target string, form url.Values) answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(t, r)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// part decodes the header (0) or the claims (1) of a token.
func part(t testing.TB, raw string, i int) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWS: %q", raw)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
