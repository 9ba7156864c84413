package entra

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

var (
	groupG = azure.Principal{ObjectID: "88888888-0000-0000-0000-000000000001", TenantID: tid, Type: azure.Group, Name: "g"}
	groupH = azure.Principal{ObjectID: "88888888-0000-0000-0000-000000000002", TenantID: tid, Type: azure.Group, Name: "h"}
)

func newGroups(t *testing.T, told map[string][]string) world {
	t.Helper()
	w := newWorld(t, func(d *Deps) {
		d.MembersChanged = func(group string, members []string) { told[group] = members }
	})
	w.update(t, func(tx store.Tx) error {
		return errors.Join(w.PutPrincipal(tx, groupG), w.PutPrincipal(tx, groupH),
			w.AddMember(tx, groupG.ObjectID, groupH.ObjectID), w.AddMember(tx, groupH.ObjectID, principalC.ObjectID),
			w.AddMember(tx, groupH.ObjectID, principalC.ObjectID), w.AddMember(tx, groupH.ObjectID, systemA.ObjectID))
	})
	return w
}

func TestMembers(t *testing.T) {
	told := map[string][]string{}
	w := newGroups(t, told)
	want := []string{systemA.ObjectID, principalC.ObjectID}
	if !slices.Equal(told[groupH.ObjectID], want) || !slices.Equal(told[groupG.ObjectID], []string{groupH.ObjectID}) {
		t.Errorf("told %v", told)
	}
	w.view(t, func(tx store.ReadTx) {
		if got := w.Members(tx, groupH.ObjectID); !slices.Equal(got, want) {
			t.Errorf("members %v", got)
		}
	})
	for _, tt := range []struct {
		name, group, member string
		want                error
	}{
		{"into itself", groupG.ObjectID, groupG.ObjectID, ErrCycle},
		{"into its own member", groupH.ObjectID, groupG.ObjectID, ErrCycle},
		{"into an application", principalC.ObjectID, groupG.ObjectID, ErrNotAGroup},
		{"a stranger", groupG.ObjectID, "99999999-0000-0000-0000-000000000000", ErrNoPrincipal},
		{"into a stranger", "99999999-0000-0000-0000-000000000000", groupG.ObjectID, ErrNoPrincipal},
	} {
		err := w.docs.Update(context.Background(), func(tx store.Tx) error { return w.AddMember(tx, tt.group, tt.member) })
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	w.update(t, func(tx store.Tx) error {
		was, err := w.RemoveMember(tx, groupH.ObjectID, principalC.ObjectID)
		again, err2 := w.RemoveMember(tx, groupH.ObjectID, principalC.ObjectID)
		if !was || again {
			t.Errorf("removed %t, then %t", was, again)
		}
		return errors.Join(err, err2)
	})
	if got := told[groupH.ObjectID]; !slices.Equal(got, []string{systemA.ObjectID}) {
		t.Errorf("after the removal: %v", got)
	}
}

func TestMembersOutliveARestartAndEndWithTheirPrincipal(t *testing.T) {
	told := map[string][]string{}
	w := newGroups(t, told)
	again := map[string][]string{}
	newWorld(t, func(d *Deps) {
		d.Documents = w.docs
		d.MembersChanged = func(group string, members []string) { again[group] = members }
	})
	if len(again) != 2 || len(again[groupH.ObjectID]) != 2 {
		t.Errorf("after a restart: %v", again)
	}
	w.update(t, func(tx store.Tx) error { return w.DeletePrincipal(tx, groupH.ObjectID) })
	if len(told[groupG.ObjectID]) != 0 || len(told[groupH.ObjectID]) != 0 {
		t.Errorf("the deleted group lives on: %v", told)
	}
}
