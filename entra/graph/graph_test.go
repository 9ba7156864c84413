package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/entra/graph"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

const tenant = "11111111-1111-1111-1111-111111111111"

var (
	admin = azure.Principal{ObjectID: "a0000000-0000-0000-0000-000000000001", AppID: "a0000000-0000-0000-0000-000000000002", TenantID: tenant, Type: azure.ServicePrincipal, Name: "admin"}
	robot = azure.Principal{ObjectID: "b0000000-0000-0000-0000-000000000001", AppID: "b0000000-0000-0000-0000-000000000002", TenantID: tenant, Type: azure.ServicePrincipal, Name: "robot"}
	uai   = azure.Principal{
		ObjectID: "c0000000-0000-0000-0000-000000000001", AppID: "c0000000-0000-0000-0000-000000000002", TenantID: tenant, Type: azure.ServicePrincipal, Name: "identity's",
		ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
	}
	mia   = azure.Principal{ObjectID: "d0000000-0000-0000-0000-000000000001", TenantID: tenant, Type: azure.User, Name: "mia@contoso.com"}
	staff = azure.Principal{ObjectID: "e0000000-0000-0000-0000-000000000001", TenantID: tenant, Type: azure.Group, Name: "staff"}
)

type world struct {
	t     *testing.T
	entra *entra.Service
	graph *graph.Service
	docs  store.Documents
}

func newWorld(t *testing.T) *world {
	t.Helper()
	docs, err := store.OpenEphemeral(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docs.Close() })
	log := audit.NewLog(100, nil)
	directory, err := entra.New(entra.Deps{Documents: docs, Clock: clock.System{}, Audit: log, TenantID: tenant, TenantDomain: "contoso.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = directory.Close() })
	service, err := graph.New(graph.Deps{
		Documents: docs, Directory: directory, Verifier: directory, Clock: clock.System{}, Audit: log, TenantID: tenant, Administrator: admin.ObjectID,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = docs.Update(t.Context(), func(tx store.Tx) error {
		for _, p := range []azure.Principal{admin, robot, uai, mia, staff} {
			if err := directory.PutPrincipal(tx, p); err != nil {
				return err
			}
		}
		return directory.AddMember(tx, staff.ObjectID, mia.ObjectID)
	})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, directory, service, docs}
}

func (w *world) token(p azure.Principal, resource string) string {
	w.t.Helper()
	token, err := w.entra.ManagedIdentityToken(w.t.Context(), p, resource)
	if err != nil {
		w.t.Fatal(err)
	}
	return token.Raw
}

// as sends a request as a principal; the status and the decoded answer.
func (w *world) as(p azure.Principal, method, target, body string) (int, map[string]any) {
	w.t.Helper()
	return w.send(w.token(p, "https://graph.microsoft.com/"), method, target, body)
}

func (w *world) send(token, method, target, body string) (int, map[string]any) {
	w.t.Helper()
	r := httptest.NewRequest(method, "https://graph.microsoft.com"+target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	w.graph.ServeHTTP(rec, r)
	raw, _ := io.ReadAll(rec.Body)
	var out map[string]any
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, target, err, raw)
		}
	}
	return rec.Code, out
}

// names are the display names of a list.
func names(body map[string]any) []string {
	out := []string{}
	values, _ := body["value"].([]any)
	for _, v := range values {
		o, _ := v.(map[string]any)
		name, _ := o["displayName"].(string)
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func code(body map[string]any) string {
	e, _ := body["error"].(map[string]any)
	c, _ := e["code"].(string)
	return c
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		set, filter string
		want        []string // nil: refused
	}{
		{"servicePrincipals", "", []string{"admin", "identity's", "robot"}},
		{"servicePrincipals", "servicePrincipalNames/any(c:c eq '" + robot.AppID + "')", []string{"robot"}},
		{"servicePrincipals", "servicePrincipalNames/any(c:c eq '" + robot.ObjectID + "')", []string{}},
		{"servicePrincipals", "appId eq '" + strings.ToUpper(uai.AppID) + "'", []string{"identity's"}},
		{"servicePrincipals", "displayName eq 'identity''s'", []string{"identity's"}},
		{"servicePrincipals", "startswith(displayName,'RO')", []string{"robot"}},
		{"servicePrincipals", "startswith(displayName,'ro') and servicePrincipalType eq 'ManagedIdentity'", []string{}},
		{"servicePrincipals", "displayName eq 'a and b'", []string{}},
		{"servicePrincipals", "displayName eq 'robot' or displayName eq 'admin'", nil},
		{"servicePrincipals", "secretText eq 'x'", nil},
		{"servicePrincipals", "displayName", nil},
		{"users", "userPrincipalName eq 'mia@contoso.com'", []string{"mia@contoso.com"}},
		{"users", "userPrincipalName eq 'nobody@contoso.com'", []string{}},
		{"groups", "startswith(displayName,'st')", []string{"staff"}},
		{"applications", "", []string{"admin", "robot"}},
		{"applications", "appId eq '" + robot.AppID + "'", []string{"robot"}},
	} {
		status, body := w.as(admin, "GET", "/v1.0/"+c.set+"?$filter="+url.QueryEscape(c.filter), "")
		if c.want == nil {
			if status != http.StatusBadRequest || code(body) != "Request_UnsupportedQuery" {
				t.Errorf("%s %q: %d %v", c.set, c.filter, status, body)
			}
			continue
		}
		if diff := cmp.Diff(c.want, names(body)); status != http.StatusOK || diff != "" {
			t.Errorf("%s %q: %d %s", c.set, c.filter, status, diff)
		}
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	var got []string
	target := "/v1.0/servicePrincipals?$top=2"
	for range 3 {
		_, body := w.as(admin, "GET", target, "")
		got = append(got, names(body)...)
		next, _ := body["@odata.nextLink"].(string)
		if next == "" {
			break
		}
		target = strings.TrimPrefix(next, "https://graph.microsoft.com")
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"admin", "identity's", "robot"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoMayAsk(t *testing.T) {
	w := newWorld(t)
	const list = "/v1.0/servicePrincipals"
	for _, c := range []struct {
		who            azure.Principal
		method, target string
		status         int
		code           string
	}{
		{admin, "GET", list, 200, ""},
		{mia, "GET", list, 200, ""},
		{mia, "GET", "/v1.0/me", 200, ""},
		{mia, "DELETE", list + "/" + robot.ObjectID, 403, "Authorization_RequestDenied"},
		{robot, "GET", list, 403, "Authorization_RequestDenied"},
		{robot, "GET", list + "/" + robot.ObjectID, 403, "Authorization_RequestDenied"},
		{uai, "GET", list, 403, "Authorization_RequestDenied"},
		{uai, "POST", "/v1.0/directoryObjects/getByIds", 403, "Authorization_RequestDenied"},
		{admin, "GET", "/v1.0/me", 400, "BadRequest"},
		{admin, "GET", "/v1.0/servicePrincipals/" + tenant, 404, "Request_ResourceNotFound"},
		{admin, "GET", "/v1.0/users/" + robot.ObjectID, 404, "Request_ResourceNotFound"},
		{admin, "DELETE", list + "/" + uai.ObjectID, 403, "Authorization_RequestDenied"},
		{admin, "GET", "/beta/SERVICEPRINCIPALS/" + uai.ObjectID, 200, ""},
		{admin, "GET", list + "(appId='" + uai.AppID + "')", 200, ""},
		{admin, "GET", "/v1.0/sites", 501, "NotImplemented"},
		{admin, "POST", "/v1.0/users", 501, "NotImplemented"},
	} {
		status, body := w.as(c.who, c.method, c.target, "{}")
		if status != c.status || code(body) != c.code {
			t.Errorf("%s %s %s: %d %v", c.who.Name, c.method, c.target, status, body)
		}
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	good := w.token(admin, "https://graph.microsoft.com")
	for name, token := range map[string]string{
		"none": "", "not one": "abc", "for ARM": w.token(admin, "https://management.azure.com"), "altered": good[:len(good)-8] + "AAAAAAAA",
	} {
		if status, body := w.send(token, "GET", "/v1.0/users", ""); status != http.StatusUnauthorized || code(body) != "InvalidAuthenticationToken" {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	if status, _ := w.send(good, "GET", "/v1.0/users", ""); status != http.StatusOK {
		t.Errorf("a good token: %d", status)
	}
}

func TestGetByIDs(t *testing.T) {
	w := newWorld(t)
	ask := func(types string) []string {
		ids, _ := json.Marshal([]string{mia.ObjectID, staff.ObjectID, uai.ObjectID, tenant})
		_, body := w.as(admin, "POST", "/v1.0/directoryObjects/getByIds", `{"ids": `+string(ids)+`, "types": `+types+`}`)
		return names(body)
	}
	if diff := cmp.Diff([]string{"identity's", "mia@contoso.com", "staff"}, ask(`["user", "group", "servicePrincipal", "directoryObjectPartnerReference"]`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"staff"}, ask(`["group"]`)); diff != "" {
		t.Error(diff)
	}
	_, body := w.as(admin, "GET", "/v1.0/groups/"+staff.ObjectID+"/members", "")
	if diff := cmp.Diff([]string{"mia@contoso.com"}, names(body)); diff != "" {
		t.Error(diff)
	}
}

// TestCreateForRBAC goes the way of `az ad sp create-for-rbac` and signs in
// with what it made.
func TestCreateForRBAC(t *testing.T) {
	w := newWorld(t)
	ok := func(want int, method, target, body string) map[string]any {
		t.Helper()
		status, out := w.as(admin, method, target, body)
		if status != want {
			t.Fatalf("%s %s: %d %v", method, target, status, out)
		}
		return out
	}
	app := ok(201, "POST", "/v1.0/applications", `{"displayName": "ci"}`)
	path, appID := "/v1.0/applications/"+app["id"].(string), app["appId"].(string)
	password := ok(200, "POST", path+"/addPassword", `{"passwordCredential": {"displayName": "rbac"}}`)
	secret := password["secretText"].(string)
	if err := w.signIn(appID, secret); err == nil {
		t.Error("signed in without a service principal")
	}
	principal := ok(201, "POST", "/v1.0/servicePrincipals", `{"appId": "`+appID+`"}`)
	if principal["displayName"] != "ci" || principal["servicePrincipalType"] != "Application" {
		t.Errorf("%v", principal)
	}
	ok(409, "POST", "/v1.0/servicePrincipals", `{"appId": "`+appID+`"}`)
	ok(400, "POST", "/v1.0/servicePrincipals", `{"appId": "`+tenant+`"}`)
	if err := w.signIn(appID, secret); err != nil {
		t.Errorf("sign in: %v", err)
	}
	shown := ok(200, "GET", path, "")
	if raw, _ := json.Marshal(shown); bytes.Contains(raw, []byte(secret)) {
		t.Errorf("the password can be read again: %s", raw)
	}
	ok(400, "PATCH", path, `{"keyCredentials": [{"key": "x"}]}`)
	ok(501, "PATCH", path, `{"passwordCredentials": [{"secretText": "x"}]}`)
	ok(204, "PATCH", path, `{"displayName": "ci 2"}`)
	ok(204, "POST", path+"/removePassword", `{"keyId": "`+password["keyId"].(string)+`"}`)
	ok(400, "POST", path+"/removePassword", `{"keyId": "`+password["keyId"].(string)+`"}`)
	if err := w.signIn(appID, secret); err == nil {
		t.Error("signed in with a removed password")
	}
	ok(204, "DELETE", path, "")
	ok(404, "GET", "/v1.0/servicePrincipals/"+principal["id"].(string), "")
	ok(404, "GET", path, "")
}

func (w *world) signIn(appID, secret string) error {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {appID}, "client_secret": {secret}, "scope": {"https://management.azure.com/.default"}}
	r := httptest.NewRequest("POST", "https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.entra.ServeHTTP(rec, r)
	if rec.Code != http.StatusOK {
		return io.ErrUnexpectedEOF
	}
	return nil
}
