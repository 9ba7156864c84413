package rbac

import (
	"slices"
	"strings"
	"time"
)

// Reach says which assignments a Filter's scope selects; values are ORed.
type Reach uint8

// The reaches of a Filter.
const (
	// AtScope selects assignments at exactly the scope.
	AtScope Reach = 1 << iota
	// AboveScope selects those inherited from enclosing scopes.
	AboveScope
	// BelowScope selects those at narrower scopes.
	BelowScope
)

// Filter selects assignments. Its zero value selects all of them.
type Filter struct {
	// PrincipalID selects one principal's own assignments.
	PrincipalID string
	// ThroughGroups adds what PrincipalID holds through its groups, as ARM's
	// assignedTo() does.
	ThroughGroups bool
	// RoleDefinitionID selects one role's assignments.
	RoleDefinitionID string
	// Scope selects by place, as far as Reach says; a zero Reach means all three.
	Scope string
	Reach Reach
}

// Assignments returns the assignments the filter selects, ordered by scope and
// then id.
func (x *Index) Assignments(f Filter) []Assignment {
	scope := scopeKey(f.Scope)
	reach := f.Reach
	if reach == 0 {
		reach = AtScope | AboveScope | BelowScope
	}
	x.mu.RLock()
	defer x.mu.RUnlock()

	var principals []string
	if f.PrincipalID != "" {
		principals = append(principals, strings.ToLower(f.PrincipalID))
		if f.ThroughGroups {
			principals = x.identitiesLocked(principals[0], time.Time{}, nil)
		}
	}
	var found []*held
	take := func(h *held) {
		if h.leaving() {
			return
		}
		if principals != nil && !slices.Contains(principals, h.principal) {
			return
		}
		if f.RoleDefinitionID != "" && h.slot.id != RoleGUID(f.RoleDefinitionID) {
			return
		}
		if f.Scope != "" && !reach.selects(scope, h.scope) {
			return
		}
		found = append(found, h)
	}
	switch {
	case principals != nil:
		for _, p := range principals {
			for _, list := range x.byPrincipal[p] {
				for _, h := range list {
					take(h)
				}
			}
		}
	case f.Scope != "" && reach&BelowScope == 0:
		for key, ok := scope, true; ok; key, ok = parentKey(key) {
			for h := range x.byScope[key] {
				take(h)
			}
		}
	default:
		for _, h := range x.assignments {
			take(h)
		}
	}
	slices.SortFunc(found, func(a, b *held) int {
		if c := strings.Compare(a.scope, b.scope); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	out := make([]Assignment, len(found))
	for i, h := range found {
		out[i] = h.Assignment
	}
	return out
}

func (r Reach) selects(asked, at string) bool {
	switch {
	case asked == at:
		return r&AtScope != 0
	case keyContains(at, asked):
		return r&AboveScope != 0
	case keyContains(asked, at):
		return r&BelowScope != 0
	default:
		return false
	}
}

// Assignment finds an assignment by its ARM id.
func (x *Index) Assignment(id string) (Assignment, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	h := x.assignments[strings.ToLower(id)]
	if h == nil {
		return Assignment{}, false
	}
	return h.Assignment, true
}

// Find returns the assignment that already gives the role to the principal at
// exactly this scope: Azure refuses a second one (RoleAssignmentExists).
func (x *Index) Find(principalID, roleID, scope string) (Assignment, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, h := range x.byPrincipal[strings.ToLower(principalID)][scopeKey(scope)] {
		if h.slot.id == RoleGUID(roleID) && !h.leaving() {
			return h.Assignment, true
		}
	}
	return Assignment{}, false
}
