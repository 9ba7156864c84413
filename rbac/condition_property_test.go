package rbac

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amlocal/amlocal/azure"
)

// sentence is a random condition, as text and as what it means; three values:
// 0 no, 1 unknown, 2 yes.
type sentence struct {
	text  string
	means func(q question) int
}

const (
	genTagKeys = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags&$keys$&]"
	genRole    = "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId]"
)

var genTexts = []string{"a", "A", "b", "ab", "Ab"}

// genSentence draws a condition no deeper than depth.
func genSentence(t *rapid.T, depth int) sentence {
	word := func(w string) string {
		return rapid.SampledFrom([]string{w, strings.ToLower(w), strings.ToUpper(w)}).Draw(t, "spelling")
	}
	shape := rapid.IntRange(0, 6).Draw(t, "shape")
	if depth == 0 {
		shape = 3 + shape%4
	}
	switch shape {
	case 0:
		inner := genSentence(t, depth-1)
		not := rapid.SampledFrom([]string{"!", "NOT ", "not "}).Draw(t, "not")
		return sentence{not + "(" + inner.text + ")", func(q question) int { return 2 - inner.means(q) }}
	case 1, 2:
		left, right := genSentence(t, depth-1), genSentence(t, depth-1)
		if shape == 1 {
			op := rapid.SampledFrom([]string{" AND ", " and ", "&&"}).Draw(t, "and")
			return sentence{"(" + left.text + ")" + op + "(" + right.text + ")", func(q question) int { return min(left.means(q), right.means(q)) }}
		}
		op := rapid.SampledFrom([]string{" OR ", "||", "\n OR\t"}).Draw(t, "or")
		return sentence{"(" + left.text + ")" + op + "(" + right.text + ")", func(q question) int { return max(left.means(q), right.means(q)) }}
	case 3:
		action := rapid.SampledFrom(append(genGlobs, genActions...)).Draw(t, "action")
		return sentence{word("ActionMatches") + "{'" + action + "'}", func(q question) int {
			return two(refMatch(strings.ToLower(action), q.action))
		}}
	case 4:
		source := rapid.SampledFrom([]string{genTagKeys, genRole}).Draw(t, "exists")
		return sentence{word("Exists") + " " + source, func(q question) int {
			_, there := q.attributes.Attribute(genName(source))
			return two(there)
		}}
	case 5:
		values := rapid.SliceOfN(rapid.SampledFrom([]string{"1111", "2222", "3333"}), 1, 3).Draw(t, "guids")
		negated := rapid.Bool().Draw(t, "differs")
		name := "GuidEquals"
		if negated {
			name = "GuidNotEquals"
		}
		return genPairs(t, genRole, name, values, "{"+strings.Join(values, ", ")+"}", func(h, w string) bool { return (h == w) != negated })
	default:
		values := rapid.SliceOfN(rapid.SampledFrom(genTexts), 1, 3).Draw(t, "values")
		ops := map[string]func(h, w string) bool{
			"StringEquals":               func(h, w string) bool { return h == w },
			"StringNotEqualsIgnoreCase":  func(h, w string) bool { return !strings.EqualFold(h, w) },
			"StringStartsWithIgnoreCase": func(h, w string) bool { return strings.Index(strings.ToUpper(h), strings.ToUpper(w)) == 0 },
			"StringNotStartsWith":        func(h, w string) bool { return strings.Index(h, w) != 0 },
			"StringLike":                 func(h, w string) bool { return h == w }, // there is no wildcard in the values
			"StringNotLikeIgnoreCase":    func(h, w string) bool { return !strings.EqualFold(h, w) },
		}
		names := make([]string, 0, len(ops))
		for name := range ops {
			names = append(names, name)
		}
		slices.Sort(names)
		name := rapid.SampledFrom(names).Draw(t, "operator")
		return genPairs(t, genTagKeys, word(name), values, "{'"+strings.Join(values, "','")+"'}", ops[name])
	}
}

// genPairs is a comparison of all values with all under a random quantifier.
func genPairs(t *rapid.T, source, op string, values []string, list string, holds func(h, w string) bool) sentence {
	allLeft, allRight := rapid.Bool().Draw(t, "all left"), rapid.Bool().Draw(t, "all right")
	word := map[bool]string{true: "All", false: "Any"}
	return sentence{source + " For" + word[allLeft] + "Of" + word[allRight] + "Values:" + op + " " + list, func(q question) int {
		have, _ := q.attributes.Attribute(genName(source))
		if len(have) == 0 {
			return 1
		}
		lefts := 0
		for _, h := range have {
			rights := 0
			for _, w := range values {
				if holds(h, w) {
					rights++
				}
			}
			if allRight && rights == len(values) || !allRight && rights > 0 {
				lefts++
			}
		}
		return two(allLeft && lefts == len(have) || !allLeft && lefts > 0)
	}}
}

func genName(source string) string { return strings.ToLower(source) }

func two(b bool) int {
	if b {
		return 2
	}
	return 0
}

// TestConditionsAgreeWithReference: what a condition's text is parsed to is
// what its parts, put together while it was drawn, say.
func TestConditionsAgreeWithReference(t *testing.T) {
	many(t, 2000)
	seen := [3]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := genSentence(t, rapid.IntRange(0, 4).Draw(t, "depth"))
		values := azure.AttributeValues{}
		if tags := rapid.SliceOfNDistinct(rapid.SampledFrom(genTexts), 0, 3, rapid.ID).Draw(t, "tags"); len(tags) > 0 {
			values[genName(genTagKeys)] = tags
		}
		if rapid.Bool().Draw(t, "assigns") {
			values[genName(genRole)] = []string{rapid.SampledFrom([]string{"1111", "2222"}).Draw(t, "role")}
		}
		q := question{action: strings.ToLower(rapid.SampledFrom(genActions).Draw(t, "action")), attributes: values}
		want := s.means(q)
		seen[want]++
		c := compileCondition(s.text)
		if c.root == nil {
			t.Fatalf("does not parse: %s", s.text)
		}
		if got := c.root.eval(q); int(got) != want {
			t.Fatalf("%d, the reference says %d\n%s\n%v, %s", got, want, s.text, values, q.action)
		}
		if err := CheckCondition(s.text); err != nil {
			t.Fatalf("%v\n%s", err, s.text)
		}
	})
	if total := seen[0] + seen[1] + seen[2]; !t.Failed() && total >= 2000 {
		t.Logf("of %d conditions %d refuse, %d are unknown, %d hold", total, seen[0], seen[1], seen[2])
		for value, n := range seen {
			if 100*n < 10*total {
				t.Errorf("outcome %d in %d of %d cases, want a tenth", value, n, total)
			}
		}
	}
}
