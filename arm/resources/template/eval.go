package template

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Resolver answers for what exists when a template is deployed.
type Resolver interface {
	// Reference returns a resource, whole: with id, location, properties.
	Reference(id, apiVersion string) (map[string]any, error)
	// List calls an action such as listKeys.
	List(id, verb, apiVersion string, body any) (any, error)
}

// Place is where a template is deployed.
type Place struct {
	// Subscription is subscription() and Group resourceGroup(), which is nil
	// for a deployment to a subscription. Both have an id.
	Subscription, Group map[string]any
	// Name is the deployment's.
	Name string
	// Tenant is the directory's id.
	Tenant string
	Now    time.Time
	// NewGUID makes the values of newGuid(); like utcNow() allowed in the
	// defaults of parameters only, as in Azure.
	NewGUID func() string `json:"-"`
}

// scope is the id resources are put under.
func (p Place) scope() string {
	from := p.Group
	if from == nil {
		from = p.Subscription
	}
	id, _ := from["id"].(string)
	return id
}

// env is what an expression is evaluated in.
type env struct {
	t        *Template
	place    Place
	resolver Resolver // nil: before the deployment
	loops    map[string]int
	loop     string // the innermost, for copyIndex() without a name
	defaults bool   // inside the default of a parameter
	busy     map[string]bool
	depth    int
}

// with is e inside one more turn of a loop.
func (e *env) with(loop string, index int) *env {
	inner := *e
	inner.loops = maps.Clone(e.loops)
	if inner.loops == nil {
		inner.loops = map[string]int{}
	}
	inner.loops[strings.ToLower(loop)] = index
	inner.loop = strings.ToLower(loop)
	return &inner
}

func (l literal) eval(*env) (any, error) { return l.value, nil }

func (a access) eval(e *env) (any, error) {
	of, err := a.of.eval(e)
	if err != nil {
		return nil, err
	}
	key, err := a.key.eval(e)
	if err != nil {
		return nil, err
	}
	switch v := of.(type) {
	case map[string]any:
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("a property has a name, not %s", show(key))
		}
		if value, ok := property(v, name); ok {
			return value, nil
		}
		return nil, fmt.Errorf("the property '%s' doesn't exist, available properties are '%s'", name, strings.Join(slices.Sorted(maps.Keys(v)), ", "))
	case []any:
		i, ok := key.(int64)
		if !ok || i < 0 || int(i) >= len(v) {
			return nil, fmt.Errorf("the array has no element %s", show(key))
		}
		return v[i], nil
	default:
		return nil, fmt.Errorf("%s has no property %s", show(of), show(key))
	}
}

// property finds a name without regard to case.
func property(m map[string]any, name string) (any, bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return nil, false
}

// text evaluates a string of the template.
func (e *env) text(s string) (any, error) {
	if strings.HasPrefix(s, "[[") {
		return s[1:], nil
	}
	if !isExpression(s) {
		return s, nil
	}
	n, err := parse(s[1 : len(s)-1])
	if err != nil {
		return nil, err
	}
	return n.eval(e)
}

// value evaluates all expressions in a part of the template, names of
// properties included.
func (e *env) value(v any) (any, error) {
	if e.depth++; e.depth > 10*maxDepth {
		return nil, fmt.Errorf("the template is nested too deeply")
	}
	defer func() { e.depth-- }()
	switch v := v.(type) {
	case string:
		return e.text(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = e.value(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		return e.object(v)
	default:
		return number(v), nil
	}
}

func (e *env) object(v map[string]any) (any, error) {
	out := make(map[string]any, len(v))
	for k, raw := range v {
		if strings.EqualFold(k, "copy") {
			if done, err := e.loopInto(out, raw); err != nil {
				return nil, err
			} else if done {
				continue
			}
		}
		name, err := e.text(k)
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("the name of a property is %s", show(name))
		}
		if out[key], err = e.value(raw); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// loopInto fills the properties that a copy element inside an object makes.
func (e *env) loopInto(out map[string]any, raw any) (bool, error) {
	list, ok := raw.([]any)
	if !ok {
		return false, nil
	}
	for _, item := range list {
		spec, ok := item.(map[string]any)
		if !ok {
			return false, nil
		}
		name, _ := spec["name"].(string)
		input, ok := spec["input"]
		if name == "" || !ok {
			return false, nil
		}
		n, err := e.count(spec["count"])
		if err != nil {
			return false, err
		}
		values := make([]any, n)
		for i := range n {
			if values[i], err = e.with(name, i).value(input); err != nil {
				return false, err
			}
		}
		out[name] = values
	}
	return true, nil
}

// maxCopies is Azure's limit on turns of a loop.
const maxCopies = 800

func (e *env) count(raw any) (int, error) {
	v, err := e.value(raw)
	if err != nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok || n < 0 || n > maxCopies {
		return 0, fmt.Errorf("the count of a copy is %s, want 0 to %d", show(v), maxCopies)
	}
	return int(n), nil
}

// number turns JSON's numbers into the integers expressions work with; others
// stay as they were written.
func number(v any) any {
	switch n := v.(type) {
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i
		}
	case float64:
		if n == float64(int64(n)) {
			return int64(n)
		}
	case int:
		return int64(n)
	}
	return v
}

func show(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
