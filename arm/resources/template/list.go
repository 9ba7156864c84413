package template

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// listFunction: what works on arrays, objects, and on strings as on arrays.
func listFunction(name string) (function, bool) {
	switch name {
	case "array":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			if list, ok := args[0].([]any); ok {
				return list, nil
			}
			return []any{args[0]}, nil
		}}, true
	case "createarray":
		return function{0, -1, func(_ *env, args []any) (any, error) { return args, nil }}, true
	case "createobject":
		return function{0, -1, func(_ *env, args []any) (any, error) {
			if len(args)%2 != 0 {
				return nil, fmt.Errorf("a name has no value")
			}
			out := map[string]any{}
			for i := 0; i < len(args); i += 2 {
				name, err := asString(args[i])
				if err != nil {
					return nil, err
				}
				out[name] = args[i+1]
			}
			return out, nil
		}}, true
	case "concat":
		return function{1, -1, concat}, true
	case "contains":
		return function{2, 2, contains}, true
	case "length":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			switch v := args[0].(type) {
			case string:
				return int64(len([]rune(v))), nil
			case []any:
				return int64(len(v)), nil
			case map[string]any:
				return int64(len(v)), nil
			}
			return nil, fmt.Errorf("%s has no length", show(args[0]))
		}}, true
	case "empty":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			switch v := args[0].(type) {
			case nil:
				return true, nil
			case string:
				return v == "", nil
			case []any:
				return len(v) == 0, nil
			case map[string]any:
				return len(v) == 0, nil
			}
			return nil, fmt.Errorf("%s is neither string nor array nor object", show(args[0]))
		}}, true
	case "first", "last":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			var list []any
			switch v := args[0].(type) {
			case string:
				for _, r := range v {
					list = append(list, string(r))
				}
				if len(list) == 0 {
					return "", nil
				}
			case []any:
				list = v
			default:
				return nil, fmt.Errorf("%s is neither string nor array", show(args[0]))
			}
			if len(list) == 0 {
				return nil, nil
			}
			if name == "first" {
				return list[0], nil
			}
			return list[len(list)-1], nil
		}}, true
	case "take", "skip":
		return function{2, 2, func(_ *env, args []any) (any, error) { return cut(args, name == "take") }}, true
	case "range":
		return function{2, 2, func(_ *env, args []any) (any, error) {
			from, err := asInt(args[0])
			if err != nil {
				return nil, err
			}
			n, err := asInt(args[1])
			if err != nil || n < 0 || n > 10_000 {
				return nil, fmt.Errorf("the count %s is out of range", show(args[1]))
			}
			out := make([]any, n)
			for i := range out {
				out[i] = from + int64(i)
			}
			return out, nil
		}}, true
	case "union", "intersection":
		return function{2, -1, func(_ *env, args []any) (any, error) { return combine(args, name == "union") }}, true
	case "items":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			m, ok := args[0].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s is no object", show(args[0]))
			}
			out := []any{}
			for _, k := range slices.Sorted(maps.Keys(m)) {
				out = append(out, map[string]any{"key": k, "value": m[k]})
			}
			return out, nil
		}}, true
	case "tryget":
		return function{2, 2, func(e *env, args []any) (any, error) {
			v, err := access{literal{args[0]}, literal{args[1]}}.eval(e)
			if err != nil {
				return nil, nil //nolint:nilerr // that it is not there is the answer
			}
			return v, nil
		}}, true
	}
	return function{}, false
}

func concat(_ *env, args []any) (any, error) {
	if _, ok := args[0].([]any); ok {
		out := []any{}
		for _, arg := range args {
			list, ok := arg.([]any)
			if !ok {
				return nil, fmt.Errorf("%s is no array", show(arg))
			}
			out = append(out, list...)
		}
		return out, nil
	}
	var out strings.Builder
	for _, arg := range args {
		switch arg.(type) {
		case string, int64, bool:
			out.WriteString(plain(arg))
		default:
			return nil, fmt.Errorf("%s is no string", show(arg))
		}
	}
	return out.String(), nil
}

func contains(_ *env, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return strings.Contains(v, plain(args[1])), nil
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return equalValues(item, args[1]) }), nil
	case map[string]any:
		_, ok := property(v, plain(args[1]))
		return ok, nil
	}
	return nil, fmt.Errorf("%s is neither string nor array nor object", show(args[0]))
}

func cut(args []any, take bool) (any, error) {
	n, err := asInt(args[1])
	if err != nil {
		return nil, err
	}
	at := func(length int) int { return int(min(max(n, 0), int64(length))) }
	switch v := args[0].(type) {
	case string:
		runes := []rune(v)
		if take {
			return string(runes[:at(len(runes))]), nil
		}
		return string(runes[at(len(runes)):]), nil
	case []any:
		if take {
			return v[:at(len(v))], nil
		}
		return v[at(len(v)):], nil
	}
	return nil, fmt.Errorf("%s is neither string nor array", show(args[0]))
}

func combine(args []any, union bool) (any, error) {
	if first, ok := args[0].(map[string]any); ok {
		out := maps.Clone(first)
		for _, arg := range args[1:] {
			m, ok := arg.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s is no object", show(arg))
			}
			if union {
				maps.Copy(out, m)
				continue
			}
			maps.DeleteFunc(out, func(k string, v any) bool { other, ok := m[k]; return !ok || !equalValues(v, other) })
		}
		return out, nil
	}
	out := []any{}
	for i, arg := range args {
		list, ok := arg.([]any)
		if !ok {
			return nil, fmt.Errorf("%s is no array", show(arg))
		}
		if !union && i > 0 {
			out = slices.DeleteFunc(out, func(v any) bool {
				return !slices.ContainsFunc(list, func(w any) bool { return equalValues(v, w) })
			})
			continue
		}
		for _, v := range list {
			if !slices.ContainsFunc(out, func(w any) bool { return equalValues(v, w) }) {
				out = append(out, v)
			}
		}
	}
	return out, nil
}
