package rbac

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
)

func TestAllowedNamesTheNearestAssignment(t *testing.T) {
	x := New(BuiltIn())
	grant(t, x, alice.ObjectID, subS, sbdr)
	grant(t, x, alice.ObjectID, acct, sbdr)
	d := x.Decide(context.Background(), alice, data(blobRead, contC))
	want := acct + "/providers/Microsoft.Authorization/roleAssignments/" + sbdr + "-" + alice.ObjectID
	if !d.Allowed || d.Role != "Storage Blob Data Reader" || d.Assignment != want {
		t.Errorf("%+v", d)
	}
	if d.Misses != nil || d.Fixes != nil {
		t.Errorf("an allowed decision carries reasons: %+v", d)
	}
}

// Every reason for a refusal, one at a time.
func TestMisses(t *testing.T) {
	roleWriteCheck := control("Microsoft.Authorization/roleAssignments/write", rgS)
	for _, tc := range []struct {
		name  string
		role  string
		scope string
		check azure.Check
		want  string // part of the reason; empty means no miss
	}{
		{"sibling account", sbdr, acct2, data(blobRead, contC), "assigned at " + acct2 + ", which does not contain " + contC},
		{"sibling container", sbdr, contD, data(blobRead, contC), "which does not contain " + contC},
		{"below", sbdr, contC, data(blobRead, acct), "assigned at " + contC + ", which is narrower than the scope asked for, " + acct},
		{"control role, data action", contributor, rgS, data(blobRead, contC), `role "Contributor" grants control actions only; ` + blobRead + " is a data action"},
		{"data role, control action", secretsUser, vault, control("Microsoft.KeyVault/vaults/write", vault), `role "Key Vault Secrets User" grants data actions only; Microsoft.KeyVault/vaults/write is a control action`},
		{"other plane", sbdr, acct, control(blobRead, contC), `role "Storage Blob Data Reader" has ` + blobRead + " among its dataActions, where it grants nothing: it is a control action"},
		{"lacks", sbdr, acct, data(blobs+"/write", contC), `role "Storage Blob Data Reader" does not grant ` + blobs + "/write"},
		{"excluded", contributor, rgS, roleWriteCheck, "is excluded by notActions Microsoft.Authorization/*/Write"},
		{"condition", devCenter, rgS, roleWriteCheck, `role "DevCenter Owner" grants Microsoft.Authorization/roleAssignments/write only under a condition`},
		{"no such role", customRole, rgS, roleWriteCheck, "the role definition " + customRole + " does not exist"},
		{"nothing to do with it", acrPull, acct2, data(blobRead, contC), ""},
	} {
		x := New(BuiltIn())
		grant(t, x, alice.ObjectID, tc.scope, tc.role)
		d := x.Decide(context.Background(), alice, tc.check)
		if d.Allowed {
			t.Errorf("%s: allowed", tc.name)
			continue
		}
		if tc.want == "" {
			if len(d.Misses) != 0 {
				t.Errorf("%s: %+v", tc.name, d.Misses)
			}
			continue
		}
		if len(d.Misses) != 1 || !strings.Contains(d.Misses[0].Reason, tc.want) {
			t.Errorf("%s: %+v\nwant a reason with %q", tc.name, d.Misses, tc.want)
			continue
		}
		if m := d.Misses[0]; m.Scope != tc.scope || m.Assignment == "" || m.Role == "" {
			t.Errorf("%s: incomplete miss %+v", tc.name, m)
		}
	}
}

func TestMissesNearestFirst(t *testing.T) {
	x := New(BuiltIn())
	far := "/subscriptions/other/resourceGroups/x/providers/Microsoft.Storage/storageAccounts/far"
	grant(t, x, alice.ObjectID, rgS, reader, contributor)
	grant(t, x, alice.ObjectID, far, sbdr)
	grant(t, x, alice.ObjectID, acct2, sbdr)
	grant(t, x, alice.ObjectID, contD, sbdr)
	d := x.Decide(context.Background(), alice, data(blobRead, contC))
	var scopes []string
	for _, m := range d.Misses {
		scopes = append(scopes, m.Scope)
	}
	want := []string{contD, acct2, far, rgS, rgS}
	if strings.Join(scopes, "\n") != strings.Join(want, "\n") {
		t.Errorf("order of misses:\n%s\nwant\n%s", strings.Join(scopes, "\n"), strings.Join(want, "\n"))
	}
	for i := range 50 {
		grant(t, x, alice.ObjectID, fmt.Sprintf("%s%d", acct, i+10), sbdr)
	}
	d = x.Decide(context.Background(), alice, data(blobRead, contC))
	if len(d.Misses) != maxMisses || d.Misses[0].Scope != contD {
		t.Errorf("%d misses, first at %s", len(d.Misses), d.Misses[0].Scope)
	}
}

// The slip the how-to warns of: the client id only selects the identity, roles
// go to the object id.
func TestMissOfClientID(t *testing.T) {
	x := New(BuiltIn())
	who := azure.Principal{ObjectID: alice.ObjectID, AppID: "33333333-0000-4000-8000-000000000003", Type: azure.ServicePrincipal}
	grant(t, x, who.AppID, acct, sbdr)
	d := x.Decide(context.Background(), who, data(blobRead, contC))
	if d.Allowed || len(d.Misses) != 1 || !strings.Contains(d.Misses[0].Reason, "must be assigned to the object id, "+who.ObjectID) {
		t.Errorf("%+v", d)
	}
}

func TestFixes(t *testing.T) {
	x := New(BuiltIn())
	for _, tc := range []struct {
		check azure.Check
		want  string
	}{
		{data(blobRead, contC), "Storage Blob Data Reader"},
		{data(blobs+"/write", contC), "Storage Blob Data Contributor"},
		{data(blobs+"/delete", contC), "Storage Blob Data Contributor"},
		{control("Microsoft.Storage/storageAccounts/blobServices/containers/read", acct), "Storage Blob Data Reader"},
		{control("Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action", acct), "Storage Blob Delegator"},
		{control(listKeys, acct), "Reader and Data Access"},
		{control("Microsoft.Storage/storageAccounts/write", acct), "Storage Account Contributor"},
		{control("Microsoft.Storage/storageAccounts/read", acct), "Reader"},
		{control("Microsoft.ContainerRegistry/registries/pull/read", reg), "AcrPull"},
		{control("Microsoft.ContainerRegistry/registries/push/write", reg), "AcrPush"},
		{control(oe+"/score/action", epA), "AzureML Data Scientist"},
		{control(oe+"/write", epA), "AzureML Data Scientist"},
		{control(oe+"/listKeys/action", epA), "AzureML Data Scientist"},
		{control(oe+"/read", epA), "Reader"},
		{control(mls+"/connections/listsecrets/action", wsS), "Azure Machine Learning Workspace Connection Secrets Reader"},
		{control(mls+"/metrics/resource/write", wsS), "AzureML Metrics Writer (preview)"},
		{data(getSecret, vault), "Key Vault Secrets User"},
		{control("Microsoft.Authorization/roleAssignments/write", rgS), "Role Based Access Control Administrator"},
		{control("Microsoft.Authorization/roleDefinitions/write", rgS), "User Access Administrator"},
		{control("Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", rgS), "Managed Identity Operator"},
		{control("Microsoft.Resources/deployments/write", rgS), "Contributor"},
	} {
		d := x.Decide(context.Background(), alice, tc.check)
		if len(d.Fixes) == 0 || len(d.Fixes) > maxFixes || d.Fixes[0].Role != tc.want {
			t.Errorf("%s: fixes %+v, want %s first", tc.check.Action, d.Fixes, tc.want)
			continue
		}
		for i, fix := range d.Fixes {
			// What is proposed must work, applied where it says.
			y := New(BuiltIn())
			grant(t, y, alice.ObjectID, fix.Scope, fix.RoleID)
			if !allowed(y, tc.check) {
				t.Errorf("%s: fix %d, %s at %s, does not help", tc.check.Action, i, fix.Role, fix.Scope)
			}
		}
	}
	if d := x.Decide(context.Background(), alice, data(oe+"/score/action", epA)); len(d.Fixes) != 0 {
		t.Errorf("fixes for an action no role has: %+v", d.Fixes)
	}
}

func TestFixCommand(t *testing.T) {
	x := New(BuiltIn())
	for _, tc := range []struct {
		who   azure.Principal
		scope string
		want  string
	}{
		{alice, contC, "az role assignment create --assignee-object-id " + alice.ObjectID +
			` --assignee-principal-type ServicePrincipal --role "Storage Blob Data Reader" --scope ` + contC},
		{azure.Principal{ObjectID: "u", Type: azure.User}, "/subscriptions/s/resourceGroups/my (dev) $rg",
			`az role assignment create --assignee-object-id u --assignee-principal-type User --role "Storage Blob Data Reader" --scope '/subscriptions/s/resourceGroups/my (dev) $rg'`},
		{azure.Principal{ObjectID: "u"}, acct + "'; x", `az role assignment create --assignee-object-id u --role "Storage Blob Data Reader" --scope '` + acct + `'\''; x'`},
		{azure.Principal{}, acct, ""},
	} {
		d := x.Decide(context.Background(), tc.who, data(blobRead, tc.scope))
		if len(d.Fixes) == 0 || d.Fixes[0].Command != tc.want || d.Fixes[0].Scope != tc.scope {
			t.Errorf("%+v\nwant %s", d.Fixes, tc.want)
		}
	}
}

// Each switch must change the outcome of a refusal, or the sabotage run would
// prove nothing.
func TestSabotageIsNoticed(t *testing.T) {
	for _, tc := range []struct {
		name     string
		sabotage Sabotage
		role     string
		scope    string
		check    azure.Check
	}{
		{"allow all", Sabotage{AllowAll: true}, acrPull, reg, data(blobRead, contC)},
		{"ignore scope", Sabotage{IgnoreScope: true}, sbdr, acct2, data(blobRead, contC)},
		{"pool: control role reads a blob", Sabotage{PoolDataActions: true}, contributor, rgS, data(blobRead, contC)},
		{"pool: data action passes as action", Sabotage{PoolDataActions: true}, sbdr, acct, control(blobRead, contC)},
	} {
		honest, broken := New(BuiltIn()), New(BuiltIn(), WithSabotage(tc.sabotage))
		for _, x := range []*Index{honest, broken} {
			grant(t, x, alice.ObjectID, tc.scope, tc.role)
		}
		if allowed(honest, tc.check) {
			t.Errorf("%s: allowed without the switch", tc.name)
		}
		if !allowed(broken, tc.check) {
			t.Errorf("%s: the switch changes nothing", tc.name)
		}
	}
}
