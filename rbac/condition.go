package rbac

import (
	"errors"
	"slices"
	"strings"
)

// truth is three-valued: what a condition says about attributes that are not
// there, or not known here, is unknown, and unknown never grants.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

// condition is a parsed role condition. The zero value never holds; a nil
// *condition always does.
type condition struct {
	source string
	root   *conditionNode // nil when the text does not parse
}

type conditionNode struct {
	kind       conditionKind
	kids       []*conditionNode
	actions    []glob      // of an actionNode
	subs       []string    // of a subOperationNode, in lower case
	comparison *comparison // of an attributeNode; nil: not known here
	text       string      // of an attributeNode
}

type conditionKind int8

const (
	attributeNode conditionKind = iota
	actionNode
	subOperationNode
	notNode
	andNode
	orNode
)

// compileCondition returns nil for the empty condition. A text that does not
// parse yields a condition that never holds.
func compileCondition(source string) *condition {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	root, err := parseCondition(source)
	if err != nil {
		return &condition{source: source}
	}
	return &condition{source, root}
}

// holds reports whether the condition is certainly fulfilled by a request.
func (c *condition) holds(q question) bool {
	if c == nil {
		return true
	}
	return c.root != nil && c.root.eval(q) == yes
}

func (n *conditionNode) eval(q question) truth {
	switch n.kind {
	case actionNode:
		for _, g := range n.actions {
			if g.match(q.action) {
				return yes
			}
		}
		return no
	case subOperationNode:
		if slices.Contains(n.subs, q.sub) {
			return yes
		}
		return no
	case notNode:
		return yes - n.kids[0].eval(q)
	case andNode:
		out := yes
		for _, kid := range n.kids {
			if out = min(out, kid.eval(q)); out == no {
				break // who answers for attributes hears which ones mattered
			}
		}
		return out
	case orNode:
		out := no
		for _, kid := range n.kids {
			if out = max(out, kid.eval(q)); out == yes {
				break
			}
		}
		return out
	default:
		if n.comparison != nil {
			return n.comparison.eval(q)
		}
		return unknown
	}
}

var errCondition = errors.New("condition does not parse")

// maxConditionDepth bounds the recursion on text that comes from outside.
const maxConditionDepth = 64

type conditionParser struct {
	tokens []string
	depth  int
}

func parseCondition(source string) (*conditionNode, error) {
	tokens, err := conditionTokens(source)
	if err != nil {
		return nil, err
	}
	p := &conditionParser{tokens: tokens}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if len(p.tokens) > 0 {
		return nil, errCondition
	}
	return root, nil
}

// conditionTokens cuts the text into parentheses, operators, bracketed or
// quoted groups (one token each) and words.
func conditionTokens(s string) ([]string, error) {
	var out []string
	for i := 0; i < len(s); {
		c := s[i]
		end := i + 1
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
			continue
		case c == '(' || c == ')' || c == '!' || c == ',':
		case strings.HasPrefix(s[i:], "&&") || strings.HasPrefix(s[i:], "||"):
			end = i + 2
		case c == '\'' || c == '{' || c == '[':
			var ok bool
			if end, ok = groupEnd(s, i); !ok {
				return nil, errCondition
			}
		case c == '}' || c == ']':
			return nil, errCondition
		default:
			for end < len(s) && !strings.ContainsRune(" \t\r\n()!,'{}[]&|", rune(s[end])) {
				end++
			}
		}
		out = append(out, s[i:end])
		i = end
	}
	return out, nil
}

// groupEnd finds the end of the quoted, braced or bracketed group that begins
// at start. Quotes inside braces hide closing braces.
func groupEnd(s string, start int) (int, bool) {
	closing := map[byte]byte{'\'': '\'', '{': '}', '[': ']'}[s[start]]
	for i := start + 1; i < len(s); i++ {
		switch {
		case s[i] == closing:
			return i + 1, true
		case s[i] == '\'':
			j := strings.IndexByte(s[i+1:], '\'')
			if j < 0 {
				return 0, false
			}
			i += j + 1
		}
	}
	return 0, false
}

func (p *conditionParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

// skip drops the next token if it is one of the given, compared without case.
func (p *conditionParser) skip(words ...string) bool {
	for _, t := range words {
		if len(p.tokens) > 0 && strings.EqualFold(p.tokens[0], t) {
			p.tokens = p.tokens[1:]
			return true
		}
	}
	return false
}

func (p *conditionParser) or() (*conditionNode, error) {
	return p.chain(orNode, p.and, "OR", "||")
}

func (p *conditionParser) and() (*conditionNode, error) {
	return p.chain(andNode, p.unary, "AND", "&&")
}

func (p *conditionParser) chain(kind conditionKind, next func() (*conditionNode, error), ops ...string) (*conditionNode, error) {
	node := &conditionNode{kind: kind}
	for {
		kid, err := next()
		if err != nil {
			return nil, err
		}
		node.kids = append(node.kids, kid)
		if !p.skip(ops...) {
			return node, nil
		}
	}
}

func (p *conditionParser) unary() (*conditionNode, error) {
	if p.depth++; p.depth > maxConditionDepth {
		return nil, errCondition
	}
	defer func() { p.depth-- }()
	switch {
	case p.skip("!", "NOT"):
		kid, err := p.unary()
		if err != nil {
			return nil, err
		}
		return &conditionNode{kind: notNode, kids: []*conditionNode{kid}}, nil
	case p.skip("("):
		node, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.skip(")") {
			return nil, errCondition
		}
		return node, nil
	case p.skip("ActionMatches"):
		return p.actionMatches()
	case p.skip("SubOperationMatches"):
		return p.subOperationMatches()
	default:
		return p.attribute()
	}
}

func (p *conditionParser) actionMatches() (*conditionNode, error) {
	group := p.peek()
	if !strings.HasPrefix(group, "{") {
		return nil, errCondition
	}
	p.tokens = p.tokens[1:]
	node := &conditionNode{kind: actionNode}
	for _, quoted := range strings.Split(group[1:len(group)-1], ",") {
		action := strings.TrimSpace(quoted)
		if len(action) < 3 || action[0] != '\'' || action[len(action)-1] != '\'' {
			return nil, errCondition
		}
		node.actions = append(node.actions, compileGlob(action[1:len(action)-1]))
	}
	return node, nil
}

func (p *conditionParser) subOperationMatches() (*conditionNode, error) {
	group := p.peek()
	if !strings.HasPrefix(group, "{") {
		return nil, errCondition
	}
	p.tokens = p.tokens[1:]
	names, ok := quotedList(group[1 : len(group)-1])
	if !ok {
		return nil, errCondition
	}
	node := &conditionNode{kind: subOperationNode}
	for _, name := range names {
		node.subs = append(node.subs, strings.ToLower(name))
	}
	return node, nil
}

// attribute reads one comparison of attributes. One that is not known is
// swallowed; its outcome is unknown.
func (p *conditionParser) attribute() (*conditionNode, error) {
	var taken []string
	node := func() *conditionNode {
		n := &conditionNode{kind: attributeNode, text: strings.Join(taken, " ")}
		if c, ok := newComparison(taken); ok {
			n.comparison = c
		}
		return n
	}
	for len(p.tokens) > 0 {
		switch t := strings.ToUpper(p.tokens[0]); t {
		case "(", "!", "ACTIONMATCHES", "SUBOPERATIONMATCHES":
			return nil, errCondition
		case ")", "AND", "OR", "&&", "||":
			if len(taken) == 0 {
				return nil, errCondition
			}
			return node(), nil
		}
		taken = append(taken, p.tokens[0])
		p.tokens = p.tokens[1:]
	}
	if len(taken) == 0 {
		return nil, errCondition
	}
	return node(), nil
}
