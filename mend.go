package amlocal

import (
	"context"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// assignable makes an entry's proposals ones that can be carried out: a role
// for something that is not there yet (the endpoint to be created) has to be
// assigned around it, because Azure takes no assignment on what does not exist.
func (e *Emulator) assignable(ctx context.Context, entry audit.Entry) audit.Entry {
	entry.Decisions = slices.Clone(entry.Decisions)
	_ = e.store.View(ctx, func(tx store.ReadTx) error { // what cannot be read stays as it is
		for i := range entry.Decisions {
			d := &entry.Decisions[i]
			d.Fixes = slices.Clone(d.Fixes)
			for j := range d.Fixes {
				fix := &d.Fixes[j]
				if scope := existing(tx, fix.Scope); scope != fix.Scope {
					fix.Scope = scope
					fix.Command = rbac.AssignCommand(d.Principal, fix.Role, scope)
				}
			}
		}
		return nil
	})
	return entry
}

// existing is a scope a role can be assigned at: itself, or the nearest one
// around it that exists. Assignments and role definitions are no scopes.
func existing(tx store.ReadTx, scope string) string {
	scope = rbac.AssignableScope(scope)
	id, err := azure.ParseResourceID(scope)
	if err != nil {
		return scope
	}
	for cur, ok := id, true; ok; cur, ok = cur.Parent() {
		if !slices.ContainsFunc(tracked, func(t string) bool { return strings.EqualFold(t, cur.Type()) }) &&
			!strings.EqualFold(cur.Type(), "Microsoft.Resources/resourceGroups") {
			continue
		}
		if _, found, err := arm.Get(tx, cur.String()); err == nil && !found {
			if parent, ok := cur.Parent(); ok {
				scope = parent.String()
			}
		}
	}
	return scope
}
