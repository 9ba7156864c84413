package rbac

import (
	"strings"
	"testing"
)

const roleWrite = "microsoft.authorization/roleassignments/write"

func TestConditionHolds(t *testing.T) {
	const (
		write   = "ActionMatches{'Microsoft.Authorization/roleAssignments/write'}"
		attr    = "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {08d4c71a-cc63-4ce4-a9c8-5dd251b4d619, 2a2b9908-6ea1-4ae2-8e65-a410df84e7d1}"
		guarded = "((!(" + write + ")) OR (" + attr + "))"
	)
	for _, tc := range []struct {
		name, condition, action string
		want                    bool
	}{
		{"none", "", roleWrite, true},
		{"blank", " \n", roleWrite, true},
		{"governed action", guarded, roleWrite, false},
		{"other action", guarded, "microsoft.storage/storageaccounts/read", true},
		{"the governed action's sibling", guarded, "microsoft.authorization/roleassignments/delete", true},
		{"two clauses, first governs", guarded + " AND " + strings.ReplaceAll(guarded, "/write", "/delete"), roleWrite, false},
		{"two clauses, none governs", guarded + " AND " + strings.ReplaceAll(guarded, "/write", "/delete"), "a/read", true},
		{"action only", write, roleWrite, true},
		{"action only, other", write, "a/read", false},
		{"wildcard", "ActionMatches{'Microsoft.Authorization/*/write'}", roleWrite, true},
		{"list", "ActionMatches{'a/read', 'Microsoft.Authorization/roleAssignments/write'}", roleWrite, true},
		{"and before or", write + " OR " + attr + " AND " + attr, roleWrite, true},
		{"symbols", "(!(" + write + ") || " + attr + ") && !(" + write + ")", "a/read", true},
		{"attribute alone", attr, "a/read", false},
		{"negated attribute", "NOT " + attr, "a/read", false},
		{"sub-operation", "!(ActionMatches{'a/read'} AND NOT SubOperationMatches{'Blob.List'}) OR " + attr, "a/read", false},
		{"sub-operation of another action", "!(ActionMatches{'a/read'} AND NOT SubOperationMatches{'Blob.List'}) OR " + attr, "b/read", true},
		{"string value", "!(ActionMatches{'a/read'}) OR @Resource[x:name] StringEquals 'it is (odd) AND so'", "b/read", true},
		{"does not parse: open", "(" + write, roleWrite, false},
		{"does not parse: rest", write + ")", roleWrite, false},
		{"does not parse: no operand", write + " OR", roleWrite, false},
		{"does not parse: unquoted", "ActionMatches{" + roleWrite + "}", roleWrite, false},
		{"does not parse: juxtaposed", write + " " + write, roleWrite, false},
		{"does not parse: unclosed quote", "ActionMatches{'a}", roleWrite, false},
		{"too deep", strings.Repeat("!", 2*maxConditionDepth) + write, roleWrite, false},
	} {
		if got := compileCondition(tc.condition).holds(question{action: tc.action}); got != tc.want {
			t.Errorf("%s: %t, want %t\n%s", tc.name, got, tc.want, tc.condition)
		}
	}
}

// Whatever the text says, it must not crash, and what does not parse must not
// hold.
func FuzzCondition(f *testing.F) {
	for _, b := range BuiltIn().ordered {
		for _, p := range b.compiled().def.Permissions {
			if p.Condition != "" {
				f.Add(p.Condition, roleWrite)
			}
		}
	}
	f.Add("!((((", "a")
	f.Add("@Resource[a:b] StringEquals '}' && !ActionMatches{'*'}", "a/read")
	f.Fuzz(func(t *testing.T, text, action string) {
		c := compileCondition(text)
		held := c.holds(question{action: action})
		if c != nil && c.root == nil && held {
			t.Errorf("unparsable condition holds: %q", text)
		}
		if again := compileCondition(text).holds(question{action: action}); again != held {
			t.Errorf("%q on %q: %t, then %t", text, action, held, again)
		}
	})
}
