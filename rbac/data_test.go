package rbac

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	update = flag.Bool("update", false, "write data/builtin-roles.json anew from -facts")
	facts  = flag.String("facts", "", "folder that holds the project's builtin-roles.json")
)

// factRole is a role as the facts file spells it: one permission set spread
// over the role itself, or several under `permissions`.
type factRole struct {
	builtinRecord
	permRecord
}

// TestBuiltInDataFollowsFacts writes the embedded file (-update) or checks that
// it is what -facts would give, for whoever renews the roles: the facts are not in
// the repository. Without them the file must be what it would give itself: every
// line as it is written, weighed and in order.
//
//	go test ./rbac -run BuiltInData -update -facts DIR
func TestBuiltInDataFollowsFacts(t *testing.T) {
	raw := builtinJSON
	if *facts != "" {
		var err error
		if raw, err = os.ReadFile(filepath.Join(*facts, "builtin-roles.json")); err != nil {
			t.Fatal(err)
		}
	}
	var in []factRole
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	recs := make([]builtinRecord, len(in))
	for i, r := range in {
		recs[i] = r.builtinRecord
		if len(r.builtinRecord.Permissions) == 0 {
			recs[i].Permissions = []permRecord{r.permRecord}
		}
	}
	u := newUniverse(t, recs)
	for i := range recs {
		recs[i].Reads, recs[i].Others = u.weigh(recs[i])
	}
	slices.SortFunc(recs, func(a, b builtinRecord) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	var out bytes.Buffer
	for i, r := range recs {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		out.Write(line)
	}
	out.WriteString("\n]\n")
	if *update {
		if err := os.WriteFile("data/builtin-roles.json", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out.Bytes(), builtinJSON) {
		t.Error("data/builtin-roles.json differs from the facts; run with -update")
	}
}

// universe is every action and data action we know the full name of.
type universe struct{ actions, dataActions []string }

func newUniverse(t *testing.T, recs []builtinRecord) universe {
	t.Helper()
	raw, err := os.ReadFile("testdata/operations.json")
	if err != nil {
		t.Fatal(err)
	}
	var providers map[string]struct{ Actions, DataActions []string }
	if err := json.Unmarshal(raw, &providers); err != nil {
		t.Fatal(err)
	}
	actions, dataActions := map[string]bool{}, map[string]bool{}
	add := func(set map[string]bool, lists ...[]string) {
		for _, name := range slices.Concat(lists...) {
			if !strings.Contains(name, "*") {
				set[lower(name)] = true
			}
		}
	}
	for _, p := range providers {
		add(actions, p.Actions)
		add(dataActions, p.DataActions)
	}
	for _, r := range recs {
		for _, p := range r.Permissions {
			add(actions, p.Actions, p.NotActions)
			add(dataActions, p.DataActions, p.NotDataActions)
		}
	}
	return universe{slices.Sorted(maps.Keys(actions)), slices.Sorted(maps.Keys(dataActions))}
}

// weigh counts what a role grants, reads apart from everything else.
func (u universe) weigh(rec builtinRecord) (reads, others int) {
	r := compileRole(rec.definition())
	count := func(q question) {
		switch {
		case r.judge(q).outcome < conditional:
		case strings.HasSuffix(q.action, "/read"):
			reads++
		default:
			others++
		}
	}
	for _, a := range u.actions {
		count(question{action: a})
	}
	for _, a := range u.dataActions {
		count(question{action: a, data: true})
	}
	return reads, others
}

func TestBuiltInDataForm(t *testing.T) {
	if !json.Valid(builtinJSON) {
		t.Fatal("data/builtin-roles.json is not JSON")
	}
	c := BuiltIn()
	if len(c.ordered) != 513 || len(c.byID) != 513 || len(c.byName) != 513 {
		t.Fatalf("%d roles, %d ids, %d names, want 513 of each", len(c.ordered), len(c.byID), len(c.byName))
	}
	var recs []builtinRecord
	for _, b := range c.ordered {
		b.compiled()
		if b.rec.ID != b.id || b.rec.Name != b.name {
			t.Errorf("line of %s %q decodes as %s %q", b.id, b.name, b.rec.ID, b.rec.Name)
		}
		if len(b.id) != 36 || b.id != strings.ToLower(b.id) {
			t.Errorf("id %q is not a lower-case GUID", b.id)
		}
		for i, set := range b.role.sets {
			if set.condition != nil && set.condition.root == nil {
				t.Errorf("%s: condition of permission set %d does not parse", b.name, i)
			}
		}
		recs = append(recs, b.rec)
	}
	if !slices.IsSortedFunc(recs, func(a, b builtinRecord) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	}) {
		t.Error("roles are not in name order")
	}
	u := newUniverse(t, recs)
	for _, r := range recs {
		if reads, others := u.weigh(r); reads != r.Reads || others != r.Others {
			t.Errorf("%s: says it grants %d reads and %d others, grants %d and %d", r.Name, r.Reads, r.Others, reads, others)
		}
	}
}
