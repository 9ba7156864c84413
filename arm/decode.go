package arm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting: ARM bodies are shallow, hostile ones are not.
const maxDepth = 100

// Decode parses a JSON object as ARM reads it. Beyond RFC 8259 it accepts what
// real clients send: comments, unquoted keys, trailing commas and single quotes
// (template deployments of az), and raw line ends inside strings (REST samples
// pasted from documentation). Numbers keep their spelling.
// A failure is a *SyntaxError.
func Decode(body []byte) (Document, error) {
	d := decoder{src: body}
	if strings.HasPrefix(string(body[:min(len(body), 3)]), "\ufeff") {
		d.pos = 3
	}
	d.space()
	if d.pos == len(d.src) {
		return nil, d.fail("the body is empty where a JSON object is expected")
	}
	if d.src[d.pos] != '{' {
		return nil, d.fail("expected a JSON object, found %s", d.here())
	}
	obj, err := d.object(0)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.pos < len(d.src) {
		return nil, d.fail("unexpected %s after the object", d.here())
	}
	return obj, nil
}

// SyntaxError says where a body stops being JSON.
type SyntaxError struct {
	Line, Column int // from 1; Column counts bytes
	Reason       string
}

// Error names reason and place.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s. Line %d, position %d.", e.Reason, e.Line, e.Column)
}

type decoder struct {
	src []byte
	pos int
}

func (d *decoder) fail(format string, args ...any) error {
	before := d.src[:min(d.pos, len(d.src))]
	line := 1 + strings.Count(string(before), "\n")
	return &SyntaxError{Line: line, Column: len(before) - strings.LastIndexByte(string(before), '\n'), Reason: fmt.Sprintf(format, args...)}
}

func (d *decoder) here() string {
	if d.pos >= len(d.src) {
		return "the end of the body"
	}
	r, _ := utf8.DecodeRune(d.src[d.pos:])
	return strconv.QuoteRune(r)
}

func (d *decoder) space() {
	for d.pos < len(d.src) {
		switch rest := d.src[d.pos:]; {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r':
			d.pos++
		case len(rest) > 1 && rest[0] == '/' && rest[1] == '/':
			for d.pos < len(d.src) && d.src[d.pos] != '\n' {
				d.pos++
			}
		case len(rest) > 1 && rest[0] == '/' && rest[1] == '*':
			end := strings.Index(string(rest[2:]), "*/")
			if end < 0 {
				d.pos = len(d.src)
				return
			}
			d.pos += end + 4
		default:
			return
		}
	}
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, d.fail("the body is nested deeper than %d levels", maxDepth)
	}
	if d.pos >= len(d.src) {
		return nil, d.fail("expected a value, found the end of the body")
	}
	switch c := d.src[d.pos]; {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"' || c == '\'':
		return d.str()
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	default:
		switch word := d.word(); word {
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "null":
			return nil, nil
		default:
			d.pos -= len(word)
			return nil, d.fail("expected a value, found %s", d.here())
		}
	}
}

func (d *decoder) object(depth int) (map[string]any, error) {
	out := map[string]any{}
	d.pos++
	for {
		d.space()
		if d.pos >= len(d.src) {
			return nil, d.fail("the object is not closed")
		}
		if d.src[d.pos] == '}' {
			d.pos++
			return out, nil
		}
		key, err := d.key()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.pos >= len(d.src) || d.src[d.pos] != ':' {
			return nil, d.fail("expected ':' after the name %q, found %s", key, d.here())
		}
		d.pos++
		d.space()
		if out[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		if err := d.separator('}'); err != nil {
			return nil, err
		}
	}
}

func (d *decoder) array(depth int) ([]any, error) {
	out := []any{}
	d.pos++
	for {
		d.space()
		if d.pos >= len(d.src) {
			return nil, d.fail("the array is not closed")
		}
		if d.src[d.pos] == ']' {
			d.pos++
			return out, nil
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if err := d.separator(']'); err != nil {
			return nil, err
		}
	}
}

// separator takes a comma, or leaves the closing bracket for the caller.
func (d *decoder) separator(closing byte) error {
	d.space()
	switch {
	case d.pos >= len(d.src):
		return d.fail("expected ',' or %q, found the end of the body", closing)
	case d.src[d.pos] == ',':
		d.pos++
	case d.src[d.pos] != closing:
		return d.fail("expected ',' or %q, found %s", closing, d.here())
	}
	return nil
}

func (d *decoder) key() (string, error) {
	if c := d.src[d.pos]; c == '"' || c == '\'' {
		return d.str()
	}
	if word := d.word(); word != "" {
		return word, nil
	}
	return "", d.fail("expected a name, found %s", d.here())
}

func (d *decoder) word() string {
	start := d.pos
	for d.pos < len(d.src) {
		c := d.src[d.pos]
		if c != '_' && c != '$' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		d.pos++
	}
	return string(d.src[start:d.pos])
}

func (d *decoder) number() (any, error) {
	start := d.pos
	for d.pos < len(d.src) && strings.IndexByte("+-.eE0123456789", d.src[d.pos]) >= 0 {
		d.pos++
	}
	text := string(d.src[start:d.pos])
	if !json.Valid([]byte(text)) {
		d.pos = start
		return nil, d.fail("%q is not a number", text)
	}
	return json.Number(text), nil
}

func (d *decoder) str() (string, error) {
	quote := d.src[d.pos]
	d.pos++
	var b strings.Builder
	for d.pos < len(d.src) {
		c := d.src[d.pos]
		switch c {
		case quote:
			d.pos++
			return strings.ToValidUTF8(b.String(), "\ufffd"), nil
		case '\\':
			if err := d.escape(&b); err != nil {
				return "", err
			}
			continue
		}
		b.WriteByte(c)
		d.pos++
	}
	return "", d.fail("the string is not closed")
}

func (d *decoder) escape(b *strings.Builder) error {
	if d.pos+1 >= len(d.src) {
		return d.fail("the string is not closed")
	}
	switch c := d.src[d.pos+1]; c {
	case '"', '\\', '/', '\'':
		b.WriteByte(c)
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		// encoding/json knows surrogate pairs; hand it the run of \u escapes.
		end := d.pos
		for end+6 <= len(d.src) && d.src[end] == '\\' && d.src[end+1] == 'u' {
			end += 6
		}
		var s string
		if end == d.pos || json.Unmarshal([]byte(`"`+string(d.src[d.pos:end])+`"`), &s) != nil {
			return d.fail("invalid \\u escape")
		}
		b.WriteString(s)
		d.pos = end
		return nil
	default:
		return d.fail("invalid escape %q", string([]byte{'\\', c}))
	}
	d.pos += 2
	return nil
}
