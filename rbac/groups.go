package rbac

import "strings"

// SetMembers replaces the direct members of a group, by object id. Members may
// be groups themselves. A group with no members is forgotten.
func (x *Index) SetMembers(group string, members []string) {
	group = strings.ToLower(group)
	x.mu.Lock()
	defer x.mu.Unlock()
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

// identitiesLocked appends the principal and every group it belongs to,
// directly or through other groups. The principal comes first.
func (x *Index) identitiesLocked(principal string, into []string) []string {
	into = append(into, principal)
	if len(x.groupsOf[principal]) == 0 {
		return into
	}
	seen := map[string]struct{}{principal: {}}
	for i := 0; i < len(into); i++ {
		for group := range x.groupsOf[into[i]] {
			if _, ok := seen[group]; !ok {
				seen[group] = struct{}{}
				into = append(into, group)
			}
		}
	}
	return into
}
