package template

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// guidSpace is the name space of guid(), as Azure documents it.
var guidSpace = uuid.MustParse("11fb06fb-712d-4ddd-98c7-e71bbd588830")

// textFunction: what makes strings.
func textFunction(name string) (function, bool) {
	one := func(f func(string) (any, error)) (function, bool) {
		return function{1, 1, func(_ *env, args []any) (any, error) {
			s, err := asString(args[0])
			if err != nil {
				return nil, err
			}
			return f(s)
		}}, true
	}
	two := func(f func(a, b string) any) (function, bool) {
		return function{2, 2, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			return f(texts[0], texts[1]), nil
		}}, true
	}
	switch name {
	case "tolower":
		return one(func(s string) (any, error) { return strings.ToLower(s), nil })
	case "toupper":
		return one(func(s string) (any, error) { return strings.ToUpper(s), nil })
	case "trim":
		return one(func(s string) (any, error) { return strings.TrimSpace(s), nil })
	case "base64":
		return one(func(s string) (any, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil })
	case "base64tostring":
		return one(func(s string) (any, error) {
			raw, err := base64.StdEncoding.DecodeString(s)
			return string(raw), err
		})
	case "uricomponent":
		return one(func(s string) (any, error) { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), nil })
	case "uricomponenttostring":
		return one(func(s string) (any, error) { return url.PathUnescape(s) })
	case "json":
		return one(func(s string) (any, error) {
			var v any
			if err := json.Unmarshal([]byte(s), &v); err != nil {
				return nil, err
			}
			return deepNumbers(v), nil
		})
	case "startswith":
		return two(func(a, b string) any { return strings.HasPrefix(strings.ToLower(a), strings.ToLower(b)) })
	case "endswith":
		return two(func(a, b string) any { return strings.HasSuffix(strings.ToLower(a), strings.ToLower(b)) })
	case "indexof":
		return two(func(a, b string) any { return int64(strings.Index(strings.ToLower(a), strings.ToLower(b))) })
	case "lastindexof":
		return two(func(a, b string) any { return int64(strings.LastIndex(strings.ToLower(a), strings.ToLower(b))) })
	case "uri":
		return function{2, 2, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			base, err := url.Parse(texts[0])
			if err != nil {
				return nil, err
			}
			ref, err := url.Parse(texts[1])
			if err != nil {
				return nil, err
			}
			return base.ResolveReference(ref).String(), nil
		}}, true
	case "replace":
		return function{3, 3, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			return strings.ReplaceAll(texts[0], texts[1], texts[2]), nil
		}}, true
	case "split":
		return function{2, 2, split}, true
	case "join":
		return function{2, 2, joinList}, true
	case "substring":
		return function{2, 3, substring}, true
	case "padleft":
		return function{2, 3, padLeft}, true
	case "format":
		return function{1, -1, format}, true
	case "string":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			if s, ok := args[0].(string); ok {
				return s, nil
			}
			return show(args[0]), nil
		}}, true
	case "uniquestring":
		return function{1, -1, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
			return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:13], nil
		}}, true
	case "guid":
		return function{1, -1, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			return uuid.NewSHA1(guidSpace, []byte(strings.Join(texts, "-"))).String(), nil
		}}, true
	}
	return function{}, false
}

func split(_ *env, args []any) (any, error) {
	s, err := asString(args[0])
	if err != nil {
		return nil, err
	}
	cuts, ok := args[1].([]any)
	if !ok {
		cuts = []any{args[1]}
	}
	parts := []string{s}
	for _, cut := range cuts {
		by, err := asString(cut)
		if err != nil {
			return nil, err
		}
		var next []string
		for _, part := range parts {
			next = append(next, strings.Split(part, by)...)
		}
		parts = next
	}
	out := make([]any, len(parts))
	for i, part := range parts {
		out[i] = part
	}
	return out, nil
}

func joinList(_ *env, args []any) (any, error) {
	list, ok := args[0].([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no array", show(args[0]))
	}
	by, err := asString(args[1])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = plain(v)
	}
	return strings.Join(parts, by), nil
}

func substring(_ *env, args []any) (any, error) {
	s, err := asString(args[0])
	if err != nil {
		return nil, err
	}
	runes := []rune(s)
	from, err := asInt(args[1])
	if err != nil {
		return nil, err
	}
	length := int64(len(runes)) - from
	if len(args) == 3 {
		if length, err = asInt(args[2]); err != nil {
			return nil, err
		}
	}
	if from < 0 || length < 0 || from > int64(len(runes)) || length > int64(len(runes))-from {
		return nil, fmt.Errorf("start %d and length %d reach beyond the string's %d characters", from, length, len(runes))
	}
	return string(runes[from : from+length]), nil
}

func padLeft(_ *env, args []any) (any, error) {
	width, err := asInt(args[1])
	if err != nil {
		return nil, err
	}
	if width < 0 || width > 10_000 {
		return nil, fmt.Errorf("the length %d is out of range", width)
	}
	fill := " "
	if len(args) == 3 {
		if fill, err = asString(args[2]); err != nil {
			return nil, err
		}
	}
	s := plain(args[0])
	if n := int(width) - len([]rune(s)); n > 0 && len(fill) == 1 {
		s = strings.Repeat(fill, n) + s
	}
	return s, nil
}

// format fills {0}, {1}; the format specifiers of .NET are not known.
func format(_ *env, args []any) (any, error) {
	s, err := asString(args[0])
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "{{"), strings.HasPrefix(s[i:], "}}"):
			out.WriteByte(s[i])
			i++
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, fmt.Errorf("a brace of '%s' is not closed", s)
			}
			n, err := strconv.Atoi(s[i+1 : i+end])
			if err != nil || n < 0 || n+1 >= len(args) {
				return nil, fmt.Errorf("there is nothing for '%s'", s[i:i+end+1])
			}
			out.WriteString(plain(args[n+1]))
			i += end
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String(), nil
}

// plain is a value inside a string: strings without quotes, Booleans as .NET
// writes them.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case nil:
		return ""
	default:
		return show(v)
	}
}

func asString(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is no string", show(v))
	}
	return s, nil
}

func asInt(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s is no number", show(v))
}

func allStrings(args []any) ([]string, error) {
	out := make([]string, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			out[i] = v
		case int64:
			out[i] = strconv.FormatInt(v, 10)
		default:
			return nil, fmt.Errorf("%s is no string", show(arg))
		}
	}
	return out, nil
}
