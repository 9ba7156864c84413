package rbac

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

const (
	mls       = "Microsoft.MachineLearningServices/workspaces"
	oe        = mls + "/onlineEndpoints"
	blobs     = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
	blobRead  = blobs + "/read"
	listKeys  = "Microsoft.Storage/storageAccounts/listKeys/action"
	getSecret = "Microsoft.KeyVault/vaults/secrets/getSecret/action"

	dataScientist = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
	sbdr          = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
	acrPull       = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
	metricsWriter = "635dd51f-9968-44d3-b7fb-6d9a6bd613ae"
	csr           = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5"
	owner         = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
	contributor   = "b24988ac-6180-42a0-ab88-20f7382dd24c"
	reader        = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	secretsUser   = "4633458b-17de-408a-b874-0445c86b69e6"
	uaa           = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"
	devCenter     = "4c6569b6-f23e-4295-9b90-bd4cc4ff3292"
	migrateOwner  = "fd8ea4d5-6509-4db0-bada-356ab233b4fa"

	customRole = "c0000000-0000-4000-8000-000000000001"
)

var alice = azure.Principal{ObjectID: "11111111-0000-4000-8000-000000000001", Type: azure.ServicePrincipal}

func control(action, scope string) azure.Check { return azure.Check{Action: action, Scope: scope} }

func data(action, scope string) azure.Check {
	return azure.Check{Action: action, Data: true, Scope: scope}
}

// grant assigns roles to a principal at a scope; ids are numbered.
func grant(t testing.TB, x *Index, principal, scope string, roles ...string) {
	t.Helper()
	for _, r := range roles {
		a := Assignment{
			ID:               fmt.Sprintf("%s/providers/Microsoft.Authorization/roleAssignments/%s-%s", scope, r, principal),
			RoleDefinitionID: r,
			PrincipalID:      principal,
			Scope:            scope,
		}
		if err := x.Put(a); err != nil {
			t.Fatal(err)
		}
	}
}

func define(t testing.TB, x *Index, perms ...Permission) {
	t.Helper()
	if err := x.PutDefinition(Definition{ID: customRole, Name: "Custom", Permissions: perms, AssignableScopes: []string{rgS}}); err != nil {
		t.Fatal(err)
	}
}

func allowed(x *Index, check azure.Check) bool {
	return x.Decide(context.Background(), alice, check).Allowed
}

// roleCase is a line of a role's matrix: what it allows at its own scope.
type roleCase struct {
	check azure.Check
	want  bool
}

func runRole(t *testing.T, scope, role string, cases []roleCase) {
	t.Helper()
	x := New(BuiltIn())
	grant(t, x, alice.ObjectID, scope, role)
	for _, tc := range cases {
		if got := allowed(x, tc.check); got != tc.want {
			t.Errorf("%+v: allowed %t, want %t", tc.check, got, tc.want)
		}
	}
}

func TestDataScientist(t *testing.T) {
	covers.R(t, "R-901", "R-902", "R-314")
	compute := wsS + "/computes/c"
	runRole(t, wsS, dataScientist, []roleCase{
		{control(oe+"/read", epA), true},
		{control(oe+"/write", epA), true},
		{control(oe+"/delete", epA), true},
		{control(oe+"/score/action", epA), true},
		{control(oe+"/listKeys/action", epA), true},
		{control(oe+"/regenerateKeys/action", epA), true},
		{control(oe+"/token/action", epA), true},
		{control(oe+"/deployments/write", epA+"/deployments/blue"), true},
		{control(oe+"/deployments/delete", epA+"/deployments/blue"), true},
		{control(mls+"/connections/listsecrets/action", wsS), true},
		{control(mls+"/read", wsS), true},
		{control(mls+"/write", wsS), false},
		{control(mls+"/delete", wsS), false},
		{control(mls+"/computes/read", compute), true},
		{control(mls+"/computes/start/action", compute), true},
		{control(mls+"/computes/write", compute), false},
		{control(mls+"/computes/delete", compute), false},
		{control(mls+"/computes/listKeys/action", compute), false},
		{control(mls+"/listKeys/action", wsS), false},
		{control(mls+"/LISTKEYS/ACTION", wsS), false},
		{control("Microsoft.Authorization/roleAssignments/write", wsS), false},
		{data(blobRead, acct), false},
	})
}

func TestStorageBlobDataReader(t *testing.T) {
	covers.R(t, "R-903")
	runRole(t, acct, sbdr, []roleCase{
		{data(blobRead, contC), true},
		{data(strings.ToUpper(blobRead), strings.ToUpper(contC)), true},
		{data(blobs+"/write", contC), false},
		{data(blobs+"/delete", contC), false},
		{data(blobs+"/add/action", contC), false},
		{data(blobs+"/tags/read", contC), false},
		{control("Microsoft.Storage/storageAccounts/blobServices/containers/read", contC), true},
		{control("Microsoft.Storage/storageAccounts/blobServices/containers/write", contC), false},
		{control(listKeys, acct), false},
		{control("Microsoft.Storage/storageAccounts/read", acct), false},
		{control(blobRead, contC), false}, // a data action asked for as an action
		{data(blobRead, acct2), false},
	})
}

func TestSmallRoles(t *testing.T) {
	covers.R(t, "R-904", "R-905", "R-906", "R-907")
	runRole(t, reg, acrPull, []roleCase{
		{control("Microsoft.ContainerRegistry/registries/pull/read", reg), true},
		{control("Microsoft.ContainerRegistry/registries/push/write", reg), false},
		{control("Microsoft.ContainerRegistry/registries/read", reg), false},
	})
	runRole(t, wsS, metricsWriter, []roleCase{
		{control(mls+"/metrics/resource/write", wsS), true},
		{control(mls+"/metrics/write", wsS), true},
		{control(mls+"/write", wsS), false},
		{control(mls+"/metrics/resource/read", wsS), false},
	})
	runRole(t, wsS, csr, []roleCase{
		{control(mls+"/connections/listsecrets/action", wsS+"/connections/x"), true},
		{control(mls+"/connections/listSecrets/action", wsS), true},
		{control(mls+"/metadata/secrets/read", wsS), true},
		{control(mls+"/connections/read", wsS), false},
	})
	runRole(t, vault, secretsUser, []roleCase{
		{data(getSecret, vault+"/secrets/s"), true},
		{data("Microsoft.KeyVault/vaults/secrets/setSecret/action", vault), false},
		{control("Microsoft.KeyVault/vaults/read", vault), false},
	})
	runRole(t, rgS, owner, []roleCase{{data(getSecret, vault), false}})
}

// The pages' tables: Owner and Contributor pass every control row, and neither
// they nor Reader read a blob; listKeys is their way in.
func TestBroadRoles(t *testing.T) {
	covers.R(t, "R-310", "R-908")
	rows := []azure.Check{
		control(oe+"/write", wsS), control(oe+"/delete", wsS), control(oe+"/read", wsS),
		control("Microsoft.Resources/deployments/write", rgS),
		control(oe+"/token/action", epA), control(oe+"/listKeys/action", epA),
		control(oe+"/regenerateKeys/action", epA), control(oe+"/score/action", epA),
		control(listKeys, acct),
	}
	assign := control("Microsoft.Authorization/roleAssignments/write", rgS)
	for _, role := range []string{owner, contributor} {
		var cases []roleCase
		for _, check := range rows {
			cases = append(cases, roleCase{check, true})
		}
		cases = append(cases, roleCase{data(blobRead, contC), false}, roleCase{data(getSecret, vault), false}, roleCase{assign, role == owner})
		runRole(t, rgS, role, cases)
	}
	runRole(t, rgS, reader, []roleCase{
		{control(oe+"/read", epA), true},
		{control(oe+"/write", epA), false},
		{control(listKeys, acct), false},
		{data(blobRead, contC), false},
	})
	c := BuiltIn()
	for _, id := range []string{owner, contributor, reader, uaa} {
		def, ok := c.Lookup(id)
		if !ok || len(def.Permissions) != 1 || len(def.Permissions[0].DataActions) != 0 {
			t.Errorf("%s: %+v, want one permission set without data actions", id, def)
		}
	}
}

func TestCustomRoles(t *testing.T) {
	covers.R(t, "R-910", "R-911", "R-912", "R-916", "R-1045")
	controlPlane := []string{oe + "/write", oe + "/delete", oe + "/read",
		"Microsoft.MachineLearningServices/workspaces/onlineendpoints/token/action",
		"Microsoft.MachineLearningServices/workspaces/onlineendpoints/listkeys/action",
		oe + "/regenerateKeys/action"}
	for _, tc := range []struct {
		name string
		perm Permission
		yes  []azure.Check
		no   []azure.Check
	}{
		{"control plane", Permission{Actions: controlPlane},
			[]azure.Check{control(oe+"/write", epA), control(oe+"/token/action", epA), control(oe+"/listKeys/action", epA),
				control(oe+"/REGENERATEKEYS/action", epA)},
			[]azure.Check{control(oe+"/score/action", epA), control(mls+"/write", wsS)}},
		{"scoring", Permission{Actions: []string{oe + "/*/action"}},
			[]azure.Check{control(oe+"/score/action", epA), control(oe+"/listKeys/action", epA), control(oe+"/token/action", epA),
				control(oe+"/regenerateKeys/action", epA)},
			[]azure.Check{control(oe+"/read", epA), control(oe+"/write", epA)}},
		{"score is no data action", Permission{DataActions: []string{oe + "/score/action"}},
			nil, []azure.Check{control(oe+"/score/action", epA)}},
		{"plural as printed", Permission{Actions: []string{oe + "/*/actions"}},
			nil, []azure.Check{control(oe+"/score/action", epA), control(oe+"/listKeys/action", epA), control(oe+"/read", epA)}},
		{"star spans segments", Permission{Actions: []string{"microsoft.machinelearningservices/*/READ"}},
			[]azure.Check{control(oe+"/read", epA), control(oe+"/deployments/read", epA), control(mls+"/read", wsS)},
			[]azure.Check{control(oe+"/write", epA)}},
	} {
		x := New(BuiltIn())
		define(t, x, tc.perm)
		grant(t, x, alice.ObjectID, wsS, customRole)
		for _, check := range tc.yes {
			if !allowed(x, check) {
				t.Errorf("%s: %+v refused", tc.name, check)
			}
		}
		for _, check := range tc.no {
			if allowed(x, check) {
				t.Errorf("%s: %+v allowed", tc.name, check)
			}
		}
	}
}

func TestNotActionsSubtractWithinARoleOnly(t *testing.T) {
	covers.R(t, "R-313")
	x := New(BuiltIn())
	grant(t, x, alice.ObjectID, wsS, dataScientist)
	check := control(mls+"/write", wsS)
	if allowed(x, check) {
		t.Fatal("the role's own notActions did not subtract")
	}
	define(t, x, Permission{Actions: []string{mls + "/write"}})
	grant(t, x, alice.ObjectID, wsS, customRole)
	if !allowed(x, check) {
		t.Error("the notActions of one role subtracted from another")
	}

	// The same holds for the permission sets of one role.
	y := New(BuiltIn())
	define(t, y,
		Permission{Actions: []string{mls + "/*"}, NotActions: []string{mls + "/write"}},
		Permission{Actions: []string{mls + "/write"}})
	grant(t, y, alice.ObjectID, wsS, customRole)
	if !allowed(y, check) {
		t.Error("the notActions of one permission set subtracted from another")
	}
}

func TestConditionsGovernOnlyTheirOwnActions(t *testing.T) {
	runRole(t, rgS, devCenter, []roleCase{
		{control("Microsoft.DevCenter/devcenters/write", rgS), true},
		{control("Microsoft.Authorization/roleAssignments/read", rgS), true},
		{control("Microsoft.Authorization/roleAssignments/write", rgS), false},
		{control("Microsoft.Authorization/roleAssignments/delete", rgS), false},
	})
	runRole(t, rgS, migrateOwner, []roleCase{
		{control("Microsoft.Resources/deployments/write", rgS), true},
		{control("Microsoft.Authorization/roleAssignments/write", rgS), false},
	})
	// An assignment's own condition narrows a role that has none.
	x := New(BuiltIn())
	a := Assignment{ID: acct + "/a", RoleDefinitionID: sbdr, PrincipalID: alice.ObjectID, Scope: acct,
		Condition: "!(ActionMatches{'" + blobRead + "'}) OR @Resource[c:name] StringEquals 'c'"}
	if err := x.Put(a); err != nil {
		t.Fatal(err)
	}
	if allowed(x, data(blobRead, contC)) {
		t.Error("a condition that is not evaluated let a read pass")
	}
	if !allowed(x, control("Microsoft.Storage/storageAccounts/blobServices/containers/read", contC)) {
		t.Error("the condition governed an action it does not name")
	}
}

func TestScopeLadder(t *testing.T) {
	covers.R(t, "R-311", "R-312")
	for _, tc := range []struct {
		scope string
		check azure.Check
		role  string
		want  bool
	}{
		{"/", data(blobRead, contC), sbdr, true},
		{subS, data(blobRead, contC), sbdr, true},
		{strings.ToLower(rgS), data(blobRead, contC), sbdr, true},
		{acct, data(blobRead, contC), sbdr, true},
		{acct, data(blobRead, acct2+"/blobServices/default/containers/c"), sbdr, false},
		{acct2, data(blobRead, contC), sbdr, false},
		{contC, data(blobRead, contC), sbdr, true},
		{contC, data(blobRead, contD), sbdr, false},
		{contC, data(blobRead, contC+"c"), sbdr, false},
		{contC, data(blobRead, acct), sbdr, false},
		{rgS, control(oe+"/score/action", epA), dataScientist, true},
		{wsS, control(oe+"/score/action", epA), dataScientist, true},
		{epA, control(oe+"/score/action", epA), dataScientist, true},
		{epA, control(oe+"/score/action", epB), dataScientist, false},
		{epA, control(oe+"/read", wsS), dataScientist, false},
		{rgS + "2", control(oe+"/read", epA), dataScientist, false},
	} {
		x := New(BuiltIn())
		grant(t, x, alice.ObjectID, tc.scope, tc.role)
		if got := allowed(x, tc.check); got != tc.want {
			t.Errorf("assigned at %s, %+v: allowed %t, want %t", tc.scope, tc.check, got, tc.want)
		}
	}
}

func TestDenyByDefault(t *testing.T) {
	x := New(BuiltIn())
	grant(t, x, alice.ObjectID, "/", owner)
	for name, ask := range map[string]struct {
		who   azure.Principal
		check azure.Check
	}{
		"a stranger":      {azure.Principal{ObjectID: "22222222-0000-4000-8000-000000000002"}, control(oe+"/read", epA)},
		"nobody":          {azure.Principal{}, control(oe+"/read", epA)},
		"no action":       {alice, control("", epA)},
		"no scope":        {alice, control(oe+"/read", "")},
		"no built-ins":    {alice, data(blobRead, contC)},
		"the client's id": {azure.Principal{ObjectID: "x", AppID: alice.ObjectID}, control(oe+"/read", epA)},
	} {
		if d := x.Decide(context.Background(), ask.who, ask.check); d.Allowed {
			t.Errorf("%s was allowed: %+v", name, d)
		}
	}
	empty := New(nil)
	grant(t, empty, alice.ObjectID, "/", owner)
	if allowed(empty, control(oe+"/read", epA)) {
		t.Error("a role that is not defined granted something")
	}
}
