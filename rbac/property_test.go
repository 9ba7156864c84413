package rbac

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// checksPerWorld is how many questions are asked of each random world, of which
// there are worlds, unless -rapid.checks says otherwise: 20,000 checks in all.
const (
	checksPerWorld = 40
	worlds         = 500
)

// many sets how many cases rapid draws in this test, where the command line
// leaves it open.
func many(t *testing.T, n int) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	checks := flag.Lookup("rapid.checks")
	if given || checks == nil {
		return
	}
	before := checks.Value.String()
	if err := checks.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Value.Set(before) })
}

// world is a random set of roles, groups and assignments.
type world struct {
	roles       []Definition
	groups      map[string][]string
	assignments []Assignment
}

// reading names the rules the reference keeps; leaving one out tells whether
// that rule decided a check.
type reading struct {
	wildcards, exclusions, inheritance, conditions, groups bool
}

var fullReading = reading{true, true, true, true, true}

// reference is RBAC in its plainest form: try everything.
func (w world) reference(who string, check azure.Check, rd reading) bool {
	for _, a := range w.assignments {
		if !w.holds(who, a.PrincipalID, rd, 0) || !refCovers(a.Scope, check.Scope, rd) || !refCondition(a.Condition, check, rd) {
			continue
		}
		for _, def := range w.roles {
			if def.ID != a.RoleDefinitionID {
				continue
			}
			for _, p := range def.Permissions {
				granted, denied := p.Actions, p.NotActions
				if check.Data {
					granted, denied = p.DataActions, p.NotDataActions
				}
				if !rd.exclusions {
					denied = nil
				}
				if refAny(granted, check.Action, rd) && !refAny(denied, check.Action, fullReading) && refCondition(p.Condition, check, rd) {
					return true
				}
			}
		}
	}
	return false
}

func (w world) holds(who, assignee string, rd reading, depth int) bool {
	if strings.EqualFold(who, assignee) {
		return true
	}
	if !rd.groups || depth > 5 {
		return false
	}
	for _, member := range w.groups[assignee] {
		if w.holds(who, member, rd, depth+1) {
			return true
		}
	}
	return false
}

func refCovers(outer, inner string, rd reading) bool {
	o := strings.FieldsFunc(strings.ToLower(outer), func(r rune) bool { return r == '/' })
	i := strings.FieldsFunc(strings.ToLower(inner), func(r rune) bool { return r == '/' })
	if len(o) > len(i) || !rd.inheritance && len(o) != len(i) {
		return false
	}
	for n := range o {
		if o[n] != i[n] {
			return false
		}
	}
	return true
}

func refAny(list []string, action string, rd reading) bool {
	for _, pattern := range list {
		if !rd.wildcards && strings.Contains(pattern, "*") {
			continue
		}
		if refMatch(strings.ToLower(pattern), strings.ToLower(action)) {
			return true
		}
	}
	return false
}

// refMatch: every star stands for any run of characters, and `/*/` also for `/`.
func refMatch(pattern, action string) bool {
	if known, ok := compiled.Load(pattern); ok {
		return known.(*regexp.Regexp).MatchString(action)
	}
	expr := regexp.QuoteMeta(pattern)
	expr = strings.ReplaceAll(expr, `/\*/`, `/(.*/)?`)
	expr = strings.ReplaceAll(expr, `\*`, `.*`)
	re := regexp.MustCompile("^" + expr + "$")
	compiled.Store(pattern, re)
	return re.MatchString(action)
}

// refCondition knows the one shape the generator makes: `governed|attribute`.
func refCondition(condition string, check azure.Check, rd reading) bool {
	if condition == "" || !rd.conditions {
		return true
	}
	_, rest, _ := strings.Cut(condition, "ActionMatches{'")
	governed, _, _ := strings.Cut(rest, "'")
	return !refMatch(strings.ToLower(governed), strings.ToLower(check.Action))
}

// compiled keeps the reference's regular expressions: compiling dominates it.
var compiled sync.Map

var (
	genActions = []string{"P.A/x/read", "P.A/x/write", "P.A/x/y/read", "P.A/x/y/write", "P.A/x/y/z/read", "P.A/x/y/act/action", "P.B/x/read", "P.B/x/delete"}
	genGlobs   = []string{"*", "*/read", "P.A/*", "P.A/x/*", "P.A/*/read", "P.A/*/write", "P.A/x/*/read", "P.A/x/*/action", "P.A/x/y*", "P.A/*/y/*/read", "P.B/*/delete", "*/x/*"}
	genScopes  = []string{"/", "/subscriptions/s", "/subscriptions/s2", "/subscriptions/s/resourceGroups/a", "/subscriptions/s/resourceGroups/ab",
		"/subscriptions/s/resourceGroups/a/providers/P.A/x/1", "/subscriptions/s/resourceGroups/a/providers/P.A/x/12",
		"/subscriptions/s/resourceGroups/a/providers/P.A/x/1/y/2"}
	genPeople = []string{"p1", "p2", "p3"}
	genGroups = []string{"g1", "g2"}
)

func anyCase(t *rapid.T, s string) string {
	switch rapid.IntRange(0, 5).Draw(t, "case") {
	case 0:
		return strings.ToLower(s)
	case 1:
		return strings.ToUpper(s)
	default:
		return s
	}
}

// weighted draws true in about percent of a hundred cases.
func weighted(t *rapid.T, percent int, label string) bool {
	return rapid.IntRange(0, 99).Draw(t, label) < percent
}

func genList(t *rapid.T, least, most int, label string) []string {
	var out []string
	for range rapid.IntRange(least, most).Draw(t, label) {
		source := genActions
		if weighted(t, 55, "wildcard") {
			source = genGlobs
		}
		out = append(out, anyCase(t, rapid.SampledFrom(source).Draw(t, "pattern")))
	}
	return out
}

func genCondition(t *rapid.T, percent int) string {
	if !weighted(t, percent, "conditional") {
		return ""
	}
	governed := rapid.SampledFrom(append(genGlobs, genActions...)).Draw(t, "governed")
	return "(!(ActionMatches{'" + governed + "'})) OR (@Resource[P.A/x:name] StringEquals 'a')"
}

func genWorld(t *rapid.T) world {
	w := world{groups: map[string][]string{}}
	for i := range rapid.IntRange(1, 5).Draw(t, "roles") {
		def := Definition{ID: fmt.Sprintf("role-%d", i), Name: fmt.Sprintf("Role %d", i)}
		for range rapid.IntRange(1, 2).Draw(t, "sets") {
			def.Permissions = append(def.Permissions, Permission{
				Actions:        genList(t, 1, 5, "actions"),
				NotActions:     genList(t, 0, 2, "notActions"),
				DataActions:    genList(t, 1, 4, "dataActions"),
				NotDataActions: genList(t, 0, 1, "notDataActions"),
				Condition:      genCondition(t, 6),
			})
		}
		w.roles = append(w.roles, def)
	}
	for _, g := range genGroups {
		members := rapid.SliceOfNDistinct(rapid.SampledFrom(append([]string{"g1", "g2"}, genPeople...)), 0, 2, rapid.ID).Draw(t, "members")
		w.groups[g] = members
	}
	for i := range rapid.IntRange(3, 14).Draw(t, "assignments") {
		w.assignments = append(w.assignments, Assignment{
			ID:               fmt.Sprintf("/assignment/%d", i),
			RoleDefinitionID: fmt.Sprintf("role-%d", rapid.IntRange(0, len(w.roles)).Draw(t, "role")), // one past the end: a deleted role
			PrincipalID:      rapid.SampledFrom(append(append([]string{}, genPeople...), genGroups...)).Draw(t, "assignee"),
			Scope:            anyCase(t, rapid.SampledFrom(genScopes).Draw(t, "scope")),
			Condition:        genCondition(t, 4),
		})
	}
	return w
}

// genCheck leans towards what the world's assignments are about, for a blind
// draw is refused nearly always and proves little.
func genCheck(t *rapid.T, w world) (string, azure.Check) {
	who := rapid.SampledFrom(genPeople).Draw(t, "who")
	check := azure.Check{
		Action: anyCase(t, rapid.SampledFrom(genActions).Draw(t, "action")),
		Data:   weighted(t, 30, "data"),
		Scope:  anyCase(t, rapid.SampledFrom(genScopes[1:]).Draw(t, "at")),
	}
	if weighted(t, 85, "aimed") {
		a := rapid.SampledFrom(w.assignments).Draw(t, "assignment")
		if holders := w.holders(a.PrincipalID); len(holders) > 0 {
			who = rapid.SampledFrom(holders).Draw(t, "holder")
		}
		if under := scopesUnder(a.Scope); len(under) > 0 {
			check.Scope = anyCase(t, rapid.SampledFrom(under).Draw(t, "under"))
		}
		// The plain half of the questions, which rapid's bias makes more than
		// half, is about what the role grants, the other about what it names.
		if aimed := w.actionsOf(a, check.Data, weighted(t, 50, "plain")); len(aimed) > 0 && weighted(t, 90, "aimed action") {
			check.Action = rapid.SampledFrom(aimed).Draw(t, "its action")
		}
	}
	return anyCase(t, who), check
}

func (w world) holders(assignee string) []string {
	var out []string
	for _, p := range genPeople {
		if w.holds(p, assignee, fullReading, 0) {
			out = append(out, p)
		}
	}
	return out
}

func scopesUnder(scope string) []string {
	var out []string
	for _, s := range genScopes[1:] {
		if refCovers(scope, s, fullReading) {
			out = append(out, s)
		}
	}
	return out
}

// actionsOf lists the actions a's role names; granted leaves out those its
// exclusions and conditions take back.
func (w world) actionsOf(a Assignment, data, granted bool) []string {
	rd := fullReading
	if !granted {
		rd.exclusions, rd.conditions = false, false
	}
	only := world{roles: w.roles, assignments: []Assignment{a}}
	var out []string
	for _, action := range genActions {
		if only.reference(a.PrincipalID, azure.Check{Action: action, Data: data, Scope: a.Scope}, rd) {
			out = append(out, action)
		}
	}
	return out
}

func (w world) index(t *rapid.T) *Index {
	x := New(nil)
	for _, def := range w.roles {
		if err := x.PutDefinition(def); err != nil {
			t.Fatal(err)
		}
	}
	for group, members := range w.groups {
		x.SetMembers(group, members)
	}
	for _, a := range w.assignments {
		if err := x.Put(a); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// TestAgreesWithReference compares the index with the reference over random
// worlds, and measures that the worlds are worth asking: enough is allowed, and
// each rule decides a share of the checks.
func TestAgreesWithReference(t *testing.T) {
	covers.R(t, "R-311", "R-313", "R-916")
	many(t, worlds)
	total := 0
	counts := map[string]int{}
	without := map[string]reading{}
	for name, drop := range map[string]func(*reading){
		"wildcards":   func(r *reading) { r.wildcards = false },
		"exclusions":  func(r *reading) { r.exclusions = false },
		"inheritance": func(r *reading) { r.inheritance = false },
		"conditions":  func(r *reading) { r.conditions = false },
		"groups":      func(r *reading) { r.groups = false },
	} {
		rd := fullReading
		drop(&rd)
		without[name] = rd
	}
	rapid.Check(t, func(t *rapid.T) {
		w := genWorld(t)
		x := w.index(t)
		for range checksPerWorld {
			who, check := genCheck(t, w)
			want := w.reference(who, check, fullReading)
			d := x.Decide(context.Background(), azure.Principal{ObjectID: who}, check)
			if d.Allowed != want {
				t.Fatalf("%s, %+v: allowed %t, the reference says %t\n%+v\n%+v", who, check, d.Allowed, want, w, d)
			}
			if len(d.Misses) > maxMisses || d.Allowed && (d.Misses != nil || d.Assignment == "") {
				t.Fatalf("odd decision %+v", d)
			}
			total++
			if want {
				counts["allowed"]++
			}
			for name, rd := range without {
				if w.reference(who, check, rd) != want {
					counts[name]++
				}
			}
		}
	})
	if t.Failed() || total < 2000 { // a short run (-rapid.checks) measures nothing
		return
	}
	t.Logf("%d checks: %v", total, counts)
	for name, least := range map[string]int{"allowed": 30, "wildcards": 2, "exclusions": 2, "inheritance": 2, "conditions": 2, "groups": 2} {
		if 100*counts[name] < least*total {
			t.Errorf("%s: %d of %d checks, want at least %d%%", name, counts[name], total, least)
		}
	}
}
