package rbac

import (
	"errors"
	"fmt"
	"strings"
)

// comparison is one attribute compared with values: what conditions of version
// 2.0 are made of besides actions.
type comparison struct {
	attribute string // lower case, as between @Resource[ and ], with its source
	compare   func(have, want string) bool
	negate    bool
	values    []string
}

// The attributes of blob storage that are known here. Tags, metadata, versions
// and snapshots are not, nor are those of principals and of the environment.
const (
	accountName   = "@resource[microsoft.storage/storageaccounts:name]"
	containerName = "@resource[microsoft.storage/storageaccounts/blobservices/containers:name]"
	blobPath      = "@resource[microsoft.storage/storageaccounts/blobservices/containers/blobs:path]"
	blobPrefix    = "@request[microsoft.storage/storageaccounts/blobservices/containers/blobs:prefix]"
)

const blobList = "blob.list"

// attributeOf is an attribute's value in a question; ok is false when the
// question has none, as listing has no path.
func attributeOf(name string, q question) (value string, ok bool) {
	switch name {
	case accountName:
		return segment(q.asked, 8, "storageAccounts")
	case containerName:
		return segment(q.asked, 12, "containers")
	case blobPath:
		return q.blob, q.blob != ""
	case blobPrefix:
		return q.prefix, q.sub == blobList
	}
	return "", false
}

// segment is the name at a place of a storage scope, if what stands before it
// is its kind: /subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/
// storageAccounts/A/blobServices/default/containers/C.
func segment(scope string, at int, kind string) (string, bool) {
	seg := strings.Split(scope, "/")
	if len(seg) <= at || !strings.EqualFold(seg[6], "Microsoft.Storage") || !strings.EqualFold(seg[at-1], kind) {
		return "", false
	}
	return seg[at], seg[at] != ""
}

// eval is unknown when the attribute is not there: then nothing is granted.
func (c *comparison) eval(q question) truth {
	have, ok := attributeOf(c.attribute, q)
	if !ok {
		return unknown
	}
	for _, want := range c.values {
		if c.compare(have, want) {
			return yes.unless(c.negate)
		}
	}
	return no.unless(c.negate)
}

func (t truth) unless(negate bool) truth {
	if negate {
		return yes - t
	}
	return t
}

var stringOperators = map[string]func(have, want string) bool{
	"equals":     func(have, want string) bool { return have == want },
	"startswith": strings.HasPrefix,
	"like":       like,
}

// newComparison reads "@Resource[...] StringEquals 'x'"; ok is false for what
// is not known here.
func newComparison(tokens []string) (*comparison, bool) {
	if len(tokens) != 4 {
		return nil, false
	}
	c := &comparison{attribute: strings.ToLower(tokens[0] + tokens[1])}
	switch c.attribute {
	case accountName, containerName, blobPath, blobPrefix:
	default:
		return nil, false
	}
	op := strings.ToLower(tokens[2])
	// One attribute value on the left: any and all of it are the same. On the
	// right, one of several suffices, and of a negated operator none may match.
	op = strings.TrimPrefix(strings.TrimPrefix(op, "foranyofanyvalues:"), "forallofanyvalues:")
	op, ok := strings.CutPrefix(op, "string")
	if !ok {
		return nil, false
	}
	op, c.negate = strings.CutPrefix(op, "not")
	op, fold := strings.CutSuffix(op, "ignorecase")
	compare, ok := stringOperators[op]
	if !ok {
		return nil, false
	}
	c.compare = compare
	if fold {
		c.compare = func(have, want string) bool { return compare(strings.ToLower(have), strings.ToLower(want)) }
	}
	list := tokens[3]
	switch {
	case strings.HasPrefix(list, "{"):
		list = list[1 : len(list)-1]
		// Of a negated operator Azure's any and all differ for several values;
		// we take one only.
		if c.negate && strings.Count(list, "'") > 2 {
			return nil, false
		}
	case !strings.HasPrefix(list, "'"):
		return nil, false
	}
	c.values, ok = quotedList(list)
	return c, ok
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

// ErrAttribute says that a condition speaks of something that is not evaluated
// here and would therefore never grant.
var ErrAttribute = errors.New("it reads attributes that are not evaluated")

// CheckCondition says whether a condition can be parsed and evaluated.
func CheckCondition(source string) error {
	c := compileCondition(source)
	if c == nil {
		return nil
	}
	if c.root == nil {
		return errCondition
	}
	if text := c.root.strange(); text != "" {
		return fmt.Errorf("%w: %s", ErrAttribute, text)
	}
	return nil
}

// strange is the text of the first part that is not known; "" if there is none.
func (n *conditionNode) strange() string {
	if n.kind == attributeNode && n.comparison == nil {
		return n.text
	}
	for _, kid := range n.kids {
		if text := kid.strange(); text != "" {
			return text
		}
	}
	return ""
}
