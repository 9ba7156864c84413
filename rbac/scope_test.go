package rbac

import (
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

const (
	subS  = "/subscriptions/s"
	rgS   = subS + "/resourceGroups/rg"
	wsS   = rgS + "/providers/Microsoft.MachineLearningServices/workspaces/ws"
	epA   = wsS + "/onlineEndpoints/a"
	epB   = wsS + "/onlineEndpoints/b"
	acct  = rgS + "/providers/Microsoft.Storage/storageAccounts/acct"
	acct2 = rgS + "/providers/Microsoft.Storage/storageAccounts/acct2"
	contC = acct + "/blobServices/default/containers/c"
	contD = acct + "/blobServices/default/containers/d"
	vault = rgS + "/providers/Microsoft.KeyVault/vaults/v"
	reg   = rgS + "/providers/Microsoft.ContainerRegistry/registries/r"
)

func TestScopeContains(t *testing.T) {
	covers.R(t, "R-311", "R-312")
	for _, tc := range []struct {
		outer, inner string
		want         bool
	}{
		{"/", subS, true},
		{"/", "/", true},
		{subS, "/", false},
		{subS, contC, true},
		{"/subscriptions/s", "/subscriptions/s2", false},
		{rgS, epA, true},
		{wsS, epA, true},
		{epA, epA, true},
		{epA, epB, false},
		{epA, wsS, false},
		{acct, contC, true},
		{acct, acct2, false},
		{contC, contD, false},
		{contC, contC + "/", true},
		{"/subscriptions/s/resourcegroups/RG", acct, true},
		{"/SUBSCRIPTIONS/S/", acct, true},
		{"", subS, false},
		{"/", "", false},
	} {
		if got := ScopeContains(tc.outer, tc.inner); got != tc.want {
			t.Errorf("%q contains %q: %t, want %t", tc.outer, tc.inner, got, tc.want)
		}
	}
}
