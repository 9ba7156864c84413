package template

import (
	"fmt"
	"strconv"
	"strings"
)

// node is a parsed expression.
type node interface {
	eval(e *env) (any, error)
}

type literal struct{ value any }

// call is a function with its arguments.
type call struct {
	name string // lower case
	args []node
}

// access is a property or element of a value.
type access struct{ of, key node }

// isExpression: text in brackets is one, but for an escaped bracket.
func isExpression(s string) bool {
	return len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' && !strings.HasPrefix(s, "[[")
}

// maxDepth bounds nesting in what comes from outside.
const maxDepth = 100

// parse reads the text between the brackets.
func parse(text string) (node, error) {
	p := &parser{text: text}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, p.unexpected()
	}
	return n, nil
}

type parser struct {
	text  string
	at    int
	depth int
}

func (p *parser) unexpected() error {
	if p.at >= len(p.text) {
		return fmt.Errorf("the expression '%s' ends too early", p.text)
	}
	return fmt.Errorf("unexpected '%c' at position %d of the expression '%s'", p.text[p.at], p.at, p.text)
}

func (p *parser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// skip passes over c, if it is next.
func (p *parser) skip(c byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) expression() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("the expression '%s' is nested too deeply", p.text)
	}
	defer func() { p.depth-- }()
	n, err := p.primary()
	for err == nil {
		switch {
		case p.skip('.'):
			name := p.word()
			if name == "" {
				return nil, p.unexpected()
			}
			n = access{n, literal{name}}
		case p.skip('['):
			var key node
			if key, err = p.expression(); err == nil && !p.skip(']') {
				err = p.unexpected()
			}
			n = access{n, key}
		default:
			return n, nil
		}
	}
	return nil, err
}

func (p *parser) primary() (node, error) {
	p.space()
	if p.at >= len(p.text) {
		return nil, p.unexpected()
	}
	switch c := p.text[p.at]; {
	case c == '\'':
		return p.quoted()
	case c == '-' || c >= '0' && c <= '9':
		start := p.at
		for p.at++; p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9'; p.at++ {
		}
		n, err := strconv.ParseInt(p.text[start:p.at], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("'%s' is no number", p.text[start:p.at])
		}
		return literal{n}, nil
	}
	name := p.word()
	if name == "" || !p.skip('(') {
		return nil, p.unexpected()
	}
	out := call{name: strings.ToLower(name)}
	if p.skip(')') {
		return out, nil
	}
	for {
		arg, err := p.expression()
		if err != nil {
			return nil, err
		}
		out.args = append(out.args, arg)
		if p.skip(')') {
			return out, nil
		}
		if !p.skip(',') {
			return nil, p.unexpected()
		}
	}
}

// quoted reads a string; a doubled quote stands for one.
func (p *parser) quoted() (node, error) {
	var out strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		if p.text[p.at] != '\'' {
			out.WriteByte(p.text[p.at])
			continue
		}
		if p.at++; p.at >= len(p.text) || p.text[p.at] != '\'' {
			return literal{out.String()}, nil
		}
		out.WriteByte('\'')
	}
	return nil, p.unexpected()
}

func (p *parser) word() string {
	p.space()
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c != '_' && c != '$' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}
