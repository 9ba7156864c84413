package scenarios

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ignore says which files of a folder are not uploaded: the rules of .amlignore
// in its root, or else of .gitignore, in the pattern language of the latter.
// The ignore file itself is uploaded.
type ignore []ignoreRule

type ignoreRule struct {
	pattern *regexp.Regexp
	include bool
}

// ignoreOf reads a folder's rules; a folder may have none.
func ignoreOf(dir string) (ignore, error) {
	for _, name := range []string{".amlignore", ".gitignore"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseIgnore(string(raw)), nil
	}
	return nil, nil
}

func parseIgnore(text string) (rules ignore) {
	for line := range strings.Lines(text) {
		if rule, ok := parseIgnoreLine(strings.TrimRight(line, " \t\r\n")); ok {
			rules = append(rules, rule)
		}
	}
	return rules
}

func parseIgnoreLine(line string) (ignoreRule, bool) {
	if line == "" || strings.HasPrefix(line, "#") || line == "/" {
		return ignoreRule{}, false
	}
	rule := ignoreRule{}
	if rest, ok := strings.CutPrefix(line, "!"); ok {
		rule.include, line = true, rest
	}
	line = strings.TrimPrefix(line, `\`) // of a leading # or !
	anchored := strings.Contains(strings.TrimSuffix(line, "/"), "/")
	directory := strings.HasSuffix(line, "/")
	line = strings.Trim(line, "/")
	expr := "^"
	if !anchored {
		expr += "(?:.*/)?"
	}
	parts := strings.Split(line, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && last:
			expr += ".*"
		case part == "**":
			expr += "(?:.*/)?"
		case last:
			expr += globExpression(part)
		default:
			expr += globExpression(part) + "/"
		}
	}
	if directory {
		expr += "/.*$"
	} else {
		expr += "(?:/.*)?$"
	}
	pattern, err := regexp.Compile(expr)
	if err != nil {
		return ignoreRule{}, false // an unfinished class matches nothing
	}
	rule.pattern = pattern
	return rule, true
}

// globExpression is one path segment's pattern.
func globExpression(glob string) string {
	var out strings.Builder
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			out.WriteString("[^/]*")
		case '?':
			out.WriteString("[^/]")
		case '\\':
			if i++; i < len(glob) {
				out.WriteString(regexp.QuoteMeta(glob[i : i+1]))
			}
		case '[':
			end := strings.IndexByte(glob[i+1:], ']')
			if end <= 0 {
				out.WriteString(`\[`)
				continue
			}
			class := glob[i+1 : i+1+end]
			if rest, ok := strings.CutPrefix(class, "!"); ok {
				class = "^" + rest
			}
			out.WriteString("[" + strings.ReplaceAll(class, `\`, `\\`) + "]")
			i += end + 1
		default:
			out.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return out.String()
}

// excludes says whether a file, named below the folder with slashes, stays
// behind. The last rule that matches counts.
func (rules ignore) excludes(path string) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		if rules[i].pattern.MatchString(path) {
			return !rules[i].include
		}
	}
	return false
}
