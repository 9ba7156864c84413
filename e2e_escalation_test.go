package amlocal

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
)

// call sends one JSON request to the control plane as s.
func (s *session) call(t *testing.T, method, id string, body any) answer {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "https://management.azure.com"+id+"?api-version=2024-04-01", strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.token(t, forManagement))
	return s.lab.do(t, r)
}

type object = map[string]any

// TestDatastoreGivesNoForeignKey: who may write datastores names an account
// they have no role on; its key is not theirs to have.
func TestDatastoreGivesNoForeignKey(t *testing.T) {
	l := newLab(t, nil)
	p := l.principal("data engineer")
	l.owner.grant(t, p.oid, "AzureML Data Scientist", seedWorkspace)
	l.owner.grant(t, p.oid, "Contributor", seedWorkspace)
	id := seedWorkspace + "/datastores/grab"
	made := p.call(t, http.MethodPut, id, object{"properties": object{
		"datastoreType": "AzureBlob", "accountName": accountOne, "containerName": "box", "credentials": object{"credentialsType": "AccountKey"}}})
	for _, wish := range []object{{}, {"expirableSecret": true}} {
		if a := p.call(t, http.MethodPost, id+"/listSecrets", wish); a.status == 200 || strings.Contains(a.body, "sig=") {
			t.Errorf("put %d; list %v: %d %s", made.status, wish, a.status, a.body)
		}
	}
	// The workspace's own stays readable.
	if a := p.call(t, http.MethodPost, seedWorkspace+"/datastores/workspaceblobstore/listSecrets", object{}); a.status != 200 {
		t.Errorf("the default datastore: %d %s", a.status, a.body)
	}
}

// TestWorkspaceKeepsItsAccount: the storage account of a workspace is chosen
// once; else writing the workspace would reveal any account's key.
func TestWorkspaceKeepsItsAccount(t *testing.T) {
	l := newLab(t, nil)
	p := l.principal("workspace keeper")
	l.owner.grant(t, p.oid, "Contributor", seedWorkspace)
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		a := p.call(t, method, seedWorkspace, object{"location": azure.SeedLocation, "properties": object{"storageAccount": accountID(accountOne)}})
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	if a := p.call(t, http.MethodPost, seedWorkspace+"/listKeys", object{}); a.status != 200 || strings.Contains(a.body, accountOne) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := p.call(t, http.MethodPut, seedWorkspace, object{"location": azure.SeedLocation, "tags": object{"a": "b"}, "properties": object{"storageAccount": strings.ToUpper(seedStorage)}}); a.status != 200 {
		t.Errorf("the same account again: %d %s", a.status, a.body)
	}
}

// TestResourcesLiveInGroups: an account, an identity or a workspace outside a
// resource group is none.
func TestResourcesLiveInGroups(t *testing.T) {
	l := newLab(t, nil)
	bodies := map[string]object{
		"Microsoft.Storage/storageAccounts/astray":                {"location": "eastus", "kind": "StorageV2", "sku": object{"name": "Standard_LRS"}},
		"Microsoft.ManagedIdentity/userAssignedIdentities/astray": {"location": "eastus"},
		"Microsoft.MachineLearningServices/workspaces/astray":     {"location": "eastus", "properties": object{"storageAccount": seedStorage}},
	}
	for _, scope := range []string{"", seedSubscription, accountID(accountOne), seedWorkspace} {
		for id, body := range bodies {
			if a := l.owner.call(t, http.MethodPut, scope+"/providers/"+id, body); a.status < 400 {
				t.Errorf("PUT %s/providers/%s: %d %s", scope, id, a.status, a.body)
			}
		}
	}
}

// TestRoleIsChangedOnlyWithRightsOnAllItsScopes: a role that is assignable in
// two groups is not taken over from one of them.
func TestRoleIsChangedOnlyWithRightsOnAllItsScopes(t *testing.T) {
	l := newLab(t, nil)
	p := l.principal("local admin")
	l.owner.grant(t, p.oid, "User Access Administrator", accountID(accountTwo))
	id := "/providers/Microsoft.Authorization/roleDefinitions/" + uuid.NewString()
	role := func(action string, scopes ...string) object {
		return object{"properties": object{"roleName": "shared role", "type": "CustomRole", "assignableScopes": scopes, "permissions": []object{{"actions": []string{action}}}}}
	}
	if a := l.owner.call(t, http.MethodPut, seedGroup+id, role("*/read", seedGroup)); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := p.call(t, http.MethodPut, accountID(accountTwo)+id, role("*", accountID(accountTwo))); a.status != http.StatusForbidden {
		t.Errorf("taken over: %d %s", a.status, a.body)
	}
}

// TestAssetsOfOtherWorkspaces: a deployment's assets are its workspace's own.
func TestAssetsOfOtherWorkspaces(t *testing.T) {
	l := newLab(t, nil)
	other := seedGroup + "/providers/Microsoft.MachineLearningServices/workspaces/other"
	if a := l.owner.call(t, http.MethodPut, other, object{"location": azure.SeedLocation, "properties": object{"storageAccount": seedStorage}}); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := l.owner.call(t, http.MethodPut, other+"/environments/foreign/versions/1", object{"properties": object{"image": "amlocal/instance:1"}}); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	l.owner.endpoint(t, "mine", wish(nil))
	err := l.owner.tryDeploy(t, "mine", "blue", deployment(other+"/environments/foreign/versions/1", nil))
	wantCode(t, err, "BadArgument")
}

// TestAssetNames: names that are paths are refused.
func TestAssetNames(t *testing.T) {
	l := newLab(t, nil)
	for _, id := range []string{"/models/%2e%2e/versions/1", "/models/m/versions/%2e%2e", "/codes/%2e%2e", "/environments/a%20b/versions/1", "/datastores/%2e%2e"} {
		a := l.owner.call(t, http.MethodPut, seedWorkspace+id, object{"properties": object{"modelUri": "azureml://datastores/workspaceblobstore/paths/x", "image": "x", "codeUri": "x", "datastoreType": "AzureBlob"}})
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", id, a.status, a.body)
		}
	}
}
