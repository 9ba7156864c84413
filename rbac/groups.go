package rbac

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
)

// SetMembers replaces the direct members of a group, by object id. Members may
// be groups themselves. A group with no members is forgotten.
func (x *Index) SetMembers(group string, members []string) {
	group = strings.ToLower(group)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.remember != nil {
		if len(x.history) == maxHistory {
			x.history = slices.Delete(x.history, 0, maxHistory/2)
		}
		x.history = append(x.history, memberChange{x.remember.Now(), group, x.membersOf[group]})
	}
	for member := range x.membersOf[group] {
		delete(x.groupsOf[member], group)
		if len(x.groupsOf[member]) == 0 {
			delete(x.groupsOf, member)
		}
	}
	delete(x.membersOf, group)
	if len(members) == 0 {
		return
	}
	set := make(map[string]struct{}, len(members))
	for _, member := range members {
		member = strings.ToLower(member)
		set[member] = struct{}{}
		if x.groupsOf[member] == nil {
			x.groupsOf[member] = make(map[string]struct{})
		}
		x.groupsOf[member][group] = struct{}{}
	}
	x.membersOf[group] = set
}

// memberChange is what a group's members were until a moment.
type memberChange struct {
	at     time.Time
	group  string
	before map[string]struct{}
}

// maxHistory bounds what is remembered; older memberships count as the oldest
// that is.
const maxHistory = 10_000

// KeepMemberships remembers memberships that change from now on, so that a
// principal with MembershipsAsOf is judged by those of that time.
func (x *Index) KeepMemberships(c clock.Clock) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remember = c
}

// groupsAsOfLocked undoes the changes made after a time, the newest first.
func (x *Index) groupsAsOfLocked(asOf time.Time) map[string]map[string]struct{} {
	members := maps.Clone(x.membersOf)
	for _, change := range slices.Backward(x.history) {
		if !change.at.After(asOf) {
			break
		}
		members[change.group] = change.before
	}
	out := make(map[string]map[string]struct{})
	for group, set := range members {
		for member := range set {
			if out[member] == nil {
				out[member] = make(map[string]struct{})
			}
			out[member][group] = struct{}{}
		}
	}
	return out
}

// identitiesLocked appends the principal and every group it belongs to,
// directly or through other groups. The principal comes first.
func (x *Index) identitiesLocked(principal string, asOf time.Time, into []string) []string {
	into = append(into, principal)
	groupsOf := x.groupsOf
	if n := len(x.history); n > 0 && !asOf.IsZero() && x.history[n-1].at.After(asOf) {
		groupsOf = x.groupsAsOfLocked(asOf)
	}
	if len(groupsOf[principal]) == 0 {
		return into
	}
	seen := map[string]struct{}{principal: {}}
	for i := 0; i < len(into); i++ {
		for group := range groupsOf[into[i]] {
			if _, ok := seen[group]; !ok {
				seen[group] = struct{}{}
				into = append(into, group)
			}
		}
	}
	return into
}

// IsMember reports whether a principal belongs to a group, directly or through
// other groups.
func (x *Index) IsMember(who azure.Principal, group string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := x.identitiesLocked(strings.ToLower(who.ObjectID), who.MembershipsAsOf, nil)
	return slices.Contains(all[1:], strings.ToLower(group))
}
