package amlocal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// IdentityAccess is what one identity was observed to do, what would suffice
// for it, and what it holds for nothing.
type IdentityAccess struct {
	Identity PrincipalInfo `json:"identity"`
	// Gone says that the directory does not hold it any more.
	Gone bool  `json:"gone,omitempty"`
	Uses []Use `json:"uses"`
	// Roles is the smallest set of built-in roles that allows all of Uses, at
	// the narrowest places; none can be left out.
	Roles []RoleLine `json:"roles"`
	// Without are uses that no built-in role allows.
	Without []azure.Check `json:"without,omitempty"`
	// Custom is one role that allows exactly Uses, in place of Roles.
	Custom *CustomRole `json:"custom,omitempty"`
	// Unused are assignments that never allowed anything.
	Unused []UnusedLine `json:"unused"`
}

// RoleLine is one assignment to make.
type RoleLine struct {
	Role    string   `json:"role"`
	RoleID  string   `json:"roleId"`
	Scope   string   `json:"scope"`
	For     []string `json:"for"` // actions
	Command string   `json:"command"`
}

// CustomRole is a role definition in the form `az role definition create`
// takes, and where it is to be assigned.
type CustomRole struct {
	Definition map[string]any `json:"definition"`
	Scopes     []string       `json:"scopes"`
	Commands   []string       `json:"commands"`
}

// UnusedLine is an assignment that never allowed anything.
type UnusedLine struct {
	Assignment string `json:"assignment"`
	Role       string `json:"role"`
	Scope      string `json:"scope"`
	// Group is set when the identity holds it through one.
	Group   string `json:"group,omitempty"`
	Command string `json:"command,omitempty"`
}

// AccessReport compares what identities did with what they may. who names one
// of them as `amlocal token --as` does; empty means all but the seeded owner.
func (e *Emulator) AccessReport(ctx context.Context, who string) ([]IdentityAccess, error) {
	byID := map[string]*IdentityAccess{}
	add := func(p azure.Principal, gone bool) *IdentityAccess {
		id := strings.ToLower(p.ObjectID)
		if byID[id] == nil {
			byID[id] = &IdentityAccess{Identity: describe(p), Gone: gone, Uses: []Use{}, Roles: []RoleLine{}, Unused: []UnusedLine{}}
		}
		return byID[id]
	}
	uses := e.observer.all()
	groups := map[string]string{}
	err := e.store.View(ctx, func(tx store.ReadTx) error {
		var wanted azure.Principal
		if who != "" {
			var err error
			if wanted, err = e.findPrincipal(tx, who); err != nil {
				// One that is gone left its traces.
				i := slices.IndexFunc(uses, func(u Use) bool { return strings.EqualFold(u.Principal.ObjectID, who) })
				if i < 0 {
					return err
				}
				wanted = uses[i].Principal
			}
		}
		takes := func(p azure.Principal) bool {
			if who != "" {
				return strings.EqualFold(p.ObjectID, wanted.ObjectID)
			}
			return p.ObjectID != azure.SeedOwnerObjectID
		}
		for _, p := range e.entra.Principals(tx) {
			if p.Type == azure.Group {
				groups[strings.ToLower(p.ObjectID)] = p.Name
			} else if takes(p) {
				add(p, false)
			}
		}
		for _, u := range uses {
			if takes(u.Principal) {
				a := add(u.Principal, true)
				a.Uses = append(a.Uses, u)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]IdentityAccess, 0, len(byID))
	for _, a := range byID {
		e.assess(a, groups)
		if who != "" || len(a.Uses) > 0 || len(a.Unused) > 0 {
			out = append(out, *a)
		}
	}
	slices.SortFunc(out, func(a, b IdentityAccess) int {
		return cmp.Or(strings.Compare(a.Identity.Name, b.Identity.Name), strings.Compare(a.Identity.ObjectID, b.Identity.ObjectID))
	})
	return out, nil
}

// assess fills in what follows from the uses.
func (e *Emulator) assess(a *IdentityAccess, groups map[string]string) {
	slices.SortFunc(a.Uses, func(x, y Use) int {
		return cmp.Or(strings.Compare(x.Check.Scope, y.Check.Scope), strings.Compare(x.Check.Action, y.Check.Action))
	})
	who := azure.Principal{ObjectID: a.Identity.ObjectID, Type: azure.ServicePrincipal}
	if a.Identity.Kind == "user" {
		who.Type = azure.User
	}
	needs := make([]azure.Check, len(a.Uses))
	used := map[string]bool{}
	for i, u := range a.Uses {
		needs[i] = u.Check
		for _, id := range u.Assignments {
			used[strings.ToLower(id)] = true
		}
	}
	grants, without := rbac.BuiltIn().Least(needs)
	a.Without = without
	for _, g := range grants {
		line := RoleLine{Role: g.Role, RoleID: g.RoleID, Scope: g.Scope, Command: rbac.AssignCommand(who, g.Role, g.Scope)}
		for _, c := range g.Covers {
			line.For = append(line.For, c.Action)
		}
		a.Roles = append(a.Roles, line)
	}
	if len(needs) > 0 {
		a.Custom = customRole(a.Identity, who, needs)
	}
	for _, h := range e.rbac.Assignments(rbac.Filter{PrincipalID: a.Identity.ObjectID, ThroughGroups: true}) {
		if used[strings.ToLower(h.ID)] {
			continue
		}
		line := UnusedLine{Assignment: h.ID, Role: h.RoleDefinitionID, Scope: h.Scope}
		if def, ok := e.rbac.Definition(h.RoleDefinitionID); ok {
			line.Role = def.Name
		}
		if strings.EqualFold(h.PrincipalID, a.Identity.ObjectID) {
			line.Command = "az role assignment delete --ids " + h.ID
		} else {
			line.Group = or(groups[strings.ToLower(h.PrincipalID)], h.PrincipalID)
		}
		a.Unused = append(a.Unused, line)
	}
}

// customRole allows exactly the needs. Azure takes subscriptions and resource
// groups as assignable scopes, nothing narrower.
func customRole(identity PrincipalInfo, who azure.Principal, needs []azure.Check) *CustomRole {
	var actions, dataActions, scopes, assignable []string
	for _, n := range needs {
		if n.Data {
			dataActions = append(dataActions, n.Action)
		} else {
			actions = append(actions, n.Action)
		}
		place := rbac.Place(n)
		scopes = append(scopes, place)
		seg := strings.Split(place, "/")
		assignable = append(assignable, strings.Join(seg[:min(len(seg), 5)], "/"))
	}
	name := "Least privilege of " + identity.Name + " (" + identity.ObjectID[:min(8, len(identity.ObjectID))] + ")"
	c := &CustomRole{
		Definition: map[string]any{
			"Name": name, "IsCustom": true, "Description": "What " + identity.Name + " was observed to do.",
			"Actions": unique(actions), "NotActions": []string{}, "DataActions": unique(dataActions), "NotDataActions": []string{},
			"AssignableScopes": outermost(assignable),
		},
		Scopes: outermost(scopes),
	}
	c.Commands = []string{"az role definition create --role-definition " + singleQuoted(c.Definition)}
	for _, s := range c.Scopes {
		c.Commands = append(c.Commands, rbac.AssignCommand(who, name, s))
	}
	return c
}

// unique sorts and drops repetitions, which may differ in letter case.
func unique(list []string) []string {
	out := append([]string{}, list...)
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	return slices.CompactFunc(out, strings.EqualFold)
}

// outermost drops the scopes that lie within another.
func outermost(list []string) []string {
	all := unique(list)
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		return slices.ContainsFunc(all, func(o string) bool { return !strings.EqualFold(o, s) && rbac.ScopeContains(o, s) })
	})
}

// adminAccess is the part of the admin API about access: GET access?identity=.
func (e *Emulator) adminAccess(r *mux.Router) {
	r.Methods(http.MethodGet).Path("/_amlocal/access").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list, err := e.AccessReport(r.Context(), r.URL.Query().Get("identity"))
		adminReply(w, http.StatusOK, map[string]any{"value": list}, err)
	})
}

// WriteAccess writes reports for a reader (text) or a shell (az); custom
// prefers the custom role to the built-in ones.
func WriteAccess(b *strings.Builder, format string, custom bool, list []IdentityAccess) {
	if len(list) == 0 {
		b.WriteString("# No identity has done anything a role was needed for, or holds one.\n")
	}
	for i, a := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		if format == "az" {
			writeAccessCommands(b, custom, a)
		} else {
			writeAccessText(b, a)
		}
	}
}

func writeAccessCommands(b *strings.Builder, custom bool, a IdentityAccess) {
	fmt.Fprintf(b, "# %s (%s, object id %s)\n", oneLine(a.Identity.Name), a.Identity.Kind, a.Identity.ObjectID)
	switch {
	case custom && a.Custom != nil:
		b.WriteString(strings.Join(a.Custom.Commands, "\n") + "\n")
	default:
		for _, l := range a.Roles {
			b.WriteString(l.Command + "\n")
		}
		for _, c := range a.Without {
			fmt.Fprintf(b, "# no built-in role grants %s at %s: see --custom\n", oneLine(c.Action), oneLine(c.Scope))
		}
	}
	for _, u := range a.Unused {
		if u.Command != "" {
			fmt.Fprintf(b, "# never used: %s\n# %s\n", u.Role, u.Command)
		}
	}
}

func writeAccessText(b *strings.Builder, a IdentityAccess) {
	gone := ""
	if a.Gone {
		gone = ", deleted since"
	}
	fmt.Fprintf(b, "%s (%s, object id %s%s)\n", oneLine(a.Identity.Name), a.Identity.Kind, a.Identity.ObjectID, gone)
	if len(a.Uses) == 0 {
		b.WriteString("  It did nothing a role was needed for.\n")
	} else {
		b.WriteString("  What it did:\n")
		for _, u := range a.Uses {
			fmt.Fprintf(b, "    %6d x %s at %s\n", u.Count, u.Check.Action, u.Check.Scope)
		}
	}
	if len(a.Roles) > 0 {
		b.WriteString("  What suffices for it:\n")
		for _, l := range a.Roles {
			fmt.Fprintf(b, "    %s at %s\n", l.Role, l.Scope)
		}
	}
	for _, c := range a.Without {
		fmt.Fprintf(b, "  No built-in role grants %s at %s; a custom role does (-o az --custom).\n", c.Action, c.Scope)
	}
	if len(a.Unused) > 0 {
		b.WriteString("  What it holds and never used:\n")
		for _, u := range a.Unused {
			through := ""
			if u.Group != "" {
				through = " (through the group " + u.Group + ")"
			}
			fmt.Fprintf(b, "    %s at %s%s\n", u.Role, u.Scope, through)
		}
	}
}

// oneLine keeps a name inside a comment line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// singleQuoted is a value as JSON in one word of a POSIX shell.
func singleQuoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and lists of strings
	}
	return "'" + strings.ReplaceAll(string(raw), "'", `'\''`) + "'"
}
