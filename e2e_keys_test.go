package amlocal

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

const envQuestion = `{"Do":"environment"}`

func TestKeys(t *testing.T) {
	covers.C(t, sdk, "R-307", "R-308", "R-403", "R-413", "R-414", "R-1030")
	l := newLab(t, nil)
	l.owner.endpoint(t, "keyed", wish(nil))
	l.owner.endpoint(t, "other", wish(nil))
	l.owner.deploy(t, "keyed", "blue", l.owner.instance(t))
	if err := l.owner.traffic(t, "keyed", map[string]int32{"blue": 100}); err != nil {
		t.Fatal(err)
	}
	keys := l.owner.keys(t, "keyed")
	if *keys.PrimaryKey == *keys.SecondaryKey || len(*keys.PrimaryKey) != 32 {
		t.Errorf("keys %q %q", *keys.PrimaryKey, *keys.SecondaryKey)
	}
	works := func(key string) bool { return l.score(t, "keyed", "", key, envQuestion).status == 200 }
	for _, key := range []string{*keys.PrimaryKey, *keys.SecondaryKey} {
		if !works(key) {
			t.Errorf("the key %s… is refused", key[:4])
		}
	}
	for name, credential := range map[string]string{
		"none": "", "wrong": strings.Repeat("x", 32), "another endpoint's": *l.owner.keys(t, "other").PrimaryKey,
		"an Entra token": l.owner.token(t, forML), "a management token": l.owner.token(t, forManagement),
		"a part of the key": (*keys.PrimaryKey)[:31], "the key twice": *keys.PrimaryKey + *keys.PrimaryKey, "in capitals": strings.ToUpper(*keys.PrimaryKey),
	} {
		if a := l.score(t, "keyed", "", credential, envQuestion); a.status != 401 {
			t.Errorf("%s: %d %s, want 401", name, a.status, a.body)
		}
	}
	regenerate := func(kind armmachinelearning.KeyType, value *string) armmachinelearning.EndpointAuthKeys {
		t.Helper()
		poller, err := l.owner.endpoints(t).BeginRegenerateKeys(t.Context(), groupName, wsName, "keyed", armmachinelearning.RegenerateEndpointKeysRequest{KeyType: &kind, KeyValue: value}, nil)
		if _, err = finish(t.Context(), poller, err); err != nil {
			t.Fatal(err)
		}
		return l.owner.keys(t, "keyed")
	}
	second := regenerate(armmachinelearning.KeyTypePrimary, nil)
	if *second.PrimaryKey == *keys.PrimaryKey || *second.SecondaryKey != *keys.SecondaryKey {
		t.Errorf("after regenerating the primary key: %q %q", *second.PrimaryKey, *second.SecondaryKey)
	}
	if works(*keys.PrimaryKey) || !works(*second.PrimaryKey) || !works(*keys.SecondaryKey) {
		t.Error("the old primary key works, or a valid one does not")
	}
	third := regenerate(armmachinelearning.KeyTypeSecondary, second.SecondaryKey) // as azure-ai-ml sends it
	if *third.SecondaryKey == *keys.SecondaryKey || *third.PrimaryKey != *second.PrimaryKey || works(*keys.SecondaryKey) || !works(*third.SecondaryKey) {
		t.Error("regenerating the secondary key with its own value")
	}
	_, err := l.owner.endpoints(t).GetToken(t.Context(), groupName, wsName, "keyed", nil)
	wantError(t, err, 400, "BadRequest")
}

func TestTokenModes(t *testing.T) {
	covers.C(t, sdk, "R-306", "R-309", "R-401", "R-404", "R-405", "R-408", "R-409", "R-910", "R-912", "R-1027", "R-1028", "R-1029", "R-1030", "R-1046")
	l := newLab(t, nil)
	body := l.owner.instance(t)
	for name, mode := range map[string]armmachinelearning.EndpointAuthMode{"aml": armmachinelearning.EndpointAuthModeAMLToken, "aad": armmachinelearning.EndpointAuthModeAADToken} {
		l.owner.endpoint(t, name, wish(func(e *armmachinelearning.OnlineEndpoint) { e.Properties.AuthMode = &mode }))
		l.owner.deploy(t, name, "blue", body)
		if err := l.owner.traffic(t, name, map[string]int32{"blue": 100}); err != nil {
			t.Fatal(err)
		}
		_, err := l.owner.endpoints(t).ListKeys(t.Context(), groupName, wsName, name, nil)
		wantError(t, err, 400, "BadRequest")
	}
	nobody := l.principal("nobody")
	token, err := l.owner.endpoints(t).GetToken(t.Context(), groupName, wsName, "aml", nil)
	if err != nil {
		t.Fatal(err)
	}
	scorer := l.principal("scorer")
	l.customRole(t, scorer.oid, "scores", endpointID("aad"), []string{oe[:len(oe)-1] + "/*/action"})
	manager := l.principal("manager")
	l.customRole(t, manager.oid, "manages", seedWorkspace, []string{oe[:len(oe)-1] + "/write", oe[:len(oe)-1] + "/read", oe[:len(oe)-1] + "/delete", oe[:len(oe)-1] + "/listKeys/action"})
	for _, tt := range []struct {
		name, endpoint, credential string
		want                       int
	}{
		{"aml token", "aml", *token.AccessToken, 200},
		{"aml token altered", "aml", *token.AccessToken + "x", 401},
		{"aml endpoint, Entra token", "aml", l.owner.token(t, forML), 401},
		{"aml endpoint, nothing", "aml", "", 401},
		{"aad endpoint, aml token", "aad", *token.AccessToken, 401},
		{"aad endpoint, owner", "aad", l.owner.token(t, forML), 200},
		{"aad endpoint, scoring role", "aad", scorer.token(t, forML), 200},
		{"aad endpoint, no role", "aad", nobody.token(t, forML), 401},
		{"aad endpoint, managing role", "aad", manager.token(t, forML), 401},
		{"aad endpoint, owner's management token", "aad", l.owner.token(t, forManagement), 401},
		{"aad endpoint, owner's storage token", "aad", l.owner.token(t, forStorage), 401},
		{"aad endpoint, nothing", "aad", "", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := l.score(t, tt.endpoint, "", tt.credential, envQuestion); a.status != tt.want {
				t.Errorf("%d %s, want %d", a.status, a.body, tt.want)
			}
		})
	}
	for _, f := range l.forgeries(t, l.owner.token(t, forML)) {
		t.Run("aad endpoint, "+f.name, func(t *testing.T) {
			if a := l.score(t, "aad", "", f.raw, envQuestion); a.status != 401 {
				t.Errorf("%d %s, want 401", a.status, a.body)
			}
		})
	}
	t.Run("a score action among data actions grants nothing", func(t *testing.T) {
		s := l.principal("data")
		roles := must(armauthorization.NewRoleDefinitionsClient(l.owner.cred, l.options()))(t)
		made, err := roles.CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
			RoleName: to.Ptr("scores by data action"), AssignableScopes: []*string{to.Ptr(seedGroup)},
			Permissions: []*armauthorization.Permission{{DataActions: to.SliceOfPtrs(oe[:len(oe)-1] + "/score/action")}}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = l.owner.assignments(t).Create(t.Context(), endpointID("aad"), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &s.oid, RoleDefinitionID: made.ID}}, nil); err != nil {
			t.Fatal(err)
		}
		if a := l.score(t, "aad", "", s.token(t, forML), envQuestion); a.status != 401 {
			t.Errorf("%d %s, want 401", a.status, a.body)
		}
	})
}

func TestTraffic(t *testing.T) {
	covers.C(t, sdk, "R-608", "R-609", "R-610", "R-1056")
	l := newLab(t, nil)
	l.owner.endpoint(t, "split", wish(nil))
	body := l.owner.instance(t)
	key := *l.owner.keys(t, "split").PrimaryKey
	if a := l.score(t, "split", "", key, envQuestion); a.status != 404 || !strings.Contains(a.body, "No valid deployments to route to") {
		t.Errorf("without a deployment: %d %s", a.status, a.body)
	}
	l.owner.deploy(t, "split", "blue", body)
	l.owner.deploy(t, "split", "green", body)
	if a := l.score(t, "split", "", key, envQuestion); a.status != 404 {
		t.Errorf("without traffic: %d %s", a.status, a.body)
	}
	t.Run("not at creation", func(t *testing.T) {
		_, err := l.owner.tryEndpoint(t.Context(), t, "early", wish(func(e *armmachinelearning.OnlineEndpoint) {
			e.Properties.Traffic = map[string]*int32{"blue": to.Ptr[int32](100)}
		}))
		wantError(t, err, 400, "BadRequest")
	})
	good := map[string]int32{"blue": 90, "green": 10}
	if err := l.owner.traffic(t, "split", good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []map[string]int32{
		{"blue": 50, "green": 10}, {"blue": 99}, {"blue": 100, "green": 100}, {"blue": 110, "green": -10}, {"blue": 100, "red": 0, "green": 1}, {"red": 100}, {"blue": 101},
	} {
		wantError(t, l.owner.traffic(t, "split", bad), 400, "BadRequest")
		got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "split", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tr := got.Properties.Traffic; len(tr) != 2 || *tr["blue"] != 90 || *tr["green"] != 10 {
			t.Errorf("%v was refused and left %v", bad, tr)
		}
	}
	for _, name := range []string{"blue", "green"} {
		a := l.score(t, "split", name, key, envQuestion)
		if got := a.header.Get("azureml-model-deployment"); a.status != 200 || got != name {
			t.Errorf("header %s: %d, answered by %q", name, a.status, got)
		}
	}
	if a := l.score(t, "split", "red", key, envQuestion); a.status != 404 || !strings.Contains(a.body, "could not be found") {
		t.Errorf("unknown deployment: %d %s", a.status, a.body)
	}
	wantError(t, l.owner.deleteDeployment(t, "split", "blue"), 400, "BadRequest", "90")
	wantError(t, l.owner.deleteDeployment(t, "split", "green"), 400, "BadRequest")
	if a := l.score(t, "split", "blue", key, envQuestion); a.status != 200 {
		t.Errorf("after the refused delete: %d %s", a.status, a.body)
	}
	if err := l.owner.traffic(t, "split", map[string]int32{"blue": 0, "green": 100}); err != nil {
		t.Fatal(err)
	}
	if err := l.owner.deleteDeployment(t, "split", "blue"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if a := l.score(t, "split", "", key, envQuestion); a.status != 200 || a.header.Get("azureml-model-deployment") != "green" {
			t.Errorf("all to green: %d by %q", a.status, a.header.Get("azureml-model-deployment"))
		}
	}
	if err := l.owner.traffic(t, "split", nil); err != nil {
		t.Errorf("no traffic at all: %v", err)
	}
}

func TestNames(t *testing.T) {
	covers.C(t, sdk, "R-614", "R-1057")
	l := newLab(t, nil)
	for _, bad := range []string{"ab", "1abc", "-abc", "abc-", "a--b", "a_b", "a.b", "a b", "äbc", strings.Repeat("a", 33)} {
		_, err := l.owner.tryEndpoint(t.Context(), t, bad, wish(nil))
		wantError(t, err, 400, "BadRequest", "name")
	}
	for _, good := range []string{"abc", "a1b", "My-Sai-Endpoint", strings.Repeat("a", 32)} {
		l.owner.endpoint(t, good, wish(nil))
	}
	body := l.owner.instance(t)
	for _, bad := range []string{"1blue", "b--lue", strings.Repeat("b", 33)} {
		wantError(t, l.owner.tryDeploy(t, "abc", bad, body), 400, "BadRequest", "name")
	}
	wantError(t, l.owner.tryDeploy(t, "nothere", "blue", body), 404, "ResourceNotFound")
	_, err := l.owner.deployments(t).GetLogs(t.Context(), groupName, wsName, "abc", "nothere", armmachinelearning.DeploymentLogsRequest{}, nil)
	wantError(t, err, 404, "ResourceNotFound")
}

// TestBusy holds a deployment in its creation with an instance that never gets
// ready.
func TestBusy(t *testing.T) {
	covers.C(t, sdk, "R-603", "R-607", "R-1058")
	l := newLab(t, nil)
	l.owner.endpoint(t, "busy", wish(nil))
	body := l.owner.instance(t)
	probe := body.Properties.(*armmachinelearning.ManagedOnlineDeployment).ReadinessProbe
	probe.InitialDelay = to.Ptr("PT600S")
	poller, err := l.owner.deployments(t).BeginCreateOrUpdate(t.Context(), groupName, wsName, "busy", "blue", body, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.owner.stateOf(t, "busy", "blue"); got != "Creating" {
		t.Errorf("state %q, want Creating", got)
	}
	wantError(t, l.owner.tryDeploy(t, "busy", "blue", body), 409, "Conflict", "blue")
	if a := l.score(t, "busy", "blue", *l.owner.keys(t, "busy").PrimaryKey, envQuestion); a.status == 200 {
		t.Errorf("a deployment that is not ready answers: %s", a.body)
	}
	// Deleting the endpoint is allowed, and ends the creation.
	if err := l.owner.deleteEndpoint(t, "busy"); err != nil {
		t.Fatal(err)
	}
	if _, err := finish(t.Context(), poller, nil); err == nil {
		t.Error("the creation succeeded although its endpoint is gone")
	}
	if got := l.e.Status().Deployments; len(got) != 0 {
		t.Errorf("still running: %+v", got)
	}
}

// TestOwnerReadsByKey: Owner and Contributor hold no data action, and the keys.
func TestOwnerReadsByKey(t *testing.T) {
	covers.C(t, sdk, "R-908")
	l := newLab(t, nil)
	for _, role := range []string{"Owner", "Contributor"} {
		s := l.principal(role)
		l.owner.grant(t, s.oid, role, accountID(accountOne))
		_, err := s.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil)
		wantError(t, err, 403, "AuthorizationPermissionMismatch")
		if _, err := s.keyed(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
			t.Errorf("%s by key: %v", role, err)
		}
	}
	s := l.principal("Reader")
	l.owner.grant(t, s.oid, "Reader", accountID(accountOne))
	_, err := s.accounts(t).ListKeys(t.Context(), groupName, accountOne, nil)
	wantError(t, err, 403, "AuthorizationFailed", "Microsoft.Storage/storageAccounts/listkeys/action")
}

// TestARMBodies sends what SDKs would not.
func TestARMBodies(t *testing.T) {
	covers.R(t, "R-317", "R-410", "R-619")
	l := newLab(t, nil)
	owner := l.owner.token(t, forManagement)
	put := func(name, body string) answer {
		return l.armRaw(t, http.MethodPut, endpointID(name), owner, body)
	}
	t.Run("unknown fields are kept", func(t *testing.T) {
		a := put("odd", `{"location":"eastus","futureField":{"deep":[1,2.50,null]},"properties":{"authMode":"key","x-y":true,"description":"d"},"identity":{"type":"SystemAssigned"}}`)
		if a.status != 201 && a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got := l.armRaw(t, http.MethodGet, endpointID("odd"), owner, "").body
		for _, want := range []string{`"futureField":{"deep":[1,2.50,null]}`, `"x-y":true`, `"description":"d"`} {
			if !strings.Contains(got, want) {
				t.Errorf("lost %s: %s", want, got)
			}
		}
	})
	for name, body := range map[string]string{
		"cut off": `{"location":"eastus",`, "no JSON": `location: eastus`, "a list": `[1]`, "empty": ``, "two documents": `{} {}`, "null": `null`,
	} {
		t.Run("malformed: "+name, func(t *testing.T) {
			a := put("bad", body)
			code, message := armCode(t, a)
			if a.status != 400 || code != "InvalidRequestContent" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if name == "cut off" && !strings.Contains(message, "position") {
				t.Errorf("no position: %s", message)
			}
			if a := l.armRaw(t, http.MethodGet, endpointID("bad"), owner, ""); a.status != 404 {
				t.Errorf("made all the same: %s", a.body)
			}
		})
	}
	t.Run("a raw newline in a string", func(t *testing.T) {
		a := put("lines", "{\"location\":\"eastus\",\"properties\":{\"authMode\":\"Key\",\"description\":\"one\ntwo\"}}")
		if a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var doc struct{ Properties struct{ Description string } }
		got := l.armRaw(t, http.MethodGet, endpointID("lines"), owner, "").body
		if err := json.Unmarshal([]byte(got), &doc); err != nil || doc.Properties.Description != "one\ntwo" {
			t.Errorf("%v %q", err, doc.Properties.Description)
		}
	})
	t.Run("traffic as strings", func(t *testing.T) {
		l.owner.endpoint(t, "strings", wish(nil))
		l.owner.deploy(t, "strings", "blue", l.owner.instance(t))
		a := put("strings", `{"location":"eastus","properties":{"authMode":"Key","traffic":{"blue":"100"}}}`)
		if a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "strings", nil)
		if err != nil || *got.Properties.Traffic["blue"] != 100 {
			t.Errorf("%v %v", got.Properties, err)
		}
		for _, bad := range []string{`{"blue":"many"}`, `{"blue":12.5}`, `{"blue":"50"}`, `{"blue":null}`, `"100"`, `[100]`} {
			if a := put("strings", `{"location":"eastus","properties":{"authMode":"Key","traffic":`+bad+`}}`); a.status != 400 && a.status != 409 {
				t.Errorf("traffic %s: %d %s", bad, a.status, a.body)
			}
		}
	})
	for name, body := range map[string]string{
		"identity a string":        `{"location":"eastus","identity":"UserAssigned"}`,
		"identity type a number":   `{"location":"eastus","identity":{"type":1}}`,
		"identities a list":        `{"location":"eastus","identity":{"type":"UserAssigned","userAssignedIdentities":["/a"]}}`,
		"properties a list":        `{"location":"eastus","properties":[]}`,
		"tags a string":            `{"location":"eastus","tags":"a"}`,
		"auth mode unknown":        `{"location":"eastus","properties":{"authMode":"Password"}}`,
		"compute, not emulated":    `{"location":"eastus","properties":{"compute":"/some/cluster"}}`,
		"public access unknown":    `{"location":"eastus","properties":{"publicNetworkAccess":"Sometimes"}}`,
		"identity type unknown":    `{"location":"eastus","identity":{"type":"Borrowed"}}`,
		"identity of type None":    `{"location":"eastus","identity":{"type":"None"}}`,
		"location not a string":    `{"location":7}`,
		"both, but no identity id": `{"location":"eastus","identity":{"type":"SystemAssigned,UserAssigned"}}`,
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			n := l.principals(t)
			if a := put("bad", body); a.status != 400 {
				t.Errorf("%d %s", a.status, a.body)
			}
			if a := l.armRaw(t, http.MethodGet, endpointID("bad"), owner, ""); a.status != 404 || l.principals(t) != n {
				t.Errorf("something was made: %s", a.body)
			}
		})
	}
	t.Run("any case of path and verb", func(t *testing.T) {
		l.owner.endpoint(t, "cased", wish(nil))
		path := strings.ToUpper(endpointID("cased")) + "/LISTKEYS"
		if a := l.armRaw(t, http.MethodPost, path, owner, ""); a.status != 200 || !strings.Contains(a.body, "primaryKey") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	for name, path := range map[string]string{
		"InvalidResourceNamespace": seedGroup + "/providers/Microsoft.Nowhere/things/a",
		"InvalidResourceType":      seedWorkspace + "/toasters/a",
		"ResourceGroupNotFound":    seedSubscription + "/resourceGroups/nogroup/providers/Microsoft.Storage/storageAccounts/abc",
		"SubscriptionNotFound":     "/subscriptions/00000000-0000-4000-8000-000000000000/resourceGroups/a",
	} {
		a := l.armRaw(t, http.MethodGet, path, owner, "")
		if code, _ := armCode(t, a); a.status != 404 || code != name {
			t.Errorf("%s: %d %s, want 404 %s", path, a.status, a.body, name)
		}
	}
}
