package rbac

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
)

func TestDelay(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	x := New(BuiltIn())
	who := azure.Principal{ObjectID: "10000000-0000-0000-0000-000000000001", Type: azure.ServicePrincipal}
	before := azure.Principal{ObjectID: "10000000-0000-0000-0000-000000000002", Type: azure.ServicePrincipal}
	check := azure.Check{Action: "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", Data: true, Scope: acct}
	assign := func(id string, p azure.Principal, condition string) {
		t.Helper()
		if err := x.Put(Assignment{ID: id, RoleDefinitionID: sbdr, PrincipalID: p.ObjectID, Scope: acct, Condition: condition}); err != nil {
			t.Fatal(err)
		}
	}
	decide := func(name string, p azure.Principal, want bool) azure.Decision {
		t.Helper()
		d := x.Decide(context.Background(), p, check)
		if d.Allowed != want {
			t.Errorf("%s: allowed %t, want %t: %+v", name, d.Allowed, want, d.Misses)
		}
		return d
	}
	assign("old", before, "")
	x.SetDelay(c, 5*time.Minute)
	decide("what was there", before, true)

	assign("new", who, "")
	if d := decide("just assigned", who, false); len(d.Misses) != 1 || !strings.Contains(d.Misses[0].Reason, "takes effect at 2026-03-01T12:05:00Z") {
		t.Errorf("misses %+v", d.Misses)
	}
	if _, ok := x.Find(who.ObjectID, sbdr, acct); !ok {
		t.Error("a pending assignment is not listed")
	}
	c.Advance(5*time.Minute - time.Second)
	decide("a second early", who, false)
	c.Advance(time.Second)
	decide("in time", who, true)

	x.Delete("new")
	if len(x.Assignments(Filter{PrincipalID: who.ObjectID})) != 0 {
		t.Error("a deleted assignment is listed")
	}
	c.Advance(5*time.Minute - time.Second)
	decide("deleted, a second early", who, true)
	c.Advance(time.Second)
	if d := decide("deleted, in time", who, false); len(d.Misses) != 0 {
		t.Errorf("what was deleted comes near: %+v", d.Misses)
	}

	// The same again stays in effect, whatever is written meanwhile.
	assign("old", before, "")
	for range 12 {
		decide("written again", before, true)
		c.Advance(time.Minute)
	}
	// Given and taken away within the delay never counts.
	assign("flash", who, "")
	c.Advance(time.Minute)
	x.Delete("flash")
	for range 12 {
		decide("given and taken", who, false)
		c.Advance(time.Minute)
	}
	x.Delete("old")
	c.Advance(time.Hour)
	assign("last", who, "")
	if n := len(x.retired); n != 1 { // swept by the next deletion
		t.Errorf("%d retired", n)
	}
	x.Delete("last")
	if len(x.byPrincipal) != 0 || len(x.retired) != 0 {
		t.Errorf("something is left: %d lists, %d retired", len(x.byPrincipal), len(x.retired))
	}
}

// TestReadsStorage: a storage service looks nothing up for conditions unless
// one reads it, and that counts while the assignment is in effect.
func TestReadsStorage(t *testing.T) {
	const (
		tag  = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags:Project<$key_case_sensitive$>] StringEquals 'x'"
		path = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'x*'"
		role = "@Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEquals 'User'"
	)
	c := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	x := New(BuiltIn())
	put := func(id, condition string, want bool) {
		t.Helper()
		if err := x.Put(Assignment{ID: id, RoleDefinitionID: sbdr, PrincipalID: "p", Scope: acct, Condition: condition}); err != nil {
			t.Fatal(err)
		}
		if got := x.ReadsStorage(); got != want {
			t.Errorf("after %q: %t", condition, got)
		}
	}
	put("a", "", false)
	put("b", path+" AND "+role, false)
	put("c", "!(ActionMatches{'a/b'}) OR ("+path+" AND "+tag+")", true)
	put("c", path, false)
	put("c", path+" AND @Resource[Microsoft.Storage/storageAccounts:name] StringEquals @Resource[Microsoft.Storage/storageAccounts/blobServices/containers/metadata:of]", true)
	put("d", tag, true)
	x.Delete("c")
	if !x.ReadsStorage() {
		t.Error("one is left")
	}
	x.SetDelay(c, time.Minute)
	x.Delete("d")
	if !x.ReadsStorage() {
		t.Error("the deleted one is in effect yet")
	}
	c.Advance(time.Hour)
	x.Delete("a")
	if x.ReadsStorage() {
		t.Error("none is left")
	}
}
