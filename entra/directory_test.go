package entra

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

func TestDirectory(t *testing.T) {
	w := newWorld(t)
	w.view(t, func(tx store.ReadTx) {
		if p, ok := w.Principal(tx, systemA.ObjectID); !ok || p != systemA {
			t.Errorf("by object id: %+v", p)
		}
		if p, ok := w.PrincipalByAppID(tx, userB.AppID); !ok || p != userB {
			t.Errorf("by client id: %+v", p)
		}
		if p, ok := w.PrincipalByResourceID(tx, "/SUBSCRIPTIONS/s/resourcegroups/g/providers/microsoft.managedidentity/userassignedidentities/B/"); !ok || p != userB {
			t.Errorf("by resource id, spelled otherwise: %+v", p)
		}
		for _, none := range []string{"", "x"} {
			_, a := w.Principal(tx, none)
			_, b := w.PrincipalByAppID(tx, none)
			_, c := w.PrincipalByResourceID(tx, none)
			if a || b || c {
				t.Errorf("%q found something", none)
			}
		}
		if diff := cmp.Diff([]azure.Principal{systemA, userB, principalC}, w.Principals(tx)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPutPrincipalMovesIndexes(t *testing.T) {
	w := newWorld(t)
	moved := userB
	moved.AppID, moved.ResourceID = "aaaaaaaa-0000-0000-0000-000000000000", userB.ResourceID+"2"
	w.update(t, func(tx store.Tx) error { return w.PutPrincipal(tx, moved) })
	w.view(t, func(tx store.ReadTx) {
		if _, ok := w.PrincipalByAppID(tx, userB.AppID); ok {
			t.Error("the old client id still leads somewhere")
		}
		if _, ok := w.PrincipalByResourceID(tx, userB.ResourceID); ok {
			t.Error("the old resource id still leads somewhere")
		}
		if p, ok := w.PrincipalByAppID(tx, moved.AppID); !ok || p != moved {
			t.Errorf("%+v", p)
		}
	})
}

func TestPutPrincipalRefuses(t *testing.T) {
	w := newWorld(t)
	thief := principalC
	thief.AppID = systemA.AppID
	twin := azure.Principal{ObjectID: "bbbbbbbb-0000-0000-0000-000000000000", ResourceID: userB.ResourceID}
	for name, p := range map[string]azure.Principal{"no object id": {AppID: "x"}, "client id of another": thief, "resource of another": twin} {
		if err := w.docs.Update(t.Context(), func(tx store.Tx) error { return w.PutPrincipal(tx, p) }); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDeletePrincipal(t *testing.T) {
	w := newWorld(t)
	w.update(t, func(tx store.Tx) error {
		if err := w.DeletePrincipal(tx, "nobody"); err != nil {
			return err
		}
		return w.DeletePrincipal(tx, userB.ObjectID)
	})
	w.view(t, func(tx store.ReadTx) {
		_, a := w.Principal(tx, userB.ObjectID)
		_, b := w.PrincipalByAppID(tx, userB.AppID)
		_, c := w.PrincipalByResourceID(tx, userB.ResourceID)
		if a || b || c {
			t.Errorf("left: %v %v %v", a, b, c)
		}
	})
	// The ids are free again.
	again := userB
	again.ObjectID = "cccccccc-0000-0000-0000-000000000000"
	w.update(t, func(tx store.Tx) error { return w.PutPrincipal(tx, again) })
}
