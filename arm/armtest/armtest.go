// Package armtest sets up the ARM front with a provider under test, for the
// tests of the packages below arm: a store, the real role evaluator, a TLS
// server, callers with tokens, and options for the real Azure SDK clients.
package armtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	armsdk "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// The places every Env has.
const (
	Tenant       = azure.SeedTenantID
	Subscription = "/subscriptions/" + azure.SeedSubscriptionID
	Group        = Subscription + "/resourceGroups/" + azure.SeedResourceGroup
	OtherGroup   = Subscription + "/resourceGroups/other-rg"
)

// Env is what a provider is made from.
type Env struct {
	T          testing.TB
	Documents  *store.Store
	Clock      *clock.Manual
	Index      *rbac.Index
	Operations *arm.Operations
	Audit      *audit.Log
	Directory  *Directory
}

// New makes an Env with a subscription and two groups.
func New(t testing.TB) *Env {
	t.Helper()
	docs, err := store.OpenEphemeral(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	e := &Env{T: t, Documents: docs, Clock: c, Index: rbac.New(rbac.BuiltIn()), Audit: audit.NewLog(100, nil), Directory: &Directory{},
		Operations: arm.NewOperations(docs, c, t.Logf)}
	t.Cleanup(func() {
		e.Operations.Close()
		if err := docs.Close(); err != nil {
			t.Error(err)
		}
	})
	e.Put(&arm.Record{ID: Subscription, Type: "Microsoft.Resources/subscriptions", Document: arm.Document{
		"subscriptionId": azure.SeedSubscriptionID, "tenantId": Tenant, "displayName": "test", "state": "Enabled"}})
	for _, id := range []string{Group, OtherGroup} {
		e.Put(&arm.Record{ID: id, Type: "Microsoft.Resources/resourceGroups", Document: arm.Document{
			"location": "eastus", "properties": map[string]any{"provisioningState": "Succeeded"}}})
	}
	return e
}

// Put stores a record.
func (e *Env) Put(rec *arm.Record) {
	e.T.Helper()
	e.Update(func(tx store.Tx) error { return arm.Put(tx, rec) })
}

// Update runs a transaction that must succeed.
func (e *Env) Update(f func(store.Tx) error) {
	e.T.Helper()
	if err := e.Documents.Update(context.Background(), f); err != nil {
		e.T.Fatal(err)
	}
}

// Exists reports whether a resource is stored.
func (e *Env) Exists(id string) (ok bool) {
	e.T.Helper()
	err := e.Documents.View(context.Background(), func(tx store.ReadTx) (err error) {
		_, ok, err = arm.Get(tx, id)
		return err
	})
	if err != nil {
		e.T.Fatal(err)
	}
	return ok
}

// Principal adds a service principal to the directory; the same name gives the
// same ids.
func (e *Env) Principal(name string) azure.Principal {
	e.T.Helper()
	p := azure.Principal{ObjectID: GUID(name), AppID: GUID(name + " app"), TenantID: Tenant, Type: azure.ServicePrincipal, Name: name}
	e.Update(func(tx store.Tx) error { return e.Directory.PutPrincipal(tx, p) })
	return p
}

// Grant gives a role by name, straight into the index.
func (e *Env) Grant(p azure.Principal, role, scope string) azure.Principal {
	e.T.Helper()
	def, ok := e.Index.DefinitionByName(role)
	if !ok {
		e.T.Fatalf("no role %q", role)
	}
	err := e.Index.Put(rbac.Assignment{
		ID:               strings.TrimRight(scope, "/") + "/providers/Microsoft.Authorization/roleAssignments/" + GUID(p.ObjectID+role+scope),
		RoleDefinitionID: def.ID, PrincipalID: p.ObjectID, PrincipalType: p.Type, Scope: scope,
	})
	if err != nil {
		e.T.Fatal(err)
	}
	return p
}

// Owner is a principal that owns the subscription.
func (e *Env) Owner() azure.Principal {
	e.T.Helper()
	return e.Grant(e.Principal("owner"), "Owner", Subscription)
}

// GUID is a fixed GUID for a name.
func GUID(name string) string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String() }

// Directory keeps principals in the store, as entra does.
type Directory struct{}

const principals = "armtest.principals"

// PutPrincipal stores a principal.
func (*Directory) PutPrincipal(tx store.Tx, p azure.Principal) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return tx.Put(principals, []byte(strings.ToLower(p.ObjectID)), raw)
}

// DeletePrincipal removes one.
func (*Directory) DeletePrincipal(tx store.Tx, objectID string) error {
	return tx.Delete(principals, []byte(strings.ToLower(objectID)))
}

const trusted = "armtest.trusted"

// TrustToken remembers what an application trusts.
func (*Directory) TrustToken(tx store.Tx, appID, id, issuer, subject string, audiences []string) error {
	return tx.Put(trusted, []byte(appID+"/"+id), []byte(issuer+" "+subject+" "+strings.Join(audiences, " ")))
}

// RemoveFederatedCredential forgets it.
func (*Directory) RemoveFederatedCredential(tx store.Tx, appID, id string) error {
	return tx.Delete(trusted, []byte(appID+"/"+id))
}

// Trusted is what TrustToken remembers: issuer, subject and audiences.
func (*Directory) Trusted(tx store.ReadTx, appID, id string) string {
	value, _ := tx.Get(trusted, []byte(appID+"/"+id))
	return string(value)
}

// Principal finds one.
func (*Directory) Principal(tx store.ReadTx, objectID string) (p azure.Principal, ok bool) {
	raw, ok := tx.Get(principals, []byte(strings.ToLower(objectID)))
	return p, ok && json.Unmarshal(raw, &p) == nil
}

// Server is a running ARM front.
type Server struct {
	*Env
	URL  string
	http *http.Client
}

// Serve starts the front with the given types.
func (e *Env) Serve(types ...[]arm.Type) *Server {
	e.T.Helper()
	front, err := arm.New(arm.Deps{Documents: e.Documents, Clock: e.Clock, Audit: e.Audit, Verifier: verifier{e}, Authorizer: e.Index,
		Operations: e.Operations, TenantID: Tenant, Types: slices.Concat(types...)})
	if err != nil {
		e.T.Fatal(err)
	}
	srv := httptest.NewTLSServer(front)
	e.T.Cleanup(srv.Close)
	return &Server{Env: e, URL: srv.URL, http: srv.Client()}
}

// verifier takes an object id for a token, "expired" and "audience" for the
// failures of those names.
type verifier struct{ env *Env }

func (v verifier) Verify(ctx context.Context, raw string, audiences []string) (claims azure.Claims, err error) {
	switch {
	case raw == "expired":
		return claims, azure.ErrTokenExpired
	case raw == "audience" || !slices.Contains(audiences, "https://management.azure.com"):
		return claims, azure.ErrTokenAudience
	}
	err = v.env.Documents.View(ctx, func(tx store.ReadTx) error {
		p, ok := v.env.Directory.Principal(tx, raw)
		if !ok {
			return azure.ErrTokenSignature
		}
		claims.Principal = p
		return nil
	})
	return claims, err
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Raw    string
	Body   arm.Document
}

// Code is the error code of the answer, or "".
func (a Answer) Code() string { return a.Body.String("error", "code") }

// Message is the error message of the answer, or "".
func (a Answer) Message() string { return a.Body.String("error", "message") }

// Values are the objects of a list's `value`.
func (a Answer) Values() []arm.Document {
	v, _ := a.Body.Get("value")
	list, _ := v.([]any)
	out := []arm.Document{}
	for _, item := range list {
		m, _ := item.(map[string]any)
		out = append(out, m)
	}
	return out
}

// Do sends one request. The path gets an api-version unless it has a query of
// its own; body is sent as it is, "" for none.
func (s *Server) Do(as azure.Principal, method, path, body string) Answer {
	s.T.Helper()
	if !strings.Contains(path, "?") {
		path += "?api-version=2022-04-01"
	} else if strings.Contains(path, "$filter=") {
		path = strings.ReplaceAll(path, " ", "%20") + "&api-version=2022-04-01"
	}
	return s.DoToken(as.ObjectID, method, path, body)
}

// DoToken is Do with a raw token ("" for no Authorization header) and the path
// as it is.
func (s *Server) DoToken(token, method, path, body string) Answer {
	s.T.Helper()
	req, err := http.NewRequestWithContext(s.T.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.T.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	a := Answer{Status: res.StatusCode, Header: res.Header, Raw: string(raw)}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.Body); err != nil {
			s.T.Fatalf("%s %s answered no JSON: %q", method, path, raw)
		}
	}
	return a
}

// Want is Do that insists on a status.
func (s *Server) Want(status int, as azure.Principal, method, path, body string) Answer {
	s.T.Helper()
	a := s.Do(as, method, path, body)
	if a.Status != status {
		s.T.Fatalf("%s %s: status %d, want %d; body %s", method, path, a.Status, status, a.Raw)
	}
	return a
}

// WantError is Do that insists on a status and an error code.
func (s *Server) WantError(status int, code string, as azure.Principal, method, path, body string) Answer {
	s.T.Helper()
	a := s.Want(status, as, method, path, body)
	if a.Code() != code {
		s.T.Fatalf("%s %s: code %q, want %q; body %s", method, path, a.Code(), code, a.Raw)
	}
	return a
}

// ClientOptions make an Azure SDK for Go client talk to the server.
func (s *Server) ClientOptions() *armsdk.ClientOptions {
	return &armsdk.ClientOptions{ClientOptions: policy.ClientOptions{
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: "https://login.microsoftonline.com/",
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: s.URL, Audience: "https://management.azure.com"},
			},
		},
		Transport: s.http,
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}, DisableRPRegistration: true}
}

// Credential signs an SDK client in as a principal.
func (s *Server) Credential(p azure.Principal) azcore.TokenCredential { return credential{p.ObjectID} }

type credential struct{ token string }

func (c credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: c.token, ExpiresOn: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
}
