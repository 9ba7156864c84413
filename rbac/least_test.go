package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amlocal/amlocal/azure"
)

const (
	leastRG  = "/subscriptions/s1/resourceGroups/rg"
	leastWS  = leastRG + "/providers/Microsoft.MachineLearningServices/workspaces/ws"
	leastAcc = leastRG + "/providers/Microsoft.Storage/storageAccounts/one"
	leastBox = leastAcc + "/blobServices/default/containers/box"
	leastReg = leastRG + "/providers/Microsoft.ContainerRegistry/registries/reg"
)

func TestLeast(t *testing.T) {
	const oe = mls + "/onlineEndpoints"
	for _, tt := range []struct {
		name    string
		needs   []azure.Check
		want    string
		without int
	}{
		{"nothing", nil, "", 0},
		{"an endpoint's identity", []azure.Check{
			{Action: "Microsoft.ContainerRegistry/registries/pull/read", Scope: leastReg},
			{Action: blobRead, Data: true, Scope: leastBox + "/blobs/a.txt"},
			{Action: strings.ToUpper(blobRead), Data: true, Scope: strings.ToUpper(leastBox)},
			{Action: blobRead, Data: true, Scope: leastAcc + "2/blobServices/default/containers/box"},
		}, "AcrPull at reg; Storage Blob Data Reader at box; Storage Blob Data Reader at box", 0},
		{"reads and writes", []azure.Check{
			{Action: blobRead, Data: true, Scope: leastBox},
			{Action: strings.Replace(blobRead, "read", "write", 1), Data: true, Scope: leastBox},
		}, "Storage Blob Data Contributor at box", 0},
		{"the account's role serves its containers", []azure.Check{
			{Action: blobRead, Data: true, Scope: leastBox},
			{Action: blobRead, Data: true, Scope: leastAcc},
		}, "Storage Blob Data Reader at one", 0},
		{"an author of endpoints", []azure.Check{
			{Action: oe + "/write", Scope: leastWS + "/onlineEndpoints/a"},
			{Action: oe + "/read", Scope: leastWS + "/onlineEndpoints/a"},
			{Action: oe + "/deployments/write", Scope: leastWS + "/onlineEndpoints/a/deployments/b"},
		}, "AzureML Data Scientist at ws", 0},
		{"who makes an account needs its role around it", []azure.Check{
			{Action: "Microsoft.Storage/storageAccounts/write", Scope: leastAcc},
			{Action: "Microsoft.Storage/storageAccounts/listKeys/action", Scope: leastAcc},
		}, "Storage Account Contributor at rg", 0},
		{"who assigns roles", []azure.Check{
			{Action: "Microsoft.Authorization/roleAssignments/write", Scope: leastAcc + "/providers/Microsoft.Authorization/roleAssignments/a"},
			{Action: "Microsoft.Authorization/roleAssignments/write", Scope: leastAcc + "/providers/Microsoft.Authorization/roleAssignments/b"},
		}, "Role Based Access Control Administrator at one", 0},
		{"no role at all", []azure.Check{{Action: "Contoso.Things/things/frobnicate/action", Data: true, Scope: leastRG}}, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			grants, without := BuiltIn().Least(tt.needs)
			var got []string
			for _, g := range grants {
				got = append(got, g.Role+" at "+g.Scope[strings.LastIndexByte(g.Scope, '/')+1:])
			}
			slices.Sort(got)
			if text := strings.Join(got, "; "); text != tt.want || len(without) != tt.without {
				t.Errorf("%s and %v without, want %s", text, without, tt.want)
			}
		})
	}
}

// TestLeastSuffices: what is proposed allows all that was done, and nothing of
// it can be left out.
func TestLeastSuffices(t *testing.T) {
	catalog := BuiltIn()
	scopes := []string{leastRG, leastWS, leastWS + "/onlineEndpoints/a", leastAcc, leastBox, leastReg, "/subscriptions/s1"}
	actions := []azure.Check{
		{Action: blobRead, Data: true}, {Action: strings.Replace(blobRead, "read", "delete", 1), Data: true},
		{Action: "Microsoft.Storage/storageAccounts/read"}, {Action: "Microsoft.Storage/storageAccounts/write"}, {Action: "Microsoft.Storage/storageAccounts/listKeys/action"},
		{Action: mls + "/onlineEndpoints/write"}, {Action: mls + "/onlineEndpoints/score/action"}, {Action: mls + "/read"},
		{Action: "Microsoft.ContainerRegistry/registries/pull/read"}, {Action: "Microsoft.Authorization/roleAssignments/write"},
		{Action: "Microsoft.Resources/subscriptions/resourceGroups/read"}, {Action: "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"},
		{Action: "Microsoft.KeyVault/vaults/secrets/getSecret/action", Data: true}, {Action: "Contoso.Things/x/read"},
	}
	who := azure.Principal{ObjectID: "p"}
	rapid.Check(t, func(r *rapid.T) {
		needs := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) azure.Check {
			c := rapid.SampledFrom(actions).Draw(r, "action")
			c.Scope = rapid.SampledFrom(scopes).Draw(r, "scope")
			return c
		}), 1, 8).Draw(r, "needs")
		grants, without := catalog.Least(needs)
		passes := func(skip int) bool {
			x := New(catalog)
			for i, g := range grants {
				if i == skip {
					continue
				}
				if err := x.Put(Assignment{ID: fmt.Sprint(i), RoleDefinitionID: g.RoleID, PrincipalID: "p", Scope: g.Scope}); err != nil {
					r.Fatal(err)
				}
			}
			for _, n := range needs {
				known := !slices.ContainsFunc(without, func(w azure.Check) bool { return strings.EqualFold(w.Action, n.Action) })
				if known && !x.Decide(context.Background(), who, n).Allowed {
					return false
				}
			}
			return true
		}
		if !passes(-1) {
			r.Fatalf("%v does not suffice for %v", grants, needs)
		}
		for i := range grants {
			if passes(i) {
				r.Fatalf("%v suffices for %v without %v", grants, needs, grants[i])
			}
		}
	})
}
