package rbac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/amlocal/amlocal/azure"
)

// maxFixes is how many roles are proposed; more is no help.
const maxFixes = 3

// maxAdvice bounds the advisor's memory. Actions come from operation tables, of
// which there are a few hundred; a caller who invents more starts it over.
const maxAdvice = 1024

// advisor finds the built-in roles that would allow an action. Nothing is
// computed before the first refusal, and each action is looked up once.
type advisor struct {
	catalog *Catalog

	mu    sync.Mutex
	known map[adviceKey][]*builtin
}

type adviceKey struct {
	action string
	data   bool
}

func (a *advisor) fixes(who azure.Principal, check azure.Check, q question) []azure.Fix {
	var out []azure.Fix
	for _, b := range a.roles(q) {
		out = append(out, azure.Fix{
			Role:    b.name,
			RoleID:  b.id,
			Scope:   check.Scope,
			Command: assignCommand(who, b.name, check.Scope),
		})
	}
	return out
}

func (a *advisor) roles(q question) []*builtin {
	key := adviceKey{q.action, q.data}
	a.mu.Lock()
	defer a.mu.Unlock()
	if got, ok := a.known[key]; ok {
		return got
	}
	// The question is asked of the roles as they are, sabotaged or not.
	q.pool = false
	var found []*builtin
	for _, b := range a.catalog.ordered {
		// Roles with places of their own (reservations, service groups) cannot
		// be assigned where the check is made.
		if b.compiled().judge(q).outcome == grants && len(b.rec.AssignableScopes) == 0 {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(l, r *builtin) int {
		return cmp.Or(
			cmp.Compare(l.tier(q.action), r.tier(q.action)),
			cmp.Compare(l.rec.breadth(), r.rec.breadth()),
		)
	})
	found = found[:min(len(found), maxFixes)]
	// A stranger's role is better than nothing and worse than anything else.
	if len(found) > 0 && found[0].tier(q.action) < stranger {
		found = slices.DeleteFunc(found, func(b *builtin) bool { return b.tier(q.action) == stranger })
	}
	found = slices.Clone(found)
	if a.known == nil || len(a.known) >= maxAdvice {
		a.known = make(map[adviceKey][]*builtin)
	}
	a.known[key] = found
	return found
}

// domains says under which heading of the documentation a provider's own roles
// stand. A role from another heading that happens to grant the action too (a
// backup or cluster operator that reads blobs) is a poor proposal.
var domains = map[string][]string{
	"microsoft.authorization":           {"privileged"},
	"microsoft.containerregistry":       {"containers"},
	"microsoft.insights":                {"monitor"},
	"microsoft.keyvault":                {"security"},
	"microsoft.machinelearningservices": {"ai-machine-learning"},
	"microsoft.managedidentity":         {"identity"},
	"microsoft.resources":               {"privileged"},
	"microsoft.storage":                 {"storage"},
}

// familiar are the roles the documentation tells people to use with the
// services we imitate. For those services they come first, whatever else
// grants the action.
var familiar = map[string]bool{
	"AcrDelete":                        true,
	"AcrPull":                          true,
	"AcrPush":                          true,
	"AzureML Compute Operator":         true,
	"AzureML Data Scientist":           true,
	"AzureML Metrics Writer (preview)": true,
	"Azure Machine Learning Workspace Connection Secrets Reader": true,
	"Key Vault Administrator":                                    true,
	"Key Vault Contributor":                                      true,
	"Key Vault Secrets Officer":                                  true,
	"Key Vault Secrets User":                                     true,
	"Managed Identity Contributor":                               true,
	"Managed Identity Operator":                                  true,
	"Reader":                                                     true,
	"Reader and Data Access":                                     true,
	"Storage Account Contributor":                                true,
	"Storage Blob Data Contributor":                              true,
	"Storage Blob Data Owner":                                    true,
	"Storage Blob Data Reader":                                   true,
	"Storage Blob Delegator":                                     true,
}

// The tiers of proposals; within a tier the role that grants least else wins.
const (
	wellKnown = iota
	atHome
	general
	stranger
)

// otherWeight is how many reads a grant of anything else counts for. Reader,
// with all its reads, is less to give away than a role with two other actions,
// and more than one with a single one, such as Storage Blob Data Reader.
const otherWeight = 500

func (r builtinRecord) breadth() int { return r.Reads + otherWeight*r.Others }

// tier puts the roles a person would choose first.
func (b *builtin) tier(action string) int {
	provider, _, _ := strings.Cut(action, "/")
	home := slices.Contains(domains[provider], b.rec.Category)
	switch {
	case familiar[b.name] && (home || b.rec.Category == "general"):
		return wellKnown
	case strings.Contains(b.name, "(preview)"), strings.Contains(b.name, "(deprecated)"), strings.Contains(b.name, "Service Role"):
		return stranger
	case home:
		return atHome
	case b.rec.Category == "privileged":
		return general
	default:
		return stranger
	}
}

// assignCommand is the line that applies a proposal. It is empty without a
// principal to give the role to.
func assignCommand(who azure.Principal, role, scope string) string {
	if who.ObjectID == "" {
		return ""
	}
	kind := ""
	if who.Type != "" {
		kind = fmt.Sprintf(" --assignee-principal-type %s", who.Type)
	}
	return fmt.Sprintf("az role assignment create --assignee-object-id %s%s --role %s --scope %s",
		shellWord(who.ObjectID), kind, shellQuote(role), shellWord(scope))
}

// shellWord quotes s only where a shell would not read it as one plain word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// shellQuote always quotes, for role names read better so.
func shellQuote(s string) string {
	if strings.ContainsAny(s, "\"\\$`!") {
		return shellWord(s)
	}
	return `"` + s + `"`
}
