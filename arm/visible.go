package arm

import (
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// May asks RBAC about the caller without refusing the request and without
// leaving a denial in the audit log.
func (r *Request) May(check azure.Check) bool {
	return r.service.deps.Authorizer.Decide(r.Context(), r.Caller(), check).Allowed
}

// Visible lists the resources of a type below the request's scope that the
// caller may read; the row's Action is the question. ARM filters its lists: who
// has a role on one group only sees that group's resources in a list of the
// subscription (`az storage ... --account-name` depends on it) and is refused
// only when there is no place in it they may read.
func (r *Request) Visible(resourceType string) ([]*Record, error) {
	var all, groups []*Record
	err := r.service.deps.Documents.View(r.Context(), func(tx store.ReadTx) (err error) {
		if all, err = List(tx, r.Scope, resourceType); err != nil {
			return err
		}
		groups, err = List(tx, r.Scope, "Microsoft.Resources/resourceGroups")
		return err
	})
	if err != nil {
		return nil, err
	}
	check := azure.Check{Action: r.row.Action, Scope: r.Scope}
	if r.May(check) {
		return all, nil
	}
	out := []*Record{}
	for _, rec := range all {
		if r.May(azure.Check{Action: r.row.Action, Scope: rec.ID}) {
			out = append(out, rec)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, group := range groups {
		if r.May(azure.Check{Action: r.row.Action, Scope: group.ID}) {
			return out, nil
		}
	}
	return nil, r.Require(check)
}

// CanonicalLocation is a region as ARM stores it: "East US" is "eastus".
func CanonicalLocation(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, " ", ""))
}
