package rbac

import (
	"cmp"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// Grant is one assignment of a built-in role, and which needs it is for.
type Grant struct {
	Role, RoleID, Scope string
	Covers              []azure.Check
}

// Least proposes assignments of built-in roles that allow all needs: few, at
// the narrowest places, and among those the roles that give least else away.
// None can be left out. What no built-in role grants is returned apart.
//
// The places are those of Place. Enclosing ones are dealt with first, and what
// their roles allow below is not asked for again. At each place the role that
// covers most of what is open is taken, from the roles the documentation tells
// people to use first, and Contributor and Owner when nothing else does.
func (c *Catalog) Least(needs []azure.Check) (grants []Grant, without []azure.Check) {
	var open []need
	seen := map[azure.Check]bool{}
	for _, check := range needs {
		check.Scope = Place(check)
		check.Attributes = nil
		q := question{action: lower(check.Action), data: check.Data, scope: scopeKey(check.Scope)}
		if id := (azure.Check{Action: q.action, Data: q.data, Scope: q.scope}); !seen[id] {
			seen[id] = true
			open = append(open, need{check, q})
		}
	}
	slices.SortFunc(open, func(a, b need) int {
		return cmp.Or(cmp.Compare(strings.Count(a.q.scope, "/"), strings.Count(b.q.scope, "/")),
			strings.Compare(a.q.scope, b.q.scope), strings.Compare(a.q.action, b.q.action))
	})
	var chosen []choice
	for len(open) > 0 {
		var here, rest []need
		for _, n := range open {
			switch {
			case covered(chosen, n):
			case len(here) == 0 || n.q.scope == here[0].q.scope:
				here = append(here, n)
			default:
				rest = append(rest, n)
			}
		}
		picked, left := c.cover(here)
		chosen = append(chosen, picked...)
		for _, n := range left {
			without = append(without, n.check)
		}
		open = rest
	}
	for _, p := range chosen {
		g := Grant{Role: p.role.name, RoleID: p.role.id, Scope: p.at.check.Scope}
		for _, n := range p.covers {
			g.Covers = append(g.Covers, n.check)
		}
		grants = append(grants, g)
	}
	return grants, without
}

type need struct {
	check azure.Check
	q     question
}

type choice struct {
	role   *builtin
	at     need // any need at the place
	covers []need
}

func covered(chosen []choice, n need) bool {
	return slices.ContainsFunc(chosen, func(p choice) bool {
		return keyContains(p.at.q.scope, n.q.scope) && p.role.compiled().judge(n.q).outcome == grants
	})
}

// cover chooses roles for the needs of one place.
func (c *Catalog) cover(needs []need) (picked []choice, left []need) {
	open := slices.Clone(needs)
	for tier := wellKnown; tier <= stranger; tier++ {
		for len(open) > 0 {
			best := c.best(open, tier)
			if len(best.covers) == 0 {
				break
			}
			picked = append(picked, best)
			open = slices.DeleteFunc(open, func(n need) bool { return best.role.compiled().judge(n.q).outcome == grants })
		}
	}
	// A later choice may have made an earlier one superfluous.
	for i := 0; i < len(picked); i++ {
		others := slices.Delete(slices.Clone(picked), i, i+1)
		if !slices.ContainsFunc(needs, func(n need) bool {
			return covered(picked, n) && !covered(others, n)
		}) {
			picked, i = others, -1
		}
	}
	for i, p := range picked {
		picked[i].covers = slices.DeleteFunc(slices.Clone(needs), func(n need) bool { return p.role.compiled().judge(n.q).outcome != grants })
	}
	return picked, open
}

// best is the role up to a tier that covers most; of equals the one that gives
// least else away.
func (c *Catalog) best(open []need, tier int) (best choice) {
	for _, b := range c.ordered {
		if b.compiled(); len(b.rec.AssignableScopes) > 0 {
			continue
		}
		var got []need
		for _, n := range open {
			if b.tier(n.q.action) <= tier && b.compiled().judge(n.q).outcome == grants {
				got = append(got, n)
			}
		}
		if len(got) == 0 {
			continue
		}
		if best.role == nil || len(got) > len(best.covers) || len(got) == len(best.covers) && b.rec.breadth() < best.role.rec.breadth() {
			best = choice{role: b, at: got[0], covers: got}
		}
	}
	return best
}

// Place is the narrowest scope at which people assign a role for what was done
// at check's scope: the blob container for its data, else the resource that
// stands in the resource group (account, registry, workspace), else group or
// subscription. What makes or deletes such a resource needs its role around it.
func Place(check azure.Check) string {
	check.Scope = AssignableScope(check.Scope)
	seg := strings.Split(strings.TrimRight(check.Scope, "/"), "/")
	const top = 9 // "", subscriptions, S, resourceGroups, G, providers, NS, type, name
	if len(seg) < top || !strings.EqualFold(seg[1], "subscriptions") || !strings.EqualFold(seg[3], "resourceGroups") || !strings.EqualFold(seg[5], "providers") {
		return check.Scope
	}
	kind := seg[6] + "/" + seg[7]
	if check.Data {
		if strings.EqualFold(kind, "Microsoft.Storage/storageAccounts") && len(seg) >= top+4 && strings.EqualFold(seg[11], "containers") {
			return strings.Join(seg[:top+4], "/")
		}
		return strings.Join(seg[:top], "/")
	}
	if len(seg) == top && (strings.EqualFold(check.Action, kind+"/write") || strings.EqualFold(check.Action, kind+"/delete")) {
		return strings.Join(seg[:5], "/")
	}
	return strings.Join(seg[:top], "/")
}

// AssignableScope is what a role assignment or definition is about, when scope
// is the id of one; any other scope is itself.
func AssignableScope(scope string) string {
	i := strings.LastIndex(strings.ToLower(scope), "/providers/microsoft.authorization/")
	switch {
	case i < 0:
		return scope
	case i == 0:
		return "/"
	}
	return scope[:i]
}

// AssignCommand is the line that gives a role to a principal at a scope.
func AssignCommand(who azure.Principal, role, scope string) string {
	return assignCommand(who, role, scope)
}
