package authorization_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

const endpoints = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"

func customRole(name string, scopes ...string) string {
	raw, _ := json.Marshal(map[string]any{"properties": map[string]any{
		"roleName": name, "description": "d", "type": "CustomRole", "assignableScopes": scopes,
		"permissions": []any{map[string]any{"actions": []string{endpoints + "/write", endpoints + "/read", endpoints + "/delete", endpoints + "/listKeys/action"}}},
	}})
	return string(raw)
}

func TestSDKListsBuiltInRoles(t *testing.T) {
	covers.C(t, sdk, "R-160", "R-901", "R-903", "R-904", "R-905", "R-906")
	s, _ := start(t)
	client, err := armauthorization.NewRoleDefinitionsClient(s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	list := func(filter string) map[string]*armauthorization.RoleDefinition {
		t.Helper()
		opts := &armauthorization.RoleDefinitionsClientListOptions{}
		if filter != "" {
			opts.Filter = &filter
		}
		out := map[string]*armauthorization.RoleDefinition{}
		for pages := client.NewListPager(account, opts); pages.More(); {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, def := range page.Value {
				out[*def.Properties.RoleName] = def
			}
		}
		return out
	}
	all := list("")
	if len(all) < 500 {
		t.Errorf("%d roles", len(all))
	}
	for name, guid := range map[string]string{
		"AzureML Data Scientist":           "f6c7c914-8db3-469d-8ca1-694a8f32e121",
		"Storage Blob Data Reader":         readerRole,
		"AcrPull":                          acrPull,
		"AzureML Metrics Writer (preview)": "635dd51f-9968-44d3-b7fb-6d9a6bd613ae",
		"Azure Machine Learning Workspace Connection Secrets Reader": "ea01e6af-a1c1-4350-9563-ad00f8c72ec5",
	} {
		def := all[name]
		if def == nil || *def.ID != roleID(guid) || *def.Properties.RoleType != "BuiltInRole" {
			t.Errorf("%s: %+v", name, def)
		}
	}
	one := list("roleName eq 'storage blob data reader'")
	if len(one) != 1 || *one["Storage Blob Data Reader"].Name != readerRole {
		t.Errorf("by name: %v", one)
	}
	data := one["Storage Blob Data Reader"].Properties.Permissions[0].DataActions
	if len(data) != 1 || *data[0] != "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read" {
		t.Errorf("data actions %v", data)
	}
	got, err := client.Get(t.Context(), account, acrPull, nil)
	if err != nil || *got.Properties.RoleName != "AcrPull" {
		t.Errorf("get: %v", err)
	}
}

func TestSDKCustomRole(t *testing.T) {
	covers.C(t, sdk, "R-909", "R-911", "R-913")
	s, _ := start(t)
	owner, app := s.Owner(), s.Principal("app")
	client, err := armauthorization.NewRoleDefinitionsClient(s.Credential(owner), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	guid := armtest.GUID("custom")
	made, err := client.CreateOrUpdate(t.Context(), armtest.Subscription, guid, armauthorization.RoleDefinition{
		Properties: &armauthorization.RoleDefinitionProperties{
			RoleName: to.Ptr("Endpoint operator"), RoleType: to.Ptr("CustomRole"), Description: to.Ptr("manages endpoints"),
			AssignableScopes: []*string{to.Ptr(armtest.Group)},
			Permissions:      []*armauthorization.Permission{{Actions: []*string{to.Ptr(endpoints + "/write"), to.Ptr(endpoints + "/LISTKEYS/action")}}},
		}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *made.ID != roleID(guid) || *made.Properties.RoleType != "CustomRole" || *made.Properties.Description != "manages endpoints" {
		t.Errorf("made %s %+v", *made.ID, *made.Properties)
	}
	s.Want(http.StatusCreated, owner, http.MethodPut, armtest.Group+assignments+armtest.GUID("a"), body(guid, app.ObjectID, ""))
	check := azure.Check{Action: endpoints + "/listKeys/action", Scope: armtest.Group}
	if !s.Index.Decide(t.Context(), app, check).Allowed {
		t.Error("the custom role does not count")
	}
	var names []string
	for pages := client.NewListPager(armtest.Subscription, &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("type eq 'CustomRole'")}); pages.More(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, def := range page.Value {
			names = append(names, *def.Properties.RoleName)
		}
	}
	if len(names) != 1 || names[0] != "Endpoint operator" {
		t.Errorf("custom roles %v", names)
	}
	s.WantError(http.StatusBadRequest, "RoleDefinitionHasAssignments", owner, http.MethodDelete, roleID(guid), "")
	s.Want(http.StatusOK, owner, http.MethodDelete, armtest.Group+assignments+armtest.GUID("a"), "")
	if _, err := client.Delete(t.Context(), armtest.Subscription, guid, nil); err != nil {
		t.Fatal(err)
	}
	s.WantError(http.StatusNotFound, "RoleDefinitionDoesNotExist", owner, http.MethodGet, roleID(guid), "")
	s.Want(http.StatusNoContent, owner, http.MethodDelete, roleID(guid), "")
}

func TestCustomRoleOutsideItsScopes(t *testing.T) {
	covers.R(t, "R-1047")
	s, _ := start(t)
	owner, app, guid := s.Owner(), s.Principal("app"), armtest.GUID("role")
	s.Want(http.StatusCreated, owner, http.MethodPut, roleID(guid), customRole("Scoped", armtest.Group))
	for _, scope := range []string{armtest.OtherGroup, armtest.Subscription} {
		a := s.Want(http.StatusBadRequest, owner, http.MethodPut, scope+assignments+armtest.GUID("a"), body(guid, app.ObjectID, ""))
		if !strings.Contains(a.Message(), "assignable scopes") {
			t.Error(a.Raw)
		}
	}
	s.Want(http.StatusCreated, owner, http.MethodPut, account+assignments+armtest.GUID("a"), body(guid, app.ObjectID, ""))
}

func TestPutDefinitionRefusals(t *testing.T) {
	s, _ := start(t)
	owner := s.Owner()
	local := s.Grant(s.Principal("local"), "Owner", armtest.Group)
	contributor := s.Grant(s.Principal("contributor"), "Contributor", armtest.Subscription)
	s.Want(http.StatusCreated, owner, http.MethodPut, roleID(armtest.GUID("r")), customRole("Taken", armtest.Group))
	for name, tt := range map[string]struct {
		as     azure.Principal
		id     string
		body   string
		status int
		code   string
		proves string
	}{
		"Contributor":           {contributor, roleID(armtest.GUID("n")), customRole("N", armtest.Group), 403, "AuthorizationFailed", "R-915"},
		"owner of one group":    {local, armtest.Group + definitions + armtest.GUID("n"), customRole("N", armtest.Group, armtest.OtherGroup), 403, "AuthorizationFailed", "R-915"},
		"name taken":            {owner, roleID(armtest.GUID("n")), customRole("TAKEN", armtest.Group), 409, "RoleDefinitionWithSameNameExists", ""},
		"name of a built-in":    {owner, roleID(armtest.GUID("n")), customRole("Owner", armtest.Group), 409, "RoleDefinitionWithSameNameExists", ""},
		"built-in":              {owner, roleID(acrPull), customRole("N", armtest.Group), 400, "BuiltInRoleDefinitionUpdateNotPermitted", ""},
		"no GUID":               {owner, roleID("mine"), customRole("N", armtest.Group), 400, "InvalidRoleDefinitionId", ""},
		"no scopes":             {owner, roleID(armtest.GUID("n")), customRole("N"), 400, "InvalidRoleDefinition", ""},
		"group does not exist":  {owner, roleID(armtest.GUID("n")), customRole("N", armtest.Group+"2"), 400, "InvalidAssignableScope", ""},
		"no name":               {owner, roleID(armtest.GUID("n")), customRole(" ", armtest.Group), 400, "InvalidRoleDefinition", ""},
		"actions are no list":   {owner, roleID(armtest.GUID("n")), `{"properties":{"roleName":"N","assignableScopes":["` + armtest.Group + `"],"permissions":[{"actions":"*"}]}}`, 400, "InvalidRoleDefinition", ""},
		"nothing":               {owner, roleID(armtest.GUID("n")), `{}`, 400, "InvalidRoleDefinition", ""},
		"assignable everywhere": {s.Grant(s.Principal("root"), "Owner", "/"), roleID(armtest.GUID("n")), customRole("N", "/"), 400, "InvalidAssignableScope", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.proves != "" {
				covers.R(t, tt.proves)
			}
			s.WantError(tt.status, tt.code, tt.as, http.MethodPut, tt.id, tt.body)
			if _, ok := s.Index.DefinitionByName("N"); ok {
				t.Error("the role was made")
			}
		})
	}
	s.Want(http.StatusCreated, local, http.MethodPut, armtest.Group+definitions+armtest.GUID("l"), customRole("Local", armtest.Group))
}

func TestChangedRoleCountsForOldAssignments(t *testing.T) {
	s, _ := start(t)
	owner, app, guid := s.Owner(), s.Principal("app"), armtest.GUID("role")
	s.Want(http.StatusCreated, owner, http.MethodPut, roleID(guid), customRole("Before", armtest.Group))
	s.Want(http.StatusCreated, owner, http.MethodPut, armtest.Group+assignments+armtest.GUID("a"), body(guid, app.ObjectID, ""))
	changed := strings.Replace(customRole("After", armtest.Group), endpoints+"/write", "Microsoft.Nothing/write", 1)
	s.Want(http.StatusCreated, owner, http.MethodPut, roleID(guid), changed)
	if s.Index.Decide(t.Context(), app, azure.Check{Action: endpoints + "/write", Scope: armtest.Group}).Allowed {
		t.Error("the old permission still counts")
	}
	got := s.Want(http.StatusOK, owner, http.MethodGet, roleID(guid), "")
	if got.Body.String("properties", "roleName") != "After" {
		t.Error(got.Raw)
	}
}

// TestActionsExist compares the table with Azure's own list of operations.
func TestActionsExist(t *testing.T) {
	_, p := start(t)
	armtest.CheckActions(t, p.Types())
}
