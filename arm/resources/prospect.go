package resources

import (
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/resources/template"
	"github.com/amlocal/amlocal/azure"
)

const assignmentType = "Microsoft.Authorization/roleAssignments"

// prospect is what conditions may read of a role assignment in a template, as
// far as it is known before anything is made.
type prospect struct {
	known azure.Attributes
	// later are the lower-cased properties that only the deployment can tell.
	later map[string]bool
	// missed says that one of those was asked for.
	missed bool
}

// Attribute is azure.Attributes'.
func (p *prospect) Attribute(name string) ([]string, bool) {
	property, mine := strings.CutPrefix(name, "@request["+strings.ToLower(assignmentType)+":")
	if mine && p.later[strings.TrimSuffix(property, "]")] {
		p.missed = true
		return nil, false
	}
	return p.known.Attribute(name)
}

// shownLater completes the question whether the caller may write a resource by
// what conditions read of it, and reports that the answer hangs on values which
// show only in the deployment: then the write itself is allowed or refused. What
// Azure does about such values before a deployment is unverified.
func (p *Provider) shownLater(r *arm.Request, res *template.Resource, check *azure.Check) bool {
	if !strings.EqualFold(res.Type, assignmentType) {
		return false
	}
	later := map[string]bool{}
	read := func(name string) string {
		value, ok := res.Property(name)
		if !ok {
			later[strings.ToLower(name)] = true
		}
		text, _ := value.(string)
		return text
	}
	role, principal, kind := read("roleDefinitionId"), read("principalId"), read("principalType")
	if kind == "" && later["principalid"] {
		later["principaltype"] = true // the directory knows it by the principal
	}
	attributes := &prospect{known: p.deps.Roles.AttributesOf(r.Context(), role, principal, kind), later: later}
	check.Attributes = attributes
	return !r.May(*check) && attributes.missed
}
