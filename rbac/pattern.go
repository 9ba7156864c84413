package rbac

import "strings"

// glob is one action pattern, lower-cased and cut at its stars: "a/*/read"
// becomes {"a/", "/read"}.
type glob struct {
	source string
	pieces []string
}

func compileGlob(source string) glob {
	return glob{source, strings.Split(lower(source), "*")}
}

// match reports whether the lower-cased action fits the pattern. A star stands
// for any run of characters, slashes too. A star that fills a whole segment may
// also stand for nothing at all: "a/*/read" matches "a/read".
func (g glob) match(action string) bool {
	first := g.pieces[0]
	if len(g.pieces) == 1 {
		return action == first
	}
	if !strings.HasPrefix(action, first) {
		return false
	}
	pos, last := len(first), len(g.pieces)-1
	for i := 1; i < last; i++ {
		from := pos - g.overlap(i)
		at := strings.Index(action[from:], g.pieces[i])
		if at < 0 {
			return false
		}
		pos = from + at + len(g.pieces[i])
	}
	return len(action)-len(g.pieces[last]) >= pos-g.overlap(last) && strings.HasSuffix(action, g.pieces[last])
}

// overlap is 1 where the star before piece i fills a whole segment: the slash
// that ends one piece may then be the slash that begins the next.
func (g glob) overlap(i int) int {
	if strings.HasSuffix(g.pieces[i-1], "/") && strings.HasPrefix(g.pieces[i], "/") {
		return 1
	}
	return 0
}

// patterns is a compiled list of action patterns: the ones without a star are
// found by one look-up, however long the list.
type patterns struct {
	exact map[string]string
	globs []glob
}

func compilePatterns(list []string) patterns {
	var p patterns
	for _, source := range list {
		g := compileGlob(source)
		if len(g.pieces) > 1 {
			p.globs = append(p.globs, g)
			continue
		}
		if p.exact == nil {
			p.exact = make(map[string]string)
		}
		p.exact[g.pieces[0]] = source
	}
	return p
}

// match returns the pattern that fits the lower-cased action.
func (p patterns) match(action string) (source string, ok bool) {
	if source, ok = p.exact[action]; ok {
		return source, true
	}
	for _, g := range p.globs {
		if g.match(action) {
			return g.source, true
		}
	}
	return "", false
}

func (p patterns) empty() bool { return len(p.exact) == 0 && len(p.globs) == 0 }

// lower folds ASCII letters only. Action names are ASCII; folding more would
// let a look-alike letter pass for a plain one.
func lower(s string) string {
	i := 0
	for i < len(s) && (s[i] < 'A' || s[i] > 'Z') {
		i++
	}
	if i == len(s) {
		return s
	}
	b := []byte(s)
	for ; i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}
