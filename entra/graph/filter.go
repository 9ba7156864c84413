package graph

import (
	"regexp"
	"strings"
)

// object is a Graph object as it is answered.
type object map[string]any

// clause is one condition of a $filter.
type clause struct {
	property string // lower case
	prefix   bool   // startswith rather than eq
	value    string
}

// The forms of a clause that clients send:
//
//	displayName eq 'x'    appOwnerOrganizationId eq 00000000-...
//	startswith(displayName,'x')
//	servicePrincipalNames/any(c:c eq 'x')
var (
	equals     = regexp.MustCompile(`^(?i)([a-z]+)\s+eq\s+(?:'((?:[^']|'')*)'|([0-9a-f-]{36}|true|false))$`)
	startsWith = regexp.MustCompile(`^(?i)startswith\(\s*([a-z]+)\s*,\s*'((?:[^']|'')*)'\s*\)$`)
	anyOf      = regexp.MustCompile(`^(?i)([a-z]+)/any\(\s*([a-z]+)\s*:\s*([a-z]+)\s+eq\s+'((?:[^']|'')*)'\s*\)$`)
)

// parseFilter reads clauses joined by "and"; ok is false for anything else.
func parseFilter(text string) (clauses []clause, ok bool) {
	for _, part := range splitAnd(text) {
		part = strings.TrimSpace(part)
		for len(part) > 1 && part[0] == '(' && part[len(part)-1] == ')' {
			part = strings.TrimSpace(part[1 : len(part)-1])
		}
		unquote := func(s string) string { return strings.ReplaceAll(s, "''", "'") }
		if m := equals.FindStringSubmatch(part); m != nil {
			clauses = append(clauses, clause{property: strings.ToLower(m[1]), value: unquote(m[2] + m[3])})
		} else if m := startsWith.FindStringSubmatch(part); m != nil {
			clauses = append(clauses, clause{property: strings.ToLower(m[1]), prefix: true, value: unquote(m[2])})
		} else if m := anyOf.FindStringSubmatch(part); m != nil && strings.EqualFold(m[2], m[3]) {
			clauses = append(clauses, clause{property: strings.ToLower(m[1]), value: unquote(m[4])})
		} else {
			return nil, false
		}
	}
	return clauses, true
}

// splitAnd splits at the word "and" outside quotes.
func splitAnd(text string) []string {
	var parts []string
	quoted, begin := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\'':
			quoted = !quoted
		case !quoted && i+5 <= len(text) && strings.EqualFold(text[i:i+5], " and "):
			parts = append(parts, text[begin:i])
			begin = i + 5
			i += 4
		}
	}
	return append(parts, text[begin:])
}

// filterable are the properties each set can be filtered by, lower case, to
// their real spelling.
var filterable = map[string]map[string]string{
	"servicePrincipals": names("id", "appId", "displayName", "servicePrincipalNames", "servicePrincipalType", "appOwnerOrganizationId", "accountEnabled", "alternativeNames"),
	"applications":      names("id", "appId", "displayName", "identifierUris"),
	"users":             names("id", "displayName", "userPrincipalName", "mail", "accountEnabled"),
	"groups":            names("id", "displayName", "mail", "mailNickname", "securityEnabled"),
}

func names(list ...string) map[string]string {
	m := map[string]string{}
	for _, name := range list {
		m[strings.ToLower(name)] = name
	}
	return m
}

// where keeps the objects of a set that a $filter lets through; an empty filter
// keeps all.
func where(set, filter string, objects []object) ([]object, error) {
	out := []object{}
	if strings.TrimSpace(filter) == "" {
		return append(out, objects...), nil
	}
	clauses, ok := parseFilter(filter)
	if !ok {
		return nil, errFilter(filter)
	}
	for _, c := range clauses {
		if filterable[set][c.property] == "" {
			return nil, errFilter(filter)
		}
	}
next:
	for _, o := range objects {
		for _, c := range clauses {
			if !c.holds(o[filterable[set][c.property]]) {
				continue next
			}
		}
		out = append(out, o)
	}
	return out, nil
}

// holds compares as Graph does: without letter case; a list holds if any
// element does.
func (c clause) holds(v any) bool {
	switch v := v.(type) {
	case string:
		if c.prefix {
			return len(v) >= len(c.value) && strings.EqualFold(v[:len(c.value)], c.value)
		}
		return strings.EqualFold(v, c.value)
	case bool:
		return strings.EqualFold(c.value, map[bool]string{true: "true", false: "false"}[v])
	case []string:
		for _, s := range v {
			if c.holds(s) {
				return true
			}
		}
	}
	return false
}
