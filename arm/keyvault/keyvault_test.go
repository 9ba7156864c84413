package keyvault_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/keyvault"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

const (
	vaults  = armtest.Group + "/providers/Microsoft.KeyVault/vaults/"
	deleted = armtest.Subscription + "/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/"
	some    = `"sku":{"family":"A","name":"standard"},"tenantId":"` + armtest.Tenant + `"`
	byRoles = `{"location":"East US","properties":{` + some + `,"enableRbacAuthorization":true}}`
)

// neighbours are the secrets and the assignments, as far as they are told.
type neighbours struct{ purged, unassigned []string }

func (n *neighbours) DeleteVault(_ store.Tx, name string) error {
	n.purged = append(n.purged, name)
	return nil
}

func (n *neighbours) RemoveUnder(_ store.Tx, scope string) error {
	n.unassigned = append(n.unassigned, scope)
	return nil
}

func start(t *testing.T) (*armtest.Server, *keyvault.Provider, *neighbours) {
	t.Helper()
	env, n := armtest.New(t), &neighbours{}
	p, err := keyvault.New(keyvault.Deps{Documents: env.Documents, Clock: env.Clock, Secrets: n, Assignments: n, TenantID: armtest.Tenant})
	if err != nil {
		t.Fatal(err)
	}
	return env.Serve(p.Types()), p, n
}

func known(t *testing.T, p *keyvault.Provider, name string) (keyvault.Vault, bool) {
	t.Helper()
	v, ok, err := p.Vault(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return v, ok
}

func TestActionsExist(t *testing.T) {
	_, p, _ := start(t)
	armtest.CheckActions(t, p.Types())
}

func TestCreate(t *testing.T) {
	covers.R(t, "R-714")
	s, p, _ := start(t)
	owner := s.Owner()
	a := s.Want(http.StatusOK, owner, http.MethodPut, vaults+"Kv-One", byRoles)
	for path, want := range map[string]any{
		"vaultUri": "https://kv-one.vault.azure.net/", "provisioningState": "Succeeded", "enableRbacAuthorization": true,
		"enableSoftDelete": true, "publicNetworkAccess": "Enabled", "tenantId": armtest.Tenant,
	} {
		if got, _ := a.Body.Get("properties", path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if v, ok := known(t, p, "KV-ONE"); !ok || !v.RBAC || v.RetentionDays != 90 || v.Location != "eastus" {
		t.Errorf("the data plane sees %+v", v)
	}
	if got := s.Want(http.StatusOK, owner, http.MethodGet, vaults+"kv-one", "").Body.String("name"); got != "Kv-One" {
		t.Errorf("name %q", got)
	}
	for _, scope := range []string{armtest.Subscription, armtest.Group} {
		if got := s.Want(http.StatusOK, owner, http.MethodGet, scope+"/providers/Microsoft.KeyVault/vaults", "").Values(); len(got) != 1 {
			t.Errorf("%s lists %v", scope, got)
		}
	}
	// The default is access policies, and a PUT without them keeps them.
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"kv-two", `{"location":"eastus","properties":{`+some+`,"accessPolicies":[{"tenantId":"`+armtest.Tenant+`","objectId":"me","permissions":{"secrets":["Get","list"]}}]}}`)
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"kv-two", `{"location":"eastus","tags":{"a":"b"},"properties":{`+some+`}}`)
	if v, ok := known(t, p, "kv-two"); !ok || v.RBAC || len(v.Policies) != 1 || v.Policies[0].ObjectID != "me" || strings.Join(v.Policies[0].Secrets, " ") != "Get list" {
		t.Errorf("the data plane sees %+v", v)
	}
}

func TestNetworkSettings(t *testing.T) {
	s, p, _ := start(t)
	owner := s.Owner()
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"net", byRoles)
	for properties, want := range map[string][2]bool{
		`"publicNetworkAccess":"disabled","networkAcls":{"defaultAction":"Allow"}`:                               {true, false},
		`"publicNetworkAccess":"Enabled","networkAcls":{"defaultAction":"Deny"}`:                                 {false, true},
		`"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"1.2.3.4"}]},"publicNetworkAccess":"Enabled"`: {false, false},
	} {
		s.Want(http.StatusOK, owner, http.MethodPatch, vaults+"net", `{"properties":{`+properties+`}}`)
		if v, _ := known(t, p, "net"); v.Closed != want[0] || v.Walled != want[1] {
			t.Errorf("%s: %+v", properties, v)
		}
	}
}

func TestRefusals(t *testing.T) {
	s, _, _ := start(t)
	owner := s.Owner()
	contributor := s.Grant(s.Principal("contributor"), "Contributor", armtest.Group)
	reader := s.Grant(s.Principal("reader"), "Reader", armtest.Group)
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"taken", byRoles)
	with := func(extra string) string { return `{"location":"eastus","properties":{` + some + extra + `}}` }
	roles := `,"enableRbacAuthorization":true`
	for name, tt := range map[string]struct {
		as                 azure.Principal
		method, path, body string
		status             int
		code, says         string
	}{
		"reader creates":           {reader, http.MethodPut, vaults + "mine", byRoles, 403, "AuthorizationFailed", "Microsoft.KeyVault/vaults/write"},
		"reader deletes":           {reader, http.MethodDelete, vaults + "taken", "", 403, "AuthorizationFailed", "vaults/delete"},
		"reader purges":            {reader, http.MethodPost, deleted + "taken/purge", "", 403, "AuthorizationFailed", "deletedVaults/purge/action"},
		"contributor to policies":  {contributor, http.MethodPatch, vaults + "taken", `{"properties":{"enableRbacAuthorization":false}}`, 403, "AuthorizationFailed", "Microsoft.Authorization/roleAssignments/write"},
		"digit first":              {owner, http.MethodPut, vaults + "1kv", byRoles, 400, "VaultNameNotValid", "'1kv'"},
		"two hyphens":              {owner, http.MethodPut, vaults + "a--b", byRoles, 400, "VaultNameNotValid", ""},
		"too long":                 {owner, http.MethodPut, vaults + strings.Repeat("a", 25), byRoles, 400, "VaultNameNotValid", ""},
		"taken elsewhere":          {owner, http.MethodPut, armtest.OtherGroup + "/providers/Microsoft.KeyVault/vaults/TAKEN", byRoles, 409, "VaultAlreadyExists", "already in use"},
		"no location":              {owner, http.MethodPut, vaults + "mine", `{"properties":{` + some + roles + `}}`, 400, "LocationRequired", ""},
		"moved":                    {owner, http.MethodPut, vaults + "taken", `{"location":"westus","properties":{` + some + `}}`, 409, "InvalidResourceLocation", ""},
		"no sku":                   {owner, http.MethodPut, vaults + "mine", `{"location":"eastus","properties":{"tenantId":"t","enableRbacAuthorization":true}}`, 400, "BadRequest", "sku"},
		"no tenant":                {owner, http.MethodPut, vaults + "mine", `{"location":"eastus","properties":{"sku":{"family":"A","name":"standard"},"enableRbacAuthorization":true}}`, 400, "BadRequest", "tenantId"},
		"no policies":              {owner, http.MethodPut, vaults + "mine", with(""), 400, "BadRequest", "accessPolicies"},
		"unknown permission":       {owner, http.MethodPut, vaults + "mine", with(`,"accessPolicies":[{"tenantId":"t","objectId":"o","permissions":{"secrets":["read"]}}]`), 400, "BadRequest", "accessPolicies"},
		"short retention":          {owner, http.MethodPut, vaults + "mine", with(roles + `,"softDeleteRetentionInDays":6`), 400, "BadRequest", "softDeleteRetentionInDays"},
		"retention changed":        {owner, http.MethodPatch, vaults + "taken", `{"properties":{"softDeleteRetentionInDays":7}}`, 400, "BadRequest", "can't be modified"},
		"no soft delete":           {owner, http.MethodPut, vaults + "mine", with(roles + `,"enableSoftDelete":false`), 400, "BadRequest", "irreversible"},
		"no purge protection":      {owner, http.MethodPatch, vaults + "taken", `{"properties":{"enablePurgeProtection":false}}`, 400, "BadRequest", "enablePurgeProtection"},
		"recover what is not gone": {owner, http.MethodPut, vaults + "never", `{"location":"eastus","properties":{` + some + `,"createMode":"recover"}}`, 404, "DeletedVaultNotFound", "'never'"},
		"purge what is not gone":   {owner, http.MethodPost, deleted + "taken/purge", "", 404, "DeletedVaultNotFound", ""},
		"none to show":             {owner, http.MethodGet, vaults + "never", "", 404, "ResourceNotFound", ""},
		"policy operation":         {owner, http.MethodPut, vaults + "taken/accessPolicies/merge", `{"properties":{"accessPolicies":[]}}`, 400, "BadRequest", "'merge'"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.Do(tt.as, tt.method, tt.path, tt.body)
			if a.Status != tt.status || a.Code() != tt.code || !strings.Contains(a.Message(), tt.says) {
				t.Errorf("status %d, body %s", a.Status, a.Raw)
			}
		})
	}
	s.Want(http.StatusNoContent, owner, http.MethodDelete, vaults+"never", "")
}

func TestCheckName(t *testing.T) {
	s, _, _ := start(t)
	owner := s.Owner()
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"taken", byRoles)
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"gone", byRoles)
	s.Want(http.StatusOK, owner, http.MethodDelete, vaults+"gone", "")
	for name, reason := range map[string]string{"free": "", "Taken": "AlreadyExists", "gone": "AlreadyExists", "a--b": "AccountNameInvalid"} {
		a := s.Want(http.StatusOK, owner, http.MethodPost, armtest.Subscription+"/providers/Microsoft.KeyVault/checkNameAvailability", `{"name":"`+name+`","type":"Microsoft.KeyVault/vaults"}`)
		if got := a.Body.String("reason"); got != reason || a.Body.Bool(false, "nameAvailable") != (reason == "") {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
}

func TestSoftDelete(t *testing.T) {
	s, p, n := start(t)
	owner := s.Owner()
	id := vaults + "kv0"
	s.Want(http.StatusOK, owner, http.MethodPut, id, `{"location":"eastus","tags":{"a":"b"},"properties":{`+some+`,"enableRbacAuthorization":true,"softDeleteRetentionInDays":7}}`)
	s.Want(http.StatusOK, owner, http.MethodDelete, id, "")
	if _, ok := known(t, p, "kv0"); ok || s.Exists(id) || len(n.unassigned) != 1 || len(n.purged) != 0 {
		t.Errorf("after the deletion: exists %v, %+v", ok, n)
	}
	a := s.Want(http.StatusOK, owner, http.MethodGet, deleted+"kv0", "")
	if a.Body.String("properties", "vaultId") != id || a.Body.String("properties", "scheduledPurgeDate") != "2026-03-08T12:00:00Z" || a.Body.String("type") != "Microsoft.KeyVault/deletedVaults" {
		t.Error(a.Raw)
	}
	if got := s.Want(http.StatusOK, owner, http.MethodGet, armtest.Subscription+"/providers/Microsoft.KeyVault/deletedVaults", "").Values(); len(got) != 1 {
		t.Errorf("deleted vaults %v", got)
	}
	s.WantError(http.StatusConflict, "ConflictError", owner, http.MethodPut, id, byRoles)
	s.WantError(http.StatusConflict, "VaultAlreadyExists", owner, http.MethodPut, armtest.OtherGroup+"/providers/Microsoft.KeyVault/vaults/kv0", byRoles)

	recover := `{"location":"eastus","properties":{` + some + `,"createMode":"recover"}}`
	if a := s.Want(http.StatusOK, owner, http.MethodPut, id, recover); a.Body.String("tags", "a") != "b" || !a.Body.Bool(false, "properties", "enableRbacAuthorization") {
		t.Error(a.Raw)
	}
	if v, ok := known(t, p, "kv0"); !ok || v.RetentionDays != 7 {
		t.Errorf("recovered: %+v %v", v, ok)
	}
	s.WantError(http.StatusNotFound, "DeletedVaultNotFound", owner, http.MethodGet, deleted+"kv0", "")

	s.Want(http.StatusOK, owner, http.MethodDelete, id, "")
	s.Want(http.StatusOK, owner, http.MethodPost, deleted+"kv0/purge", "")
	if len(n.purged) != 1 {
		t.Errorf("purged %v", n.purged)
	}
	s.WantError(http.StatusNotFound, "DeletedVaultNotFound", owner, http.MethodPut, id, recover)

	// What nobody purges goes when its retention is over.
	s.Want(http.StatusOK, owner, http.MethodPut, id, byRoles)
	s.Want(http.StatusOK, owner, http.MethodPatch, id, `{"properties":{"enablePurgeProtection":true}}`)
	s.Want(http.StatusOK, owner, http.MethodDelete, id, "")
	s.WantError(http.StatusMethodNotAllowed, "MethodNotAllowed", owner, http.MethodPost, deleted+"kv0/purge", "")
	s.Clock.Advance(90 * 24 * time.Hour)
	s.WantError(http.StatusNotFound, "DeletedVaultNotFound", owner, http.MethodGet, deleted+"kv0", "")
	s.Want(http.StatusOK, owner, http.MethodPut, id, byRoles)
	if len(n.purged) != 2 {
		t.Errorf("purged %v", n.purged)
	}

	// A group takes its vaults along.
	s.Update(func(tx store.Tx) error { return p.RemoveUnder(tx, armtest.Group) })
	s.Want(http.StatusOK, owner, http.MethodGet, deleted+"kv0", "")
}

func TestPolicies(t *testing.T) {
	s, p, _ := start(t)
	owner := s.Owner()
	id := vaults + "kv0"
	s.Want(http.StatusOK, owner, http.MethodPut, id, `{"location":"eastus","properties":{`+some+`,"accessPolicies":[]}}`)
	policy := func(names string) string {
		return `{"properties":{"accessPolicies":[{"tenantId":"` + armtest.Tenant + `","objectId":"me","permissions":{"secrets":[` + names + `]}}]}}`
	}
	for _, step := range []struct{ operation, names, want string }{
		{"add", `"get"`, "get"}, {"add", `"List","GET"`, "get List"}, {"remove", `"get"`, "List"}, {"replace", `"set","delete"`, "set delete"}, {"remove", `"set","delete"`, ""},
	} {
		s.Want(http.StatusOK, owner, http.MethodPut, id+"/accessPolicies/"+step.operation, policy(step.names))
		v, _ := known(t, p, "kv0")
		got := ""
		if len(v.Policies) > 0 {
			got = strings.Join(v.Policies[0].Secrets, " ")
		}
		if got != step.want || (step.want == "") != (len(v.Policies) == 0) {
			t.Errorf("%v: %+v", step, v.Policies)
		}
	}
	// A policy for an application on behalf of somebody is not theirs alone.
	s.Want(http.StatusOK, owner, http.MethodPut, id+"/accessPolicies/add",
		strings.Replace(policy(`"get"`), `"me"`, `"me","applicationId":"`+armtest.GUID("app")+`"`, 1))
	if v, _ := known(t, p, "kv0"); len(v.Policies) != 0 {
		t.Errorf("compound identity: %+v", v.Policies)
	}
	if a := s.Want(http.StatusOK, owner, http.MethodGet, id, ""); !strings.Contains(a.Raw, armtest.GUID("app")) {
		t.Errorf("it is not shown: %s", a.Raw)
	}
}

func TestRestart(t *testing.T) {
	s, _, n := start(t)
	s.Want(http.StatusOK, s.Owner(), http.MethodPut, vaults+"kv0", byRoles)
	again, err := keyvault.New(keyvault.Deps{Documents: s.Documents, Clock: s.Clock, Secrets: n, Assignments: n, TenantID: armtest.Tenant})
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := known(t, again, "kv0"); !ok || !v.RBAC {
		t.Errorf("after a restart: %+v %v", v, ok)
	}
}
