package template

import (
	"fmt"
	"slices"
	"strings"
)

// Resource is one resource a template asks for.
type Resource struct {
	// ID is its full id, Type and Name as in the template.
	ID, Type, Name, APIVersion string
	// Wanted is the outcome of its condition.
	Wanted bool

	symbol    string
	loop      string // the copy it comes from
	source    map[string]any
	env       *env
	dependsOn []string
}

// ownKeys say what to do with a resource and are not part of it.
var ownKeys = []string{"type", "apiVersion", "name", "condition", "dependsOn", "copy", "scope", "resources", "comments", "metadata",
	"resourceGroup", "subscriptionId", "existing", "import"}

// Body evaluates what is to be put. r answers reference() and list*().
func (res *Resource) Body(r Resolver) (map[string]any, error) {
	e := *res.env
	e.resolver = r
	out := map[string]any{}
	for k, raw := range res.source {
		if slices.ContainsFunc(ownKeys, func(own string) bool { return strings.EqualFold(own, k) }) {
			continue
		}
		if strings.EqualFold(k, "properties") && res.nested() {
			v, err := res.nestedProperties(&e, raw)
			if err != nil {
				return nil, wrap(err)
			}
			out[k] = v
			continue
		}
		v, err := e.value(raw)
		if err != nil {
			return nil, invalid("The template resource '%s' is not valid: %s.", res.Name, err)
		}
		out[k] = v
	}
	return out, nil
}

// Property evaluates one of the resource's properties before the deployment; ok
// is false where only the deployment can tell. One that is not given is nil.
func (res *Resource) Property(name string) (value any, ok bool) {
	var raw any
	for k, v := range res.source {
		if strings.EqualFold(k, "properties") {
			raw = v
		}
	}
	properties, literal := raw.(map[string]any)
	if !literal {
		v, err := res.env.value(raw)
		if err != nil {
			return nil, false
		}
		properties, _ = v.(map[string]any)
	}
	for k, v := range properties {
		switch {
		case literal && strings.EqualFold(k, "copy"):
			return nil, false
		case !strings.EqualFold(k, name):
		case literal:
			value, err := res.env.value(v)
			return value, err == nil
		default:
			return v, true
		}
	}
	return nil, true
}

func (res *Resource) nested() bool {
	return strings.EqualFold(res.Type, "Microsoft.Resources/deployments")
}

// nestedProperties leaves the template of a nested deployment as it is where
// it says that it is evaluated by itself; else our names hold in it.
func (res *Resource) nestedProperties(e *env, raw any) (any, error) {
	props, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the nested deployment '%s' has no properties", res.Name)
	}
	options, _ := props["expressionEvaluationOptions"].(map[string]any)
	scope, _ := options["scope"].(string)
	out := map[string]any{}
	for k, v := range props {
		if strings.EqualFold(k, "template") && strings.EqualFold(scope, "inner") {
			out[k] = v
			continue
		}
		var err error
		if out[k], err = e.value(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Resources lists what is to be deployed, each after what it depends on.
// Those that are not Wanted are in the list too.
func (t *Template) Resources() ([]*Resource, error) {
	var all []*Resource
	for _, src := range t.resources {
		found, err := t.expand(src, nil)
		if err != nil {
			return nil, wrap(err)
		}
		all = append(all, found...)
	}
	for i, res := range all {
		for _, other := range all[:i] {
			if strings.EqualFold(res.ID, other.ID) && res.Wanted && other.Wanted {
				return nil, invalid("The resource '%s' is defined multiple times in a template.", res.ID)
			}
		}
	}
	return order(all)
}

// expand makes the resources of one entry: several in a loop, children too.
func (t *Template) expand(src source, parent *Resource) ([]*Resource, error) {
	if existing, _ := src.body["existing"].(bool); existing {
		return nil, nil
	}
	loop, ok := src.body["copy"].(map[string]any)
	if !ok {
		return t.one(src, parent, t.env, "")
	}
	name, _ := loop["name"].(string)
	n, err := t.env.count(loop["count"])
	if err != nil {
		return nil, err
	}
	var out []*Resource
	for i := range n {
		found, err := t.one(src, parent, t.env.with(name, i), name)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (t *Template) one(src source, parent *Resource, e *env, loop string) ([]*Resource, error) {
	if parent != nil {
		inner := *parent.env
		e = &inner
	}
	str := func(key string) (string, error) {
		v, err := e.value(src.body[key])
		if err != nil || v == nil {
			return "", err
		}
		s, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("'%s' of a resource is %s", key, show(v))
		}
		return s, nil
	}
	res := &Resource{Wanted: true, symbol: src.symbol, loop: loop, source: src.body, env: e}
	var err error
	if res.Type, err = str("type"); err != nil {
		return nil, err
	}
	if res.Name, err = str("name"); err != nil {
		return nil, err
	}
	if res.APIVersion, err = str("apiVersion"); err != nil {
		return nil, err
	}
	if res.Type == "" || res.Name == "" {
		return nil, invalid("a resource has no type or no name")
	}
	if res.APIVersion == "" {
		return nil, invalid("the resource '%s' has no apiVersion", res.Name)
	}
	if cond, ok := src.body["condition"]; ok {
		if res.Wanted, err = e.truth(cond); err != nil {
			return nil, fmt.Errorf("the condition of resource '%s': %w", res.Name, err)
		}
	}
	if parent != nil {
		res.Type, res.Name = parent.Type+"/"+res.Type, parent.Name+"/"+res.Name
		res.Wanted = res.Wanted && parent.Wanted
		res.dependsOn = append(res.dependsOn, parent.ID)
	}
	base, err := res.base(str)
	if err != nil {
		return nil, err
	}
	if res.ID, err = join(base, res.Type, strings.Split(res.Name, "/")); err != nil {
		return nil, err
	}
	if res.Wanted && slices.Contains(strings.Split(res.Name, "/"), "") {
		return nil, invalid("the name of a resource of type '%s' is '%s'", res.Type, res.Name)
	}
	if list, ok := src.body["dependsOn"].([]any); ok {
		for _, raw := range list {
			v, err := e.value(raw)
			if err != nil {
				return nil, fmt.Errorf("dependsOn of resource '%s': %w", res.Name, err)
			}
			if s, ok := v.(string); ok {
				res.dependsOn = append(res.dependsOn, s)
			}
		}
	}
	out := []*Resource{res}
	children, _ := src.body["resources"].([]any)
	for _, raw := range children {
		body, ok := raw.(map[string]any)
		if !ok {
			return nil, invalid("a resource within '%s' is no object", res.Name)
		}
		found, err := t.expand(source{body: body}, res)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// base is the id a resource is put under.
func (res *Resource) base(str func(string) (string, error)) (string, error) {
	place := res.env.place
	scope, err := str("scope")
	if err != nil {
		return "", err
	}
	if scope != "" {
		if !strings.HasPrefix(scope, "/") { // type/name in this group
			kind, name, ok := splitType(scope)
			if !ok {
				return "", invalid("the scope '%s' of resource '%s' is no resource id", scope, res.Name)
			}
			return join(place.scope(), kind, strings.Split(name, "/"))
		}
		return scope, nil
	}
	group, err := str("resourceGroup")
	if err != nil {
		return "", err
	}
	subscription, err := str("subscriptionId")
	if err != nil {
		return "", err
	}
	if group == "" && subscription == "" {
		return place.scope(), nil
	}
	base := fmt.Sprint(place.Subscription["id"])
	if subscription != "" {
		base = "/subscriptions/" + subscription
	}
	if group != "" {
		base += "/resourceGroups/" + group
	}
	return base, nil
}

// splitType parts Microsoft.X/a/b/name1/name2 into type and name.
func splitType(s string) (kind, name string, ok bool) {
	parts := strings.Split(s, "/")
	if len(parts) < 3 || len(parts)%2 == 0 {
		return "", "", false
	}
	half := (len(parts) + 1) / 2
	return strings.Join(parts[:half], "/"), strings.Join(parts[half:], "/"), true
}

// join makes a resource id of a scope, a type and the names of its segments.
func join(scope, kind string, names []string) (string, error) {
	segs := strings.Split(kind, "/")
	if len(segs) != len(names)+1 {
		return "", invalid("The template resource '%s' for type '%s' has incorrect segment lengths. A nested resource type must have identical number of segments as its resource name. A root resource type must have segment length one greater than its resource name.",
			strings.Join(names, "/"), kind)
	}
	if strings.EqualFold(kind, "Microsoft.Resources/resourceGroups") {
		return strings.TrimRight(scope, "/") + "/resourceGroups/" + names[0], nil
	}
	var id strings.Builder
	id.WriteString(strings.TrimRight(scope, "/") + "/providers/" + segs[0])
	for i, name := range names {
		id.WriteString("/" + segs[i+1] + "/" + name)
	}
	return id.String(), nil
}

// order sorts resources so that each comes after what it depends on, and else
// leaves them as they are.
func order(all []*Resource) ([]*Resource, error) {
	needs := make(map[*Resource][]*Resource, len(all))
	for _, res := range all {
		for _, name := range res.dependsOn {
			found := matching(all, name)
			if len(found) == 0 && res.Wanted {
				return nil, invalid("The resource '%s' is not defined in the template.", name)
			}
			needs[res] = append(needs[res], found...)
		}
		for _, name := range res.references() {
			for _, other := range matching(all, name) {
				if other != res {
					needs[res] = append(needs[res], other)
				}
			}
		}
	}
	var out []*Resource
	state := map[*Resource]int{} // 1: on the way, 2: done
	var visit func(*Resource) error
	visit = func(res *Resource) error {
		switch state[res] {
		case 1:
			return invalid("Circular dependency detected on resource: '%s'.", res.ID)
		case 2:
			return nil
		}
		state[res] = 1
		for _, need := range needs[res] {
			if err := visit(need); err != nil {
				return err
			}
		}
		state[res] = 2
		out = append(out, res)
		return nil
	}
	for _, res := range all {
		if err := visit(res); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// matching finds resources by id, symbolic name, name, type and name, or loop.
func matching(all []*Resource, name string) (found []*Resource) {
	for _, res := range all {
		if strings.EqualFold(res.ID, name) || strings.EqualFold(res.Name, name) || res.symbol != "" && res.symbol == name ||
			res.loop != "" && strings.EqualFold(res.loop, name) || strings.EqualFold(res.Type+"/"+res.Name, name) {
			found = append(found, res)
		}
	}
	return found
}

// references are the resources a body asks about by reference(): it depends on
// them without saying so. What cannot be told before the deployment is left out.
func (res *Resource) references() (out []string) {
	var walk func(node)
	walk = func(n node) {
		switch n := n.(type) {
		case access:
			walk(n.of)
			walk(n.key)
		case call:
			if (n.name == "reference" || strings.HasPrefix(n.name, "list")) && len(n.args) > 0 {
				if v, err := n.args[0].eval(res.env); err == nil {
					if s, ok := v.(string); ok {
						out = append(out, s)
					}
				}
			}
			for _, arg := range n.args {
				walk(arg)
			}
		}
	}
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case string:
			if isExpression(v) {
				if n, err := parse(v[1 : len(v)-1]); err == nil {
					walk(n)
				}
			}
		case []any:
			for _, item := range v {
				visit(item)
			}
		case map[string]any:
			for _, item := range v {
				visit(item)
			}
		}
	}
	for k, v := range res.source {
		if !strings.EqualFold(k, "resources") {
			visit(v)
		}
	}
	return out
}
