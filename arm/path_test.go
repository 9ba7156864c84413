package arm

import (
	"net/url"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
)

func testTable(t testing.TB) table {
	t.Helper()
	tab, err := newTable([]Type{
		{Name: "Microsoft.Resources/subscriptions"}, {Name: "Microsoft.Resources/resourceGroups"},
		{Name: "Microsoft.Storage/storageAccounts"}, {Name: "Microsoft.Storage/storageAccounts/blobServices/containers"},
		{Name: "Microsoft.Storage/storageAccounts/blobServices"},
		{Name: "Microsoft.Authorization/roleAssignments"}, {Name: "Microsoft.Storage/checkNameAvailability"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestParsePath(t *testing.T) {
	const (
		sub  = "/subscriptions/S"
		rg   = sub + "/resourceGroups/Rg"
		acct = rg + "/providers/Microsoft.Storage/storageAccounts/acct"
	)
	type reading struct{ typeName, scope, id, name, verb, namespace string }
	for _, tt := range []struct {
		path string
		want []reading // a name means a resource, none a collection
	}{
		{"/subscriptions", []reading{{"Microsoft.Resources/subscriptions", "/", "/", "", "", ""}}},
		{"/SUBSCRIPTIONS/S/", []reading{{"Microsoft.Resources/subscriptions", "/", sub, "S", "", ""}}},
		{"/tenants", []reading{{"Microsoft.Resources/tenants", "/", "/", "", "", ""}}},
		{"/subscriptions/S/resourcegroups", []reading{
			{"Microsoft.Resources/resourceGroups", sub, sub, "", "", ""},
			{"Microsoft.Resources/subscriptions", "/", sub, "S", "resourceGroups", ""}}},
		{"/subscriptions/S/resourcegroups/Rg", []reading{{"Microsoft.Resources/resourceGroups", sub, rg, "Rg", "", ""}}},
		{"//subscriptions//S//RESOURCEGROUPS/Rg//providers/microsoft.storage/STORAGEACCOUNTS/acct", []reading{
			{"Microsoft.Storage/storageAccounts", rg, acct, "acct", "", "Microsoft.Storage"}}},
		{rg + "/providers/Microsoft.Storage/storageaccounts", []reading{
			{"Microsoft.Storage/storageAccounts", rg, rg, "", "", "Microsoft.Storage"},
			{"Microsoft.Resources/providers", rg, rg + "/providers/Microsoft.Storage", "Microsoft.Storage", "storageaccounts", "Microsoft.Storage"}}},
		{acct + "/listKEYS", []reading{
			{"Microsoft.Storage/storageAccounts/listKEYS", acct, acct, "", "", "Microsoft.Storage"},
			{"Microsoft.Storage/storageAccounts", rg, acct, "acct", "listKEYS", "Microsoft.Storage"}}},
		{acct + "/blobservices/default/CONTAINERS/c", []reading{
			{"Microsoft.Storage/storageAccounts/blobServices/containers", acct + "/blobServices/default", acct + "/blobServices/default/containers/c", "c", "", "Microsoft.Storage"}}},
		{acct + "//providers/microsoft.authorization/roleassignments/g", []reading{
			{"Microsoft.Authorization/roleAssignments", acct, acct + "/providers/Microsoft.Authorization/roleAssignments/g", "g", "", "Microsoft.Authorization"}}},
		{"/providers/Microsoft.Authorization/roleAssignments/g", []reading{
			{"Microsoft.Authorization/roleAssignments", "/", "/providers/Microsoft.Authorization/roleAssignments/g", "g", "", "Microsoft.Authorization"}}},
		{sub + "/providers", []reading{{"Microsoft.Resources/providers", sub, sub, "", "", ""}}},
		{sub + "/providers/microsoft.storage", []reading{{"Microsoft.Resources/providers", sub, sub + "/providers/Microsoft.Storage", "Microsoft.Storage", "", "Microsoft.Storage"}}},
		{sub + "/providers/Microsoft.Storage/checknameavailability", []reading{
			{"Microsoft.Storage/checkNameAvailability", sub, sub, "", "", "Microsoft.Storage"},
			{"Microsoft.Resources/providers", sub, sub + "/providers/Microsoft.Storage", "Microsoft.Storage", "checknameavailability", "Microsoft.Storage"}}},
		{rg + "/deployments/d/operations", []reading{
			{"Microsoft.Resources/resourceGroups/deployments/operations", rg + "/deployments/d", rg + "/deployments/d", "", "", ""},
			{"Microsoft.Resources/resourceGroups/deployments", rg, rg + "/deployments/d", "d", "operations", ""}}},
		{rg + "/providers/Microsoft.Storage/storageAccounts/a%20b", []reading{
			{"Microsoft.Storage/storageAccounts", rg, rg + "/providers/Microsoft.Storage/storageAccounts/a b", "a b", "", "Microsoft.Storage"}}},
		// A name that looks like a keyword is a name.
		{rg + "/providers/Microsoft.Storage/storageAccounts/providers", []reading{
			{"Microsoft.Storage/storageAccounts", rg, rg + "/providers/Microsoft.Storage/storageAccounts/providers", "providers", "", "Microsoft.Storage"}}},
		{"/", nil}, {"//", nil},
		{rg + "/providers/Microsoft.Storage/storageAccounts/a%2Fb", nil},
		{rg + "/providers/Microsoft.Storage/storageAccounts/a%0Ab", nil},
		{rg + "/providers/Microsoft.Storage/storageAccounts/a%zz", nil},
	} {
		got, ok := testTable(t).parsePath(tt.path)
		if ok != (tt.want != nil) || len(got) != len(tt.want) {
			t.Errorf("%s: %d readings (%v), want %d", tt.path, len(got), ok, len(tt.want))
			continue
		}
		for i, want := range tt.want {
			g := got[i]
			if (g.target == Resource) != (want.name != "") {
				t.Errorf("%s: reading %d is of the wrong kind", tt.path, i)
			}
			have := reading{g.typeName, g.scope, g.id, g.name, g.verb, g.namespace}
			if !strings.EqualFold(have.verb, want.verb) {
				t.Errorf("%s: verb %q, want %q", tt.path, have.verb, want.verb)
			}
			have.verb, want.verb = "", ""
			if have != want {
				t.Errorf("%s: reading %d\n got %+v\nwant %+v", tt.path, i, have, want)
			}
		}
	}
}

func TestTypesAreRegisteredOnce(t *testing.T) {
	if _, err := newTable([]Type{{Name: "A.B/c"}, {Name: "a.b/C"}}); err == nil {
		t.Error("a type was registered twice")
	}
}

// FuzzParsePath: whatever is asked, a reading is stable (its own id parses to
// itself) and never escapes its scope.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		"/subscriptions/S/resourcegroups/R/providers/Microsoft.Storage/storageAccounts/a/listKeys",
		"//subscriptions/S//providers/Microsoft.Authorization/roleAssignments/g", "/providers", "/providers/x", "/providers/x/y/z/w",
		"/subscriptions/%2e%2e/resourceGroups/R", "/tenants", "/a/b/c", "/providers/providers/providers/providers",
	} {
		f.Add(s)
	}
	tab := testTable(f)
	f.Fuzz(func(t *testing.T, escaped string) {
		readings, ok := tab.parsePath(escaped)
		if !ok {
			return
		}
		for _, p := range readings {
			if p.target == Collection && p.id != p.scope {
				t.Fatalf("%q: collection %q in scope %q", escaped, p.id, p.scope)
			}
			if !strings.HasPrefix(p.id+"/", strings.TrimRight(p.scope, "/")+"/") {
				t.Fatalf("%q: %q is not below %q", escaped, p.id, p.scope)
			}
			if p.target != Resource || p.verb != "" {
				continue
			}
			var again strings.Builder
			for s := range strings.SplitSeq(strings.Trim(p.id, "/"), "/") {
				again.WriteString("/" + url.PathEscape(s))
			}
			back, ok := tab.parsePath(again.String())
			if !ok || back[0] != p {
				t.Fatalf("%q: %+v parses again to %+v", escaped, p, back)
			}
			if _, err := azure.ParseResourceID(p.id); err != nil && strings.HasPrefix(p.id, "/subscriptions/S/resourceGroups/R/providers/") {
				t.Logf("%q is no resource id: %v", p.id, err)
			}
		}
	})
}
