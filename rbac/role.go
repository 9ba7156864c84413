package rbac

import (
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
)

// role is a definition with its patterns compiled, once per definition.
type role struct {
	def  Definition
	sets []permissionSet
}

type permissionSet struct {
	actions, notActions         patterns
	dataActions, notDataActions patterns
	condition                   *condition
}

func compileRole(def Definition) *role {
	r := &role{def: def, sets: make([]permissionSet, len(def.Permissions))}
	for i, p := range def.Permissions {
		r.sets[i] = permissionSet{
			actions:        compilePatterns(p.Actions),
			notActions:     compilePatterns(p.NotActions),
			dataActions:    compilePatterns(p.DataActions),
			notDataActions: compilePatterns(p.NotDataActions),
			condition:      compileCondition(p.Condition),
		}
	}
	return r
}

// outcome says how near a role comes to allowing an action, worst first.
type outcome int8

const (
	// lacks: no permission set names the action.
	lacks outcome = iota
	// excluded: a set names it and the same set's exclusions take it out.
	excluded
	// conditional: a set grants it under a condition that is not known to hold.
	conditional
	// grants: a set allows it.
	grants
)

type verdict struct {
	outcome outcome
	// by is the exclusion's pattern, as written in the role.
	by string
}

// question is a Check in the form it is compared in.
type question struct {
	action string // lower case
	data   bool
	scope  string // a scope key
	// What conditions read: the scope in its own letters, the blob, the
	// prefix of a listing, the sub-operation in lower case.
	asked, blob, prefix, sub string
	attributes               azure.Attributes // and what else they read; nil: nothing
	clock                    clock.Clock      // of @Environment[UtcNow]; nil: no time
	// pool is the sabotage switch that makes one heap of actions and data actions.
	pool bool
}

// judge looks for a permission set that allows the action. Exclusions and
// conditions work inside their own set only.
func (r *role) judge(q question) verdict {
	best := verdict{}
	for i := range r.sets {
		if v := r.sets[i].judge(q); v.outcome > best.outcome {
			if best = v; v.outcome == grants {
				break
			}
		}
	}
	return best
}

func (s *permissionSet) judge(q question) verdict {
	granted, denied, other := &s.actions, &s.notActions, &s.dataActions
	if q.data {
		granted, denied, other = &s.dataActions, &s.notDataActions, &s.actions
	}
	_, ok := granted.match(q.action)
	if !ok && q.pool {
		_, ok = other.match(q.action)
	}
	if !ok {
		return verdict{outcome: lacks}
	}
	if by, out := denied.match(q.action); out {
		return verdict{excluded, by}
	}
	if !s.condition.holds(q) {
		return verdict{outcome: conditional}
	}
	return verdict{outcome: grants}
}

// names reports whether any set of the role names the action on the given
// plane, exclusions apart.
func (r *role) names(action string, data bool) bool {
	for i := range r.sets {
		list := &r.sets[i].actions
		if data {
			list = &r.sets[i].dataActions
		}
		if _, ok := list.match(action); ok {
			return true
		}
	}
	return false
}

// onPlane reports whether the role grants anything at all on the given plane.
func (r *role) onPlane(data bool) bool {
	for i := range r.sets {
		if data && !r.sets[i].dataActions.empty() || !data && !r.sets[i].actions.empty() {
			return true
		}
	}
	return false
}
