package template

import (
	"fmt"
	"reflect"
	"strings"
)

// logicFunction: truth, comparison and arithmetic.
func logicFunction(name string) (function, bool) {
	constant := func(v any) (function, bool) {
		return function{0, 0, func(*env, []any) (any, error) { return v, nil }}, true
	}
	numbers := func(f func(a, b int64) (any, error)) (function, bool) {
		return function{2, 2, func(_ *env, args []any) (any, error) {
			a, err := asInt(args[0])
			if err != nil {
				return nil, err
			}
			b, err := asInt(args[1])
			if err != nil {
				return nil, err
			}
			return f(a, b)
		}}, true
	}
	order := func(holds func(int) bool) (function, bool) {
		return function{2, 2, func(_ *env, args []any) (any, error) {
			a, okA := args[0].(int64)
			b, okB := args[1].(int64)
			if okA && okB {
				switch {
				case a < b:
					return holds(-1), nil
				case a > b:
					return holds(1), nil
				}
				return holds(0), nil
			}
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			return holds(strings.Compare(texts[0], texts[1])), nil
		}}, true
	}
	switch name {
	case "true":
		return constant(true)
	case "false":
		return constant(false)
	case "null":
		return constant(nil)
	case "and", "or":
		return function{2, -1, func(_ *env, args []any) (any, error) {
			out := name == "and"
			for _, arg := range args {
				b, ok := asBool(arg)
				if !ok {
					return nil, fmt.Errorf("%s is no Boolean", show(arg))
				}
				if name == "and" {
					out = out && b
				} else {
					out = out || b
				}
			}
			return out, nil
		}}, true
	case "not", "bool":
		return function{1, 1, func(_ *env, args []any) (any, error) {
			b, ok := asBool(args[0])
			if !ok {
				return nil, fmt.Errorf("%s is no Boolean", show(args[0]))
			}
			return b != (name == "not"), nil
		}}, true
	case "equals":
		return function{2, 2, func(_ *env, args []any) (any, error) { return equalValues(args[0], args[1]), nil }}, true
	case "less":
		return order(func(c int) bool { return c < 0 })
	case "lessorequals":
		return order(func(c int) bool { return c <= 0 })
	case "greater":
		return order(func(c int) bool { return c > 0 })
	case "greaterorequals":
		return order(func(c int) bool { return c >= 0 })
	case "coalesce":
		return function{1, -1, func(_ *env, args []any) (any, error) {
			for _, arg := range args {
				if arg != nil {
					return arg, nil
				}
			}
			return nil, nil
		}}, true
	case "int":
		return function{1, 1, func(_ *env, args []any) (any, error) { return asInt(args[0]) }}, true
	case "add":
		return numbers(func(a, b int64) (any, error) { return a + b, nil })
	case "sub":
		return numbers(func(a, b int64) (any, error) { return a - b, nil })
	case "mul":
		return numbers(func(a, b int64) (any, error) { return a * b, nil })
	case "div", "mod":
		return numbers(func(a, b int64) (any, error) {
			if b == 0 {
				return nil, fmt.Errorf("division by zero")
			}
			if name == "div" {
				return a / b, nil
			}
			return a % b, nil
		})
	case "min", "max":
		return function{1, -1, func(_ *env, args []any) (any, error) {
			if list, ok := args[0].([]any); ok && len(args) == 1 {
				args = list
			}
			var best int64
			for i, arg := range args {
				n, err := asInt(arg)
				if err != nil {
					return nil, err
				}
				if i == 0 || name == "min" && n < best || name == "max" && n > best {
					best = n
				}
			}
			return best, nil
		}}, true
	}
	return function{}, false
}

// asBool takes the words true and false too.
func asBool(v any) (b, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		return strings.EqualFold(v, "true"), strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	case int64:
		return v != 0, true
	}
	return false, false
}

func equalValues(a, b any) bool { return reflect.DeepEqual(number(a), number(b)) }
