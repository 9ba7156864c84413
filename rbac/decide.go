package rbac

import (
	"context"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// Decide answers a check: allowed if any assignment of the principal, or of a
// group it belongs to, covers the scope with a role that grants the action. The
// nearest assignment is named. A refusal carries its reasons. A check without a
// principal, an action or a scope is refused.
func (x *Index) Decide(_ context.Context, who azure.Principal, check azure.Check) azure.Decision {
	d := azure.Decision{Principal: who, Check: check}
	d.Check.Attributes = nil // they hold the request
	if x.sabotage.AllowAll {
		d.Allowed, d.Role = true, "sabotage: allow-all"
		return d
	}
	q := question{
		action:     lower(check.Action),
		data:       check.Data,
		scope:      scopeKey(check.Scope),
		asked:      check.Scope,
		blob:       check.Blob,
		prefix:     check.Prefix,
		sub:        strings.ToLower(check.SubOperation),
		attributes: check.Attributes,
		pool:       x.sabotage.PoolDataActions,
	}
	principal := strings.ToLower(who.ObjectID)
	complete := q.action != "" && check.Scope != ""

	if complete && principal != "" {
		x.mu.RLock()
		q.clock = x.clock
		var few [4]string
		ids := x.identitiesLocked(principal, who.MembershipsAsOf, few[:0])
		if h := x.allowingLocked(ids, q); h != nil {
			d.Allowed, d.Assignment, d.Role = true, h.ID, h.slot.role().def.Name
		} else {
			d.Misses = x.missesLocked(ids, who, check, q)
		}
		x.mu.RUnlock()
	}
	if !d.Allowed && complete {
		d.Fixes = x.advisor.fixes(who, check, q)
	}
	return d
}

// allowingLocked walks from the scope asked for up to the root: a look-up a
// segment, however many assignments there are elsewhere.
func (x *Index) allowingLocked(ids []string, q question) *held {
	for _, id := range ids {
		scopes := x.byPrincipal[id]
		if len(scopes) == 0 {
			continue
		}
		if x.sabotage.IgnoreScope {
			for _, list := range scopes {
				if h := x.grantingLocked(list, q); h != nil {
					return h
				}
			}
			continue
		}
		for key, ok := q.scope, true; ok; key, ok = parentKey(key) {
			if h := x.grantingLocked(scopes[key], q); h != nil {
				return h
			}
		}
	}
	return nil
}

func (x *Index) grantingLocked(list []*held, q question) *held {
	for _, h := range list {
		if h.judge(q).outcome == grants && x.inEffectLocked(h) {
			return h
		}
	}
	return nil
}
