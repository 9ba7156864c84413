package rbac

import (
	"regexp"
	"strings"
	"testing"
)

func TestPatternMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, action string
		want            bool
	}{
		{"a/b/read", "a/b/read", true},
		{"a/b/read", "a/b/readx", false},
		{"a/b/read", "xa/b/read", false},
		{"*", "a/b/read", true},
		{"*/read", "a/b/read", true},
		{"*/read", "a/b/readers", false},
		{"*/read", "read", false},
		{"a/*", "a/b/c/read", true},
		{"a/*", "a", false},
		{"a/*", "ab/c", false},
		{"a/*/read", "a/b/read", true},
		{"a/*/read", "a/b/c/d/read", true},
		{"a/*/read", "a/read", true}, // a star that fills a segment may stand for none
		{"a/*/read", "a/bread", false},
		{"a/*/read", "aread", false},
		{"a/*/*/read", "a/read", true},
		{"a/*/b/*/read", "a/b/read", true},
		{"a/*/b/*/read", "a/x/b/y/z/read", true},
		{"a/*/b/*/read", "a/x/read", false},
		{"a/*b/read", "a/b/read", true},
		{"a/*b/read", "a/xb/read", true},
		{"a/x*/read", "a/x/read", true},
		{"a/x*/read", "a/read", false},
		{"a/*a", "a/a", true},
		{"a/*/a", "a/a", true},
		{"a/*/a", "a/", false},
		{"aa*aa", "aaa", false},
		{"A/B/ListKeys/Action", "a/b/listkeys/action", true},
	} {
		if got := compileGlob(tc.pattern).match(lower(tc.action)); got != tc.want {
			t.Errorf("%q on %q: %t, want %t", tc.pattern, tc.action, got, tc.want)
		}
		if _, got := compilePatterns([]string{tc.pattern}).match(lower(tc.action)); got != tc.want {
			t.Errorf("list of %q on %q: %t, want %t", tc.pattern, tc.action, got, tc.want)
		}
	}
}

// A look-alike letter must not pass for an ASCII one: the Kelvin sign folds to
// k in Unicode.
func TestPatternFoldsASCIIOnly(t *testing.T) {
	if compileGlob("a/listKeys/action").match(lower("a/list\u212aeys/action")) {
		t.Error("the Kelvin sign passed for a K")
	}
}

// slowMatch is the rule in its plainest form: any whole-segment star may be
// dropped, the others stand for any run of characters.
func slowMatch(pattern, action string) bool {
	pattern, action = strings.ToLower(pattern), strings.ToLower(action)
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	if regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(action) {
		return true
	}
	for i := 0; i+3 <= len(pattern); i++ {
		if pattern[i:i+3] == "/*/" && slowMatch(pattern[:i]+pattern[i+2:], action) {
			return true
		}
	}
	return false
}

func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"a/*/read", "a/read"}, {"*", ""}, {"a/*/*/b", "a/b"}, {"/*/", "/"}, {"**", "a"},
		{"a/**/b", "a/b"}, {"*/*/*", "a"}, {"/*/*/", "//"}, {"a*a", "a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, action string) {
		if len(pattern) > 24 || len(action) > 40 || !isASCII(pattern) || !isASCII(action) {
			return // slowMatch would take for ever, and knows ASCII only
		}
		if got, want := compileGlob(pattern).match(lower(action)), slowMatch(pattern, action); got != want {
			t.Errorf("%q on %q: %t, want %t", pattern, action, got, want)
		}
	})
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
