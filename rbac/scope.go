package rbac

import "strings"

// ScopeContains reports whether inner is outer or lies below it. Scopes are
// compared by whole path segments and without regard to letter case, so that
// an account named `acct` does not contain its neighbour `acct2`. The root
// "/" contains every scope; an empty string is no scope and contains nothing.
func ScopeContains(outer, inner string) bool {
	return outer != "" && inner != "" && keyContains(scopeKey(outer), scopeKey(inner))
}

// scopeKey is the form scopes are compared in: lower case, no slash at the end.
// The root is the empty string, which makes "the part before the last slash"
// the parent of every scope.
func scopeKey(scope string) string {
	for strings.HasSuffix(scope, "/") {
		scope = scope[:len(scope)-1]
	}
	return strings.ToLower(scope)
}

func keyContains(outer, inner string) bool {
	return strings.HasPrefix(inner, outer) && (len(inner) == len(outer) || inner[len(outer)] == '/')
}

// parentKey is the key of the enclosing scope; ok is false at the root.
func parentKey(key string) (parent string, ok bool) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", key != ""
	}
	return key[:i], true
}

// sharedSegments counts the leading path segments two keys have in common.
func sharedSegments(a, b string) int {
	n := 0
	for {
		sa, ra, oka := strings.Cut(a, "/")
		sb, rb, okb := strings.Cut(b, "/")
		if sa != sb {
			return n
		}
		n++
		if !oka || !okb {
			return n
		}
		a, b = ra, rb
	}
}
