package rbac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// maxMisses bounds the explanation; the nearest are kept.
const maxMisses = 10

// nearness ranks a miss; the lowest is what the user should read first.
type nearness int

const (
	// pending: right role and scope, not in effect yet.
	pending nearness = iota
	// wrongID: right role and scope, given to the client id instead of the object id.
	wrongID
	// underCondition: right role and scope, but a condition stands in between.
	underCondition
	// byExclusion: the scope covers, and the role's exclusions take the action out.
	byExclusion
	// elsewhere: right role, another scope.
	elsewhere
	// noRole: the scope covers, the role does not exist.
	noRole
	// lacking: the scope covers, the role lacks the action.
	lacking
)

type nearMiss struct {
	azure.Miss
	near     nearness
	distance int // smaller is nearer
}

func (x *Index) missesLocked(ids []string, who azure.Principal, check azure.Check, q question) []azure.Miss {
	var found []nearMiss
	for _, id := range ids {
		for _, list := range x.byPrincipal[id] {
			for _, h := range list {
				if h.leaving() {
					continue
				}
				m, ok := h.miss(check, q)
				if !ok {
					continue
				}
				if m.near == pending {
					m.Reason = x.pendingReasonLocked(h)
				}
				if id != ids[0] {
					m.Reason += fmt.Sprintf(" (held through group %s)", id)
				}
				found = append(found, m)
			}
		}
	}
	found = append(found, x.clientIDMissesLocked(who, q)...)
	slices.SortFunc(found, func(a, b nearMiss) int {
		return cmp.Or(
			cmp.Compare(a.near, b.near),
			cmp.Compare(a.distance, b.distance),
			strings.Compare(a.Assignment, b.Assignment),
		)
	})
	found = found[:min(len(found), maxMisses)]
	var out []azure.Miss
	for _, m := range found {
		out = append(out, m.Miss)
	}
	return out
}

// miss explains why h did not allow the check; ok is false if it did not even
// come near.
func (h *held) miss(check azure.Check, q question) (m nearMiss, ok bool) {
	m = h.missOf(q)
	r := h.slot.role()
	v := h.judge(q)
	covers := keyContains(h.scope, q.scope)
	switch {
	case !covers && v.outcome == grants && keyContains(q.scope, h.scope):
		m.near = elsewhere
		m.Reason = fmt.Sprintf("assigned at %s, which is narrower than the scope asked for, %s", h.Scope, check.Scope)
	case !covers && v.outcome == grants:
		m.near = elsewhere
		m.Reason = fmt.Sprintf("assigned at %s, which does not contain %s", h.Scope, check.Scope)
	case !covers:
		return m, false
	case r == nil:
		m.near = noRole
		m.Reason = fmt.Sprintf("the role definition %s does not exist", h.slot.id)
	case v.outcome == grants: // the caller says until when it is not in effect
		m.near = pending
	case v.outcome == conditional:
		m.near = underCondition
		m.Reason = fmt.Sprintf("role %q grants %s only under a condition, which this request does not fulfil%s", r.def.Name, check.Action, h.conditionText())
	case v.outcome == excluded:
		list := "notActions"
		if q.data {
			list = "notDataActions"
		}
		m.near = byExclusion
		m.Reason = fmt.Sprintf("role %q: %s is excluded by %s %s", r.def.Name, check.Action, list, v.by)
	default:
		m.near = lacking
		m.Reason = lackReason(r, check, q)
	}
	return m, true
}

// conditionText is the assignment's own condition, or what of it is never
// fulfilled here.
func (h *held) conditionText() string {
	switch err := CheckCondition(h.Condition); {
	case err != nil:
		return ": " + err.Error()
	case h.Condition != "":
		return ": " + h.Condition
	}
	return "" // the role's
}

func (h *held) missOf(q question) nearMiss {
	name := h.slot.id
	if r := h.slot.role(); r != nil {
		name = r.def.Name
	}
	return nearMiss{
		Miss:     azure.Miss{Assignment: h.ID, Role: name, Scope: h.Scope},
		distance: strings.Count(h.scope, "/") + strings.Count(q.scope, "/") - 2*(sharedSegments(h.scope, q.scope)-1),
	}
}

func lackReason(r *role, check azure.Check, q question) string {
	plane, other, list := "a control action", "data actions", "dataActions"
	if q.data {
		plane, other, list = "a data action", "control actions", "actions"
	}
	switch {
	case !r.onPlane(q.data) && r.onPlane(!q.data):
		return fmt.Sprintf("role %q grants %s only; %s is %s", r.def.Name, other, check.Action, plane)
	case r.names(q.action, !q.data):
		return fmt.Sprintf("role %q has %s among its %s, where it grants nothing: it is %s", r.def.Name, check.Action, list, plane)
	default:
		return fmt.Sprintf("role %q does not grant %s", r.def.Name, check.Action)
	}
}

// clientIDMissesLocked finds assignments made out to the client id of the
// principal, the usual slip with user-assigned identities: a role is given to
// the object (principal) id, the client id only selects the identity.
func (x *Index) clientIDMissesLocked(who azure.Principal, q question) []nearMiss {
	appID := strings.ToLower(who.AppID)
	if appID == "" || appID == strings.ToLower(who.ObjectID) {
		return nil
	}
	var found []nearMiss
	for _, list := range x.byPrincipal[appID] {
		for _, h := range list {
			if h.leaving() || !keyContains(h.scope, q.scope) || h.judge(q).outcome != grants {
				continue
			}
			m := h.missOf(q)
			m.near = wrongID
			m.Reason = fmt.Sprintf("assigned to the client id %s; a role must be assigned to the object id, %s", who.AppID, who.ObjectID)
			found = append(found, m)
		}
	}
	return found
}
