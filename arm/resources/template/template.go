package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Error says why a template cannot be used; it becomes Azure's InvalidTemplate.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func invalid(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Template is a template with its parameters, ready to be expanded.
type Template struct {
	parameters map[string]parameter
	given      map[string]any
	variables  map[string]any
	resources  []source
	outputs    map[string]any
	env        *env
	values     map[string]any // parameters and variables evaluated so far
}

type parameter struct {
	name, kind string
	hasDefault bool
	def        any
	allowed    []any
}

// source is a resource as written.
type source struct {
	symbol string // of language version 2.0; else ""
	body   map[string]any
}

// secure reports whether a parameter's or output's value must not be shown.
func secure(kind string) bool {
	return strings.EqualFold(kind, "securestring") || strings.EqualFold(kind, "secureobject")
}

// New reads a template. parameters are as a deployment sends them, each an
// object with a value.
func New(body, parameters map[string]any, place Place) (*Template, error) {
	t := &Template{parameters: map[string]parameter{}, given: map[string]any{}, variables: map[string]any{}, values: map[string]any{}}
	t.env = &env{t: t, place: place, busy: map[string]bool{}}
	for _, part := range []string{"functions", "imports", "definitions"} {
		switch v := body[part].(type) {
		case []any:
			if len(v) > 0 {
				return nil, invalid("the element '%s' is not evaluated by amlocal", part)
			}
		case map[string]any:
			if len(v) > 0 {
				return nil, invalid("the element '%s' is not evaluated by amlocal", part)
			}
		}
	}
	if err := t.readParameters(body, parameters); err != nil {
		return nil, err
	}
	vars, _ := body["variables"].(map[string]any)
	for name, v := range vars {
		t.variables[strings.ToLower(name)] = v
	}
	if list, ok := vars["copy"].([]any); ok {
		delete(t.variables, "copy")
		for _, item := range list {
			if spec, ok := item.(map[string]any); ok {
				if name, ok := spec["name"].(string); ok {
					t.variables[strings.ToLower(name)] = map[string]any{"copy": []any{item}}
				}
			}
		}
	}
	switch list := body["resources"].(type) {
	case nil:
		return nil, invalid("the template has no 'resources'")
	case []any:
		for i, item := range list {
			res, ok := item.(map[string]any)
			if !ok {
				return nil, invalid("resource %d is no object", i)
			}
			t.resources = append(t.resources, source{body: res})
		}
	case map[string]any:
		for _, symbol := range slices.Sorted(maps.Keys(list)) {
			res, ok := list[symbol].(map[string]any)
			if !ok {
				return nil, invalid("resource '%s' is no object", symbol)
			}
			t.resources = append(t.resources, source{symbol, res})
		}
	default:
		return nil, invalid("'resources' is no list")
	}
	t.outputs, _ = body["outputs"].(map[string]any)
	// Every parameter is evaluated, so that a bad default is not found half way.
	for _, p := range t.parameters {
		if _, err := t.parameter(t.env, p.name); err != nil {
			return nil, wrap(err)
		}
	}
	return t, nil
}

func (t *Template) readParameters(body, parameters map[string]any) error {
	declared, _ := body["parameters"].(map[string]any)
	for name, raw := range declared {
		def, ok := raw.(map[string]any)
		if !ok {
			return invalid("the parameter '%s' is no object", name)
		}
		p := parameter{name: name}
		p.kind, _ = def["type"].(string)
		p.def, p.hasDefault = def["defaultValue"]
		p.allowed, _ = def["allowedValues"].([]any)
		if p.kind == "" {
			return invalid("the parameter '%s' has no type", name)
		}
		t.parameters[strings.ToLower(name)] = p
	}
	// A null is as good as nothing: azure-ai-ml sends many.
	for name, raw := range parameters {
		key := strings.ToLower(name)
		if _, ok := t.parameters[key]; !ok {
			return invalid("The following parameters were supplied, but do not correspond to any parameters defined in the template: '%s'", name)
		}
		box, _ := raw.(map[string]any)
		if box["reference"] != nil {
			return invalid("the parameter '%s' refers to a vault's secret, which is not read by amlocal", name)
		}
		value, ok := box["value"]
		if !ok {
			return invalid("the parameter '%s' has no value", name)
		}
		if value == nil {
			continue
		}
		t.given[key] = deepNumbers(value)
	}
	var missing []string
	for key, p := range t.parameters {
		if _, ok := t.given[key]; !ok && !p.hasDefault {
			missing = append(missing, p.name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return invalid("The value for the template parameter(s) '%s' is not provided.", strings.Join(missing, ", "))
	}
	return nil
}

func deepNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = deepNumbers(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = deepNumbers(item)
		}
		return out
	default:
		return number(v)
	}
}

func (t *Template) parameter(e *env, name string) (any, error) {
	key := strings.ToLower(name)
	p, ok := t.parameters[key]
	if !ok {
		return nil, invalid("The template parameter '%s' is not found.", name)
	}
	v, given := t.given[key]
	if !given {
		var err error
		if v, err = t.once(e, "parameter "+key, func(e *env) (any, error) {
			inner := *e
			inner.defaults, inner.resolver = true, nil
			return inner.value(p.def)
		}); err != nil {
			return nil, err
		}
	}
	return v, p.check(v)
}

// check compares a value with the declared type and the allowed values.
func (p parameter) check(v any) error {
	var fits bool
	switch strings.ToLower(p.kind) {
	case "string", "securestring":
		_, fits = v.(string)
	case "int":
		_, fits = v.(int64)
	case "bool":
		_, fits = v.(bool)
	case "array":
		_, fits = v.([]any)
	case "object", "secureobject":
		_, fits = v.(map[string]any)
	default:
		return invalid("the parameter '%s' is of type '%s', which does not exist", p.name, p.kind)
	}
	if v == nil { // json('null'), and what clients send for nothing
		fits = true
	}
	if !fits {
		return invalid("Template parameter JToken type is not valid for the parameter '%s'. Expected '%s'.", p.name, p.kind)
	}
	if len(p.allowed) > 0 && !slices.ContainsFunc(p.allowed, func(a any) bool { return equalValues(number(a), v) }) {
		return invalid("The provided value for the template parameter '%s' is not valid. The value %s is not part of the allowed value(s): %s.", p.name, show(v), show(p.allowed))
	}
	return nil
}

func (t *Template) variable(e *env, name string) (any, error) {
	key := strings.ToLower(name)
	raw, ok := t.variables[key]
	if !ok {
		return nil, invalid("The template variable '%s' is not found.", name)
	}
	return t.once(e, "variable "+key, func(e *env) (any, error) {
		inner := *e
		inner.resolver = nil // reference() is not allowed there
		v, err := inner.value(raw)
		if m, ok := raw.(map[string]any); ok && err == nil && len(m) == 1 && m["copy"] != nil {
			if filled, ok := v.(map[string]any); ok && len(filled) == 1 {
				for _, list := range filled {
					return list, nil
				}
			}
		}
		return v, err
	})
}

// once evaluates what is named but once, and refuses what refers to itself.
func (t *Template) once(e *env, key string, f func(*env) (any, error)) (any, error) {
	if v, ok := t.values[key]; ok {
		return v, nil
	}
	if e.busy[key] {
		return nil, invalid("the %s refers to itself", key)
	}
	e.busy[key] = true
	defer delete(e.busy, key)
	v, err := f(e)
	if err == nil {
		t.values[key] = v
	}
	return v, err
}

// Parameters are the values in use, as a deployment shows them: without those
// that are secure.
func (t *Template) Parameters() map[string]any {
	out := map[string]any{}
	for _, p := range t.parameters {
		shown := map[string]any{"type": strings.ToUpper(p.kind[:1]) + p.kind[1:]}
		if v, err := t.parameter(t.env, p.name); err == nil && !secure(p.kind) {
			shown["value"] = v
		}
		out[p.name] = shown
	}
	return out
}

// Settled are the values in use as New takes them, secure ones too: a default
// that is another one each time, newGuid(), is evaluated once.
func (t *Template) Settled() map[string]any {
	out := map[string]any{}
	for _, p := range t.parameters {
		if v, err := t.parameter(t.env, p.name); err == nil { // New has evaluated it
			out[p.name] = map[string]any{"value": v}
		}
	}
	return out
}

// Outputs evaluates the outputs of a template whose resources are deployed.
func (t *Template) Outputs(r Resolver) (map[string]any, error) {
	e := *t.env
	e.resolver = r
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(t.outputs)) {
		spec, ok := t.outputs[name].(map[string]any)
		if !ok {
			return nil, invalid("the output '%s' is no object", name)
		}
		if cond, ok := spec["condition"]; ok {
			if yes, err := e.truth(cond); err != nil || !yes {
				if err != nil {
					return nil, wrap(err)
				}
				continue
			}
		}
		kind, _ := spec["type"].(string)
		shown := map[string]any{"type": kind}
		v, err := e.value(spec["value"])
		if err != nil {
			return nil, invalid("The template output '%s' is not valid: %s.", name, strings.TrimRight(err.Error(), "."))
		}
		if !secure(kind) {
			shown["value"] = v
		}
		out[name] = shown
	}
	return out, nil
}

func (e *env) truth(raw any) (bool, error) {
	v, err := e.value(raw)
	if err != nil {
		return false, err
	}
	b, ok := asBool(v)
	if !ok {
		return false, fmt.Errorf("the condition is %s, want a Boolean", show(v))
	}
	return b, nil
}

// wrap gives an evaluation's error the type of all of this package's.
func wrap(err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return invalid("Unable to process template language expressions: %s.", err)
}
