package rbac

import (
	"errors"
	"strings"
)

// truth is three-valued: what a condition says about attributes is unknown,
// and unknown never grants.
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
	kind    conditionKind
	kids    []*conditionNode
	actions []glob
}

type conditionKind int8

const (
	attributeNode conditionKind = iota
	actionNode
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

// holds reports whether the condition is certainly fulfilled for an action
// whatever the request's attributes are.
func (c *condition) holds(action string) bool {
	if c == nil {
		return true
	}
	return c.root != nil && c.root.eval(action) == yes
}

func (n *conditionNode) eval(action string) truth {
	switch n.kind {
	case actionNode:
		for _, g := range n.actions {
			if g.match(action) {
				return yes
			}
		}
		return no
	case notNode:
		return yes - n.kids[0].eval(action)
	case andNode:
		out := yes
		for _, kid := range n.kids {
			out = min(out, kid.eval(action))
		}
		return out
	case orNode:
		out := no
		for _, kid := range n.kids {
			out = max(out, kid.eval(action))
		}
		return out
	default:
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

// attribute swallows one comparison of attributes, whose outcome we do not know.
func (p *conditionParser) attribute() (*conditionNode, error) {
	taken := 0
	for len(p.tokens) > 0 {
		switch t := strings.ToUpper(p.tokens[0]); t {
		case "(", "!", "ACTIONMATCHES":
			return nil, errCondition
		case ")", "AND", "OR", "&&", "||":
			if taken == 0 {
				return nil, errCondition
			}
			return &conditionNode{kind: attributeNode}, nil
		}
		p.tokens = p.tokens[1:]
		taken++
	}
	if taken == 0 {
		return nil, errCondition
	}
	return &conditionNode{kind: attributeNode}, nil
}
