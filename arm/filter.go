package arm

import "strings"

// Filter is a parsed `$filter`: comparisons and function calls joined by `and`,
// which is all that the clients of these resource types send.
type Filter struct {
	equals map[string]string // lower-cased name to value
	calls  map[string]string // lower-cased function to its argument
}

// ParseFilter reads a $filter such as
//
//	atScope() and principalId eq '00000000-...'
//
// Only the names given are allowed, functions with their parentheses
// ("atScope()"): a filter that is not understood is refused, for ignoring it
// would answer another question than the one asked.
func ParseFilter(s string, allowed ...string) (Filter, error) {
	f := Filter{equals: map[string]string{}, calls: map[string]string{}}
	rest := strings.TrimSpace(s)
	for rest != "" {
		name := rest[:wordLen(rest)]
		after := strings.TrimLeft(rest[len(name):], " ")
		var into map[string]string
		key := strings.ToLower(name)
		var value string
		var ok bool
		switch {
		case name == "":
			return f, errFilter(s, "A name is expected at '"+rest+"'")
		case strings.HasPrefix(after, "("):
			into = f.calls
			after = strings.TrimLeft(after[1:], " ")
			if !strings.HasPrefix(after, ")") {
				if value, after, ok = filterValue(after); !ok {
					return f, errFilter(s, "The argument of '"+name+"' is not a value")
				}
				after = strings.TrimLeft(after, " ")
			}
			if !strings.HasPrefix(after, ")") {
				return f, errFilter(s, "A closing parenthesis is missing")
			}
			after = after[1:]
			name += "()"
		case hasWord(after, "eq"):
			into = f.equals
			if value, after, ok = filterValue(strings.TrimLeft(after[2:], " ")); !ok {
				return f, errFilter(s, "'"+name+"' is not compared with a value")
			}
		default:
			return f, errFilter(s, "Only 'eq', 'and' and functions are supported")
		}
		if !containsFold(allowed, name) {
			return f, errFilter(s, "'"+name+"' cannot be filtered by")
		}
		if _, twice := into[key]; twice {
			return f, errFilter(s, "'"+name+"' appears twice")
		}
		into[key] = value
		if rest = strings.TrimSpace(after); rest == "" {
			break
		}
		if !hasWord(rest, "and") {
			return f, errFilter(s, "'and' is expected at '"+rest+"'")
		}
		if rest = strings.TrimSpace(rest[3:]); rest == "" {
			return f, errFilter(s, "Nothing follows 'and'")
		}
	}
	return f, nil
}

// Equals is the value name is compared with.
func (f Filter) Equals(name string) (value string, ok bool) {
	value, ok = f.equals[strings.ToLower(name)]
	return value, ok
}

// Call is the argument of a function; ok says that it was called.
func (f Filter) Call(name string) (arg string, ok bool) {
	arg, ok = f.calls[strings.ToLower(name)]
	return arg, ok
}

func wordLen(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '/' && s[i] != '_' {
			return i
		}
	}
	return len(s)
}

func hasWord(s, word string) bool {
	return wordLen(s) == len(word) && strings.EqualFold(s[:len(word)], word)
}

// filterValue takes a quoted string, in which a doubled quote is one, or the
// bare word that some clients send for a GUID.
func filterValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		end := strings.IndexAny(s, " )")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0 && !strings.Contains(s[:end], "'")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", "", false
}

func containsFold(list []string, s string) bool {
	for _, e := range list {
		if strings.EqualFold(e, s) {
			return true
		}
	}
	return false
}
