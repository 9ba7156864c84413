package rbac

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

func TestCatalog(t *testing.T) {
	covers.R(t, "R-901", "R-905", "R-906")
	c := BuiltIn()
	for id, name := range map[string]string{
		dataScientist: "AzureML Data Scientist",
		sbdr:          "Storage Blob Data Reader",
		acrPull:       "AcrPull",
		metricsWriter: "AzureML Metrics Writer (preview)",
		csr:           "Azure Machine Learning Workspace Connection Secrets Reader",
		owner:         "Owner",
	} {
		byName, ok := c.LookupName(strings.ToUpper(name))
		if !ok || byName.ID != id || byName.Name != name || byName.Type != BuiltInRole || !byName.AssignableAt(acct) {
			t.Errorf("%s by name: %+v", name, byName)
		}
		byID, ok := c.Lookup(subS + "/providers/Microsoft.Authorization/roleDefinitions/" + strings.ToUpper(id))
		if !ok || byID.Name != name {
			t.Errorf("%s by id: %+v", name, byID)
		}
	}
	ds, _ := c.Lookup(dataScientist)
	want := "[" + mls + "/*/read " + mls + "/*/action " + mls + "/*/delete " + mls + "/*/write]"
	if got := fmt.Sprint(ds.Permissions[0].Actions); got != want {
		t.Errorf("AzureML Data Scientist grants %s, want %s", got, want)
	}
	if len(c.List()) != 513 {
		t.Errorf("%d roles", len(c.List()))
	}
	for _, def := range c.List() {
		for _, p := range def.Permissions {
			if p.Actions == nil || p.NotActions == nil || p.DataActions == nil || p.NotDataActions == nil {
				t.Errorf("%s: a list is nil and would be null on the wire", def.Name)
			}
		}
	}
	// What callers get is theirs.
	ds.Permissions[0].Actions[0] = "*"
	if again, _ := c.Lookup(dataScientist); again.Permissions[0].Actions[0] == "*" {
		t.Error("a caller changed the catalogue")
	}
	if _, ok := c.LookupName("No such role"); ok {
		t.Error("found a role that does not exist")
	}
}

func TestDefinitions(t *testing.T) {
	x := New(BuiltIn())
	grant(t, x, alice.ObjectID, wsS, customRole)
	check := control(oe+"/read", epA)
	if allowed(x, check) {
		t.Fatal("an undefined role granted something")
	}
	define(t, x, Permission{Actions: []string{oe + "/read"}})
	if !allowed(x, check) {
		t.Error("the assignment did not follow the definition made after it")
	}
	define(t, x, Permission{Actions: []string{oe + "/write"}})
	if allowed(x, check) {
		t.Error("the assignment did not follow the changed definition")
	}
	def, ok := x.DefinitionByName("CUSTOM")
	if !ok || def.ID != customRole || def.Type != CustomRole || def.AssignableAt(subS) || !def.AssignableAt(wsS) {
		t.Errorf("%+v", def)
	}
	if got := len(x.Definitions()); got != 514 {
		t.Errorf("%d definitions", got)
	}
	for name, tc := range map[string]struct {
		def  Definition
		want error
	}{
		"built-in id":     {Definition{ID: sbdr, Name: "Mine"}, ErrBuiltIn},
		"built-in name":   {Definition{ID: "d", Name: "storage blob data reader"}, ErrNameTaken},
		"another's name":  {Definition{ID: "d", Name: "custom"}, ErrNameTaken},
		"no name":         {Definition{ID: "d"}, ErrIncomplete},
		"no id":           {Definition{Name: "d"}, ErrIncomplete},
		"its own name":    {Definition{ID: customRole, Name: "CUSTOM"}, nil},
		"renaming itself": {Definition{ID: customRole, Name: "Renamed"}, nil},
	} {
		y := New(BuiltIn())
		define(t, y, Permission{})
		if err := y.PutDefinition(tc.def); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if !x.DeleteDefinition(customRole) || x.DeleteDefinition(customRole) || x.DeleteDefinition(sbdr) {
		t.Error("DeleteDefinition removes a custom role once and a built-in one never")
	}
	if _, ok := x.Definition(customRole); ok || allowed(x, control(oe+"/write", epA)) {
		t.Error("a deleted role is still there")
	}
	if err := x.PutDefinition(Definition{ID: "other", Name: "Custom"}); err != nil {
		t.Errorf("the name of a deleted role stays taken: %v", err)
	}
}

func TestAssignments(t *testing.T) {
	x := New(BuiltIn())
	const bob = "22222222-0000-4000-8000-000000000002"
	grant(t, x, alice.ObjectID, subS, reader)
	grant(t, x, alice.ObjectID, acct, sbdr)
	grant(t, x, alice.ObjectID, contC, sbdr)
	grant(t, x, bob, acct, sbdr, reader)
	grant(t, x, bob, acct2, sbdr)
	grant(t, x, bob, "/", reader)
	for _, tc := range []struct {
		name   string
		filter Filter
		want   int
	}{
		{"all", Filter{}, 7},
		{"principal", Filter{PrincipalID: strings.ToUpper(bob)}, 4},
		{"stranger", Filter{PrincipalID: "x"}, 0},
		{"role", Filter{RoleDefinitionID: subS + "/providers/Microsoft.Authorization/roleDefinitions/" + sbdr}, 4},
		{"everything about a scope", Filter{Scope: acct}, 6},
		{"at or above", Filter{Scope: strings.ToUpper(acct), Reach: AtScope | AboveScope}, 5},
		{"at", Filter{Scope: acct, Reach: AtScope}, 3},
		{"above", Filter{Scope: acct, Reach: AboveScope}, 2},
		{"below", Filter{Scope: acct, Reach: BelowScope}, 1},
		{"below the root", Filter{Scope: "/", Reach: BelowScope}, 6},
		{"principal at or above", Filter{PrincipalID: alice.ObjectID, Scope: acct, Reach: AtScope | AboveScope}, 2},
	} {
		got := x.Assignments(tc.filter)
		if len(got) != tc.want {
			t.Errorf("%s: %d assignments, want %d: %+v", tc.name, len(got), tc.want, got)
		}
	}
	found, ok := x.Find(bob, sbdr, strings.ToUpper(acct)+"/")
	if !ok || found.Scope != acct {
		t.Errorf("Find: %+v", found)
	}
	if _, ok := x.Find(bob, sbdr, contC); ok {
		t.Error("Find went beyond the exact scope")
	}

	// Putting the same id again moves the assignment.
	found.Scope = contD
	if err := x.Put(found); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Find(bob, sbdr, acct); ok || len(x.Assignments(Filter{})) != 7 {
		t.Error("a replaced assignment is still where it was")
	}
	if !x.Delete(strings.ToUpper(found.ID)) || x.Delete(found.ID) {
		t.Error("Delete removes an assignment once")
	}
	if _, ok := x.Assignment(found.ID); ok || len(x.Assignments(Filter{PrincipalID: bob})) != 3 {
		t.Error("a deleted assignment is still there")
	}
	for _, bad := range []Assignment{
		{RoleDefinitionID: sbdr, PrincipalID: bob, Scope: acct},
		{ID: "i", PrincipalID: bob, Scope: acct},
		{ID: "i", RoleDefinitionID: sbdr, Scope: acct},
		{ID: "i", RoleDefinitionID: sbdr, PrincipalID: bob},
	} {
		if err := x.Put(bad); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestDeletedAssignmentGrantsNothing(t *testing.T) {
	x := New(BuiltIn())
	grant(t, x, alice.ObjectID, acct, sbdr)
	for _, a := range x.Assignments(Filter{PrincipalID: alice.ObjectID}) {
		x.Delete(a.ID)
	}
	if allowed(x, data(blobRead, contC)) {
		t.Error("a deleted assignment grants")
	}
}

func TestGroups(t *testing.T) {
	x := New(BuiltIn())
	grant(t, x, "outer", acct, sbdr)
	grant(t, x, "outer", acct2, contributor)
	check := data(blobRead, contC)
	x.SetMembers("inner", []string{strings.ToUpper(alice.ObjectID)})
	if allowed(x, check) {
		t.Fatal("allowed without membership")
	}
	x.SetMembers("outer", []string{"inner"})
	if !allowed(x, check) {
		t.Error("a nested group's role does not reach its member")
	}
	x.SetMembers("inner", []string{alice.ObjectID, "outer"}) // a circle must end
	if !allowed(x, check) {
		t.Error("a circle of groups hides the role")
	}
	if got := x.Assignments(Filter{PrincipalID: alice.ObjectID, ThroughGroups: true}); len(got) != 2 {
		t.Errorf("assigned through groups: %+v", got)
	}
	d := x.Decide(t.Context(), alice, data(blobRead, acct2))
	if d.Allowed || len(d.Misses) != 2 || !strings.HasSuffix(d.Misses[0].Reason, "(held through group outer)") {
		t.Errorf("%+v", d)
	}
	x.SetMembers("outer", nil)
	if allowed(x, check) {
		t.Error("allowed after the membership ended")
	}
}

// For the race detector: readers and writers at once.
func TestConcurrentUse(t *testing.T) {
	x := New(BuiltIn())
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 50 {
				a := Assignment{ID: fmt.Sprintf("%s/%d/%d", acct, n, i), RoleDefinitionID: sbdr, PrincipalID: alice.ObjectID, Scope: acct}
				if err := x.Put(a); err != nil {
					t.Error(err)
				}
				if !allowed(x, data(blobRead, contC)) {
					t.Error("refused while an assignment is there")
				}
				allowed(x, data(blobs+"/write", contC))
				if err := x.PutDefinition(Definition{ID: fmt.Sprint("r", n), Name: fmt.Sprint("r", n), Permissions: []Permission{{Actions: []string{"*"}}}}); err != nil {
					t.Error(err)
				}
				x.Assignments(Filter{Scope: acct})
				x.SetMembers("g", []string{fmt.Sprint(i)})
				x.Decide(t.Context(), azure.Principal{ObjectID: "nobody"}, data(blobRead, contC))
				x.Delete(a.ID)
			}
		})
	}
	wg.Wait()
}
