package rbac

import (
	"strings"
	"time"
)

// comparison is one attribute compared with values, or asked whether it is
// there: what conditions of version 2.0 are made of besides actions.
type comparison struct {
	left   attribute
	exists bool // only that
	// all of the left values, and all of the right ones, must compare; else
	// one suffices. many: there may be several on the left.
	allLeft, allRight, many bool
	compare                 func(have, want string) bool
	values                  []string
	right                   *attribute // in place of values
}

// eval is unknown when an attribute is not there: then nothing is granted.
func (c *comparison) eval(q question) truth {
	have, ok := c.left.valuesOf(q)
	if c.exists {
		return truthOf(ok)
	}
	want := c.values
	if ok && c.right != nil {
		want, ok = c.right.valuesOf(q)
	}
	if !ok || len(have) == 0 || len(want) == 0 || !c.many && len(have)+len(want) > 2 {
		return unknown
	}
	return truthOf(quantify(have, c.allLeft, func(h string) bool {
		return quantify(want, c.allRight, func(w string) bool { return c.compare(h, w) })
	}))
}

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func quantify(values []string, all bool, holds func(string) bool) bool {
	for _, v := range values {
		if holds(v) != all {
			return !all
		}
	}
	return all
}

// quantifiers are the prefixes that let several values be compared; each pair
// is compared by the operator that follows, a negated one too.
var quantifiers = map[string]struct{ allLeft, allRight bool }{
	"foranyofanyvalues": {},
	"forallofanyvalues": {allLeft: true},
	"foranyofallvalues": {allRight: true},
	"forallofallvalues": {allLeft: true, allRight: true},
}

// newComparison reads "@Resource[...] StringEquals 'x'" or "Exists
// @Request[...]"; ok is false for what is not known here.
func newComparison(tokens []string) (_ *comparison, ok bool) {
	c := &comparison{}
	if len(tokens) == 3 && strings.EqualFold(tokens[0], "Exists") {
		c.exists = true
		c.left, ok = newAttribute(tokens[1], tokens[2])
		return c, ok
	}
	if len(tokens) < 4 {
		return nil, false
	}
	if c.left, ok = newAttribute(tokens[0], tokens[1]); !ok {
		return nil, false
	}
	op := strings.ToLower(tokens[2])
	if prefix, rest, cut := strings.Cut(op, ":"); cut {
		q, known := quantifiers[prefix]
		if !known {
			return nil, false
		}
		c.allLeft, c.allRight, c.many, op = q.allLeft, q.allRight, true, rest
	}
	if c.compare, ok = operator(op, c.left.kind); !ok {
		return nil, false
	}
	if len(tokens) == 5 {
		right, ok := newAttribute(tokens[3], tokens[4])
		c.right = &right
		return c, ok && right.kind == c.left.kind
	}
	if len(tokens) != 4 {
		return nil, false
	}
	if c.values, ok = literals(tokens[3]); !ok || len(c.values) > 1 && !c.many {
		return nil, false
	}
	for _, v := range c.values {
		if !c.left.kind.literal(v) {
			return nil, false
		}
	}
	return c, true
}

// operator finds what a name without its quantifier, in lower case, does to
// one pair of values of a kind.
func operator(name string, k kind) (func(have, want string) bool, bool) {
	switch {
	case k == text:
		name, ok := strings.CutPrefix(name, "string")
		name, negate := strings.CutPrefix(name, "not")
		name, fold := strings.CutSuffix(name, "ignorecase")
		compare, known := stringOperators[name]
		if !ok || !known {
			return nil, false
		}
		return func(have, want string) bool {
			if fold {
				have, want = strings.ToLower(have), strings.ToLower(want)
			}
			return compare(have, want) != negate
		}, true
	case k == dateTime:
		name, ok := strings.CutPrefix(name, "datetime")
		holds, known := orders[name]
		return func(have, want string) bool {
			h, err1 := time.Parse(time.RFC3339Nano, have)
			w, err2 := time.Parse(time.RFC3339Nano, want)
			return err1 == nil && err2 == nil && holds(h.Compare(w))
		}, ok && known
	case k == boolean && name == "boolequals", k == guid && name == "guidequals":
		return strings.EqualFold, true
	case k == boolean && name == "boolnotequals", k == guid && name == "guidnotequals":
		return func(have, want string) bool { return !strings.EqualFold(have, want) }, true
	}
	return nil, false
}

var stringOperators = map[string]func(have, want string) bool{
	"equals":     func(have, want string) bool { return have == want },
	"startswith": strings.HasPrefix,
	"like":       like,
}

// orders are the operators on what can be compared, by the comparison's sign.
var orders = map[string]func(int) bool{
	"equals":            func(c int) bool { return c == 0 },
	"notequals":         func(c int) bool { return c != 0 },
	"lessthan":          func(c int) bool { return c < 0 },
	"lessthanequals":    func(c int) bool { return c <= 0 },
	"greaterthan":       func(c int) bool { return c > 0 },
	"greaterthanequals": func(c int) bool { return c >= 0 },
}

// literals reads 'a', {'a', 'b'}, {guid, guid}, true.
func literals(token string) ([]string, bool) {
	list, braced := strings.CutPrefix(token, "{")
	if !braced {
		if strings.HasPrefix(token, "'") {
			return quotedList(token)
		}
		return []string{token}, !strings.ContainsAny(token, "[@")
	}
	list = strings.TrimSuffix(list, "}")
	if strings.Contains(list, "'") {
		return quotedList(list)
	}
	var out []string
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		if word == "" || strings.ContainsAny(word, " \t\r\n") {
			return nil, false
		}
		out = append(out, word)
	}
	return out, true
}

// quotedList reads 'a', 'b'.
func quotedList(s string) (out []string, ok bool) {
	for {
		s = strings.TrimSpace(s)
		rest, quoted := strings.CutPrefix(s, "'")
		value, rest, closed := strings.Cut(rest, "'")
		if !quoted || !closed {
			return nil, false
		}
		out = append(out, value)
		if s = strings.TrimSpace(rest); s == "" {
			return out, true
		}
		if s, ok = strings.CutPrefix(s, ","); !ok {
			return nil, false
		}
	}
}

// like matches * for any run and ? for any one character.
func like(have, want string) bool {
	h, w := []rune(have), []rune(want)
	star, mark := -1, 0
	i, j := 0, 0
	for i < len(h) {
		switch {
		case j < len(w) && w[j] == '*':
			star, mark = j, i
			j++
		case j < len(w) && (w[j] == '?' || w[j] == h[i]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(w) && w[j] == '*' {
		j++
	}
	return j == len(w)
}
