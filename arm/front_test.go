package arm_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

const (
	thingType = "Microsoft.Test/things"
	things    = "/providers/" + thingType
)

// thingTypes is a provider of one type that stores what it is sent. Its
// actions are storage's, so that roles for them exist.
func thingTypes(e *armtest.Env) []arm.Type {
	const action = "Microsoft.Storage/storageAccounts/"
	row := func(name, method, action string, on arm.Target, verb string, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "things." + name, Method: method, Action: action}, On: on, Verb: verb, Serve: serve}
	}
	get := func(w http.ResponseWriter, r *arm.Request) error {
		var rec *arm.Record
		if err := e.Documents.View(r.Context(), func(tx store.ReadTx) (err error) {
			rec, _, err = arm.Get(tx, r.ID.String())
			return err
		}); err != nil {
			return err
		}
		if rec == nil {
			return arm.NotFound(r.ID)
		}
		w.Header().Set("ETag", rec.ETag())
		return arm.Reply(w, http.StatusOK, rec.Body())
	}
	put := func(w http.ResponseWriter, r *arm.Request) error {
		doc, err := r.Document()
		if err != nil {
			return err
		}
		rec := &arm.Record{ID: r.ID.String(), Type: thingType, Document: doc, CreatedBy: r.Author()}
		if err := e.Documents.Update(r.Context(), func(tx store.Tx) error { return arm.Put(tx, rec) }); err != nil {
			return err
		}
		return arm.Reply(w, http.StatusOK, rec.Body())
	}
	panics := func(http.ResponseWriter, *arm.Request) error { panic("secret detail") }
	echo := func(w http.ResponseWriter, r *arm.Request) error {
		doc, err := r.OptionalDocument()
		if err != nil {
			return err
		}
		return arm.Reply(w, http.StatusOK, arm.Document{"scope": r.Scope, "name": r.Name, "version": r.APIVersion, "empty": doc == nil})
	}
	list := row("List", http.MethodGet, action+"read", arm.Collection, "", func(w http.ResponseWriter, r *arm.Request) error {
		recs, err := r.Visible(thingType)
		if err != nil {
			return err
		}
		items := []arm.Document{}
		for _, rec := range recs {
			items = append(items, rec.Body())
		}
		return arm.ReplyList(w, items)
	})
	list.Filtered = true
	small := row("Small", http.MethodPatch, action+"write", arm.Resource, "", put)
	small.MaxBody = 32
	return []arm.Type{{Name: thingType, Rows: []arm.Row{
		row("Get", http.MethodGet, action+"read", arm.Resource, "", get),
		row("Put", http.MethodPut, action+"write", arm.Resource, "", put),
		row("Panic", http.MethodPost, "", arm.Resource, "panic", panics),
		row("Echo", http.MethodPost, "", arm.Resource, "doEcho", echo),
		small, list,
	}}}
}

func start(t *testing.T) *armtest.Server {
	t.Helper()
	e := armtest.New(t)
	return e.Serve(thingTypes(e))
}

func TestAuthenticationFailures(t *testing.T) {
	covers.R(t, "R-1015", "R-1029")
	s := start(t)
	path := armtest.Group + things + "/a?api-version=2022-04-01"
	for name, tt := range map[string]struct{ token, code, says string }{
		"none":           {"", "AuthenticationFailed", "missing"},
		"expired":        {"expired", "ExpiredAuthenticationToken", "expiry"},
		"other audience": {"audience", "InvalidAuthenticationTokenAudience", "wrong audience"},
		"forged":         {"forged", "InvalidAuthenticationToken", "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.DoToken(tt.token, http.MethodGet, path, "")
			if a.Status != http.StatusUnauthorized || a.Code() != tt.code || !strings.Contains(a.Message(), tt.says) {
				t.Errorf("status %d, body %s", a.Status, a.Raw)
			}
			challenge := a.Header.Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, `Bearer authorization_uri="https://login.windows.net/`+armtest.Tenant+`"`) {
				t.Errorf("challenge %q", challenge)
			}
			if strings.Contains(challenge, "claims=") {
				t.Error("a challenge with claims makes az ask for a token again")
			}
		})
	}
}

func TestRoutingErrors(t *testing.T) {
	s := start(t)
	owner := s.Grant(s.Principal("root"), "Owner", "/")
	for name, tt := range map[string]struct {
		method, path string
		status       int
		code, says   string
	}{
		"no api-version":       {http.MethodGet, armtest.Group + things + "/a?x=1", 400, "MissingApiVersionParameter", "api-version"},
		"unknown namespace":    {http.MethodGet, armtest.Group + "/providers/Microsoft.Nothing/x/y", 404, "InvalidResourceNamespace", "Microsoft.Nothing"},
		"unknown type":         {http.MethodGet, armtest.Group + "/providers/Microsoft.Test/others/y", 404, "InvalidResourceType", "'others'"},
		"method":               {http.MethodDelete, armtest.Group + things + "/a", 405, "MethodNotAllowed", "DELETE"},
		"verb":                 {http.MethodPost, armtest.Group + things + "/a/nothing", 405, "MethodNotAllowed", "POST"},
		"escaped slash":        {http.MethodGet, armtest.Group + things + "/a%2Fb", 400, "InvalidRequestUri", "a%2Fb"},
		"root":                 {http.MethodGet, "/", 400, "InvalidRequestUri", ""},
		"no such group":        {http.MethodGet, armtest.Group + "x" + things + "/a", 404, "ResourceGroupNotFound", "'amlocal-rgx'"},
		"no such subscription": {http.MethodGet, "/subscriptions/" + armtest.GUID("x") + "/resourceGroups/rg" + things + "/a", 404, "SubscriptionNotFound", armtest.GUID("x")},
		"no such resource":     {http.MethodGet, armtest.Group + things + "/none", 404, "ResourceNotFound", "'Microsoft.Test/things/none' under resource group 'amlocal-rg' was not found"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.Do(owner, tt.method, tt.path, "")
			if a.Status != tt.status || a.Code() != tt.code || !strings.Contains(a.Message(), tt.says) {
				t.Errorf("status %d, body %s", a.Status, a.Raw)
			}
			if a.Header.Get("x-ms-request-id") == "" || a.Header.Get("Retry-After") != "" {
				t.Errorf("headers %v", a.Header)
			}
		})
	}
}

func TestDenialNamesEverything(t *testing.T) {
	covers.R(t, "R-1025")
	s := start(t)
	who, path := s.Grant(s.Principal("app"), "Reader", armtest.Group), armtest.Group+things+"/a"
	a := s.WantError(http.StatusForbidden, "AuthorizationFailed", who, http.MethodPut, strings.ToLower(path), `{"x":1}`)
	want := "The client '" + who.AppID + "' with object id '" + who.ObjectID + "' does not have authorization to perform action " +
		"'Microsoft.Storage/storageAccounts/write' over scope '" + armtest.Group + things + "/a' or the scope is invalid. " +
		"If access was recently granted, please refresh your credentials."
	if a.Message() != want {
		t.Errorf("message\n%s\nwant\n%s", a.Message(), want)
	}
	if s.Exists(path) {
		t.Error("a refused PUT changed something")
	}
	// Refusal comes before existence: a stranger learns nothing of groups.
	s.WantError(http.StatusForbidden, "AuthorizationFailed", s.Principal("stranger"), http.MethodGet, armtest.Group+"x"+things+"/a", "")
	entry, ok := s.Audit.LastDenial()
	if !ok || entry.Operation != "things.Get" || !entry.Denied() || entry.Status != http.StatusForbidden {
		t.Errorf("audit %+v", entry)
	}
}

func TestDocumentsSurvive(t *testing.T) {
	s := start(t)
	owner, path := s.Owner(), armtest.Group+things+"/Mixed"
	body := "{'location': 'eastus', future: {\"n\": 1.50, \"big\": 12345678901234567890}, // why not\n \"list\": [1,], \"text\": \"a\nb\"}"
	s.Want(http.StatusOK, owner, http.MethodPut, path, body)
	a := s.Want(http.StatusOK, owner, http.MethodGet, strings.ToUpper(path)+"/", "")
	for _, part := range []string{`"n":1.50`, `"big":12345678901234567890`, `"list":[1]`, `"text":"a\nb"`,
		`"id":"` + path + `"`, `"name":"Mixed"`, `"type":"Microsoft.Test/things"`} {
		if !strings.Contains(a.Raw, part) {
			t.Errorf("%s is missing in %s", part, a.Raw)
		}
	}
	tag := a.Header.Get("ETag")
	s.Want(http.StatusOK, owner, http.MethodPut, path, `{}`)
	if got := s.Want(http.StatusOK, owner, http.MethodGet, path, "").Header.Get("ETag"); got == tag || tag == "" {
		t.Errorf("ETag %s became %s", tag, got)
	}
}

func TestSpellingOfPaths(t *testing.T) {
	s := start(t)
	owner := s.Owner()
	lower := "/subscriptions/" + strings.ToUpper(azure.SeedSubscriptionID) + "/resourcegroups/" + azure.SeedResourceGroup
	a := s.Want(http.StatusOK, owner, http.MethodPut, "/"+lower+"//providers/microsoft.test/THINGS/a", `{}`)
	if id := a.Body.String("id"); !strings.Contains(id, "/resourceGroups/") || !strings.HasSuffix(id, "/providers/Microsoft.Test/things/a") {
		t.Errorf("id %s", id)
	}
	s.Want(http.StatusOK, owner, http.MethodGet, armtest.Group+things+"/a", "")
	echo := s.Want(http.StatusOK, owner, http.MethodPost, armtest.Group+things+"/a/DOECHO?api-version=1999-01-01-preview", "")
	if echo.Body.String("scope") != armtest.Group || echo.Body.String("version") != "1999-01-01-preview" || !echo.Body.Bool(false, "empty") {
		t.Error(echo.Raw)
	}
}

func TestBodies(t *testing.T) {
	s := start(t)
	owner, path := s.Owner(), armtest.Group+things+"/a"
	a := s.WantError(http.StatusBadRequest, "InvalidRequestContent", owner, http.MethodPut, path, "{\n  \"a\": oops\n}")
	if !strings.Contains(a.Message(), "Line 2, position 8") {
		t.Error(a.Message())
	}
	s.WantError(http.StatusBadRequest, "InvalidRequestContent", owner, http.MethodPut, path, "")
	s.WantError(http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", owner, http.MethodPatch, path, `{"a":"`+strings.Repeat("x", 64)+`"}`)
	if s.Exists(path) {
		t.Error("a refused body was stored")
	}
	a = s.WantError(http.StatusInternalServerError, "InternalServerError", owner, http.MethodPost, path+"/panic", "")
	if strings.Contains(a.Raw, "secret detail") {
		t.Error("the client is told of our insides")
	}
	entry, _ := s.Audit.Find(a.Header.Get("x-ms-request-id"))
	if !strings.Contains(entry.Cause, "secret detail") {
		t.Error("the log is not")
	}
}

func TestFilteredList(t *testing.T) {
	s := start(t)
	owner := s.Owner()
	for _, id := range []string{armtest.Group + things + "/a", armtest.Group + things + "/b", armtest.OtherGroup + things + "/c"} {
		s.Want(http.StatusOK, owner, http.MethodPut, id, `{}`)
	}
	for name, tt := range map[string]struct {
		role, at string
		status   int
		sees     int
	}{
		"subscription":      {"Reader", armtest.Subscription, 200, 3},
		"group":             {"Reader", armtest.Group, 200, 2},
		"one resource":      {"Reader", armtest.OtherGroup + things + "/c", 200, 1},
		"role without read": {"Storage Blob Data Reader", armtest.Group + things + "/a", 403, 0},
	} {
		who := s.Grant(s.Principal(name), tt.role, tt.at)
		a := s.Want(tt.status, who, http.MethodGet, armtest.Subscription+things, "")
		if len(a.Values()) != tt.sees {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
	if got := s.Want(http.StatusOK, owner, http.MethodGet, armtest.Group+things, ""); !strings.HasPrefix(got.Raw, `{"value":[`) {
		t.Error(got.Raw)
	}
}

func TestGroupBeingDeletedTakesNoPut(t *testing.T) {
	s := start(t)
	owner := s.Owner()
	s.Put(&arm.Record{ID: armtest.Group, Type: "Microsoft.Resources/resourceGroups", Document: arm.Document{
		"location": "eastus", "properties": map[string]any{"provisioningState": "Deleting"}}})
	s.WantError(http.StatusConflict, "ResourceGroupBeingDeleted", owner, http.MethodPut, armtest.Group+things+"/a", `{}`)
	s.Want(http.StatusNotFound, owner, http.MethodGet, armtest.Group+things+"/a", "")
}
