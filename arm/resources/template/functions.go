package template

import (
	"fmt"
	"slices"
	"strings"
)

// function evaluates a call whose arguments are values.
type function struct {
	least, most int // arguments; most < 0: any number
	do          func(e *env, args []any) (any, error)
}

func (c call) eval(e *env) (any, error) {
	// The branch not taken is not evaluated: it often could not be.
	if c.name == "if" {
		if len(c.args) != 3 {
			return nil, fmt.Errorf("the function 'if' takes 3 arguments, not %d", len(c.args))
		}
		cond, err := c.args[0].eval(e)
		if err != nil {
			return nil, err
		}
		yes, ok := asBool(cond)
		if !ok {
			return nil, fmt.Errorf("the first argument of 'if' is %s, want a Boolean", show(cond))
		}
		if yes {
			return c.args[1].eval(e)
		}
		return c.args[2].eval(e)
	}
	f, ok := functions(c.name)
	if !ok {
		return nil, fmt.Errorf("the template function '%s' is not valid", c.name)
	}
	if len(c.args) < f.least || f.most >= 0 && len(c.args) > f.most {
		return nil, fmt.Errorf("the function '%s' does not take %d arguments", c.name, len(c.args))
	}
	args := make([]any, len(c.args))
	for i, arg := range c.args {
		var err error
		if args[i], err = arg.eval(e); err != nil {
			return nil, err
		}
	}
	v, err := f.do(e, args)
	if err != nil {
		return nil, fmt.Errorf("the function '%s': %w", c.name, err)
	}
	return v, nil
}

// functions finds a function by its name in lower case.
func functions(name string) (function, bool) {
	for _, find := range []func(string) (function, bool){deploymentFunction, textFunction, listFunction, logicFunction} {
		if f, ok := find(name); ok {
			return f, true
		}
	}
	return function{}, false
}

// deploymentFunction: what asks about the deployment, its place and resources.
func deploymentFunction(name string) (function, bool) {
	switch name {
	case "parameters":
		return function{1, 1, func(e *env, args []any) (any, error) {
			s, err := asString(args[0])
			if err != nil {
				return nil, err
			}
			return e.t.parameter(e, s)
		}}, true
	case "variables":
		return function{1, 1, func(e *env, args []any) (any, error) {
			s, err := asString(args[0])
			if err != nil {
				return nil, err
			}
			return e.t.variable(e, s)
		}}, true
	case "copyindex":
		return function{0, 2, copyIndex}, true
	case "subscription":
		return function{0, 0, func(e *env, _ []any) (any, error) { return e.place.Subscription, nil }}, true
	case "resourcegroup":
		return function{0, 0, func(e *env, _ []any) (any, error) {
			if e.place.Group == nil {
				return nil, fmt.Errorf("a deployment to a subscription has no resource group")
			}
			return e.place.Group, nil
		}}, true
	case "tenant":
		return function{0, 0, func(e *env, _ []any) (any, error) { return map[string]any{"tenantId": e.place.Tenant}, nil }}, true
	case "deployment":
		return function{0, 0, func(e *env, _ []any) (any, error) {
			return map[string]any{"name": e.place.Name, "properties": map[string]any{"mode": "Incremental", "provisioningState": "Accepted"}}, nil
		}}, true
	case "environment":
		return function{0, 0, func(*env, []any) (any, error) {
			return map[string]any{"name": "AzureCloud", "resourceManager": "https://management.azure.com/",
				"authentication": map[string]any{"loginEndpoint": "https://login.microsoftonline.com/", "tenant": "common"},
				"suffixes":       map[string]any{"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net", "acrLoginServer": ".azurecr.io"}}, nil
		}}, true
	case "resourceid":
		return function{2, -1, func(e *env, args []any) (any, error) { return resourceID(e, args) }}, true
	case "subscriptionresourceid":
		return function{2, -1, func(e *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			base := fmt.Sprint(e.place.Subscription["id"])
			if !strings.Contains(texts[0], "/") {
				base, texts = "/subscriptions/"+texts[0], texts[1:]
			}
			return join(base, texts[0], texts[1:])
		}}, true
	case "tenantresourceid":
		return function{2, -1, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			return join("", texts[0], texts[1:])
		}}, true
	case "extensionresourceid":
		return function{3, -1, func(_ *env, args []any) (any, error) {
			texts, err := allStrings(args)
			if err != nil {
				return nil, err
			}
			return join(texts[0], texts[1], texts[2:])
		}}, true
	case "reference":
		return function{1, 3, reference}, true
	case "newguid":
		return function{0, 0, func(e *env, _ []any) (any, error) {
			if !e.defaults {
				return nil, fmt.Errorf("it can only be used in the default value of a parameter")
			}
			return e.place.NewGUID(), nil
		}}, true
	case "utcnow":
		return function{0, 1, func(e *env, args []any) (any, error) {
			if !e.defaults {
				return nil, fmt.Errorf("it can only be used in the default value of a parameter")
			}
			if len(args) == 1 && args[0] != "yyyyMMddTHHmmssZ" {
				return nil, fmt.Errorf("the format %s is not known to amlocal", show(args[0]))
			}
			return e.place.Now.UTC().Format("20060102T150405Z"), nil
		}}, true
	}
	if strings.HasPrefix(name, "list") && len(name) > len("list") {
		return function{1, 4, func(e *env, args []any) (any, error) { return list(e, name, args) }}, true
	}
	return function{}, false
}

func copyIndex(e *env, args []any) (any, error) {
	loop, offset := e.loop, int64(0)
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			loop = strings.ToLower(v)
		case int64:
			offset = v
		default:
			return nil, fmt.Errorf("%s is neither a name nor an offset", show(arg))
		}
	}
	i, ok := e.loops[loop]
	if !ok {
		return nil, fmt.Errorf("there is no loop '%s' here", loop)
	}
	return int64(i) + offset, nil
}

// resourceID: [subscription,] [group,] type, name...
func resourceID(e *env, args []any) (any, error) {
	texts, err := allStrings(args)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(texts, func(s string) bool {
		return strings.Contains(s, "/") && strings.Contains(strings.SplitN(s, "/", 2)[0], ".")
	})
	base := e.place.scope()
	switch at {
	case 0:
	case 1: // a group, or in a deployment to a subscription, one
		base = fmt.Sprint(e.place.Subscription["id"]) + "/resourceGroups/" + texts[0]
		if e.place.Group == nil {
			base = "/subscriptions/" + texts[0]
		}
	case 2:
		base = "/subscriptions/" + texts[0] + "/resourceGroups/" + texts[1]
	default:
		return nil, fmt.Errorf("no resource type among %s", show(args))
	}
	return join(base, texts[at], texts[at+1:])
}

// reference answers a resource's properties, or with 'Full' the resource.
func reference(e *env, args []any) (any, error) {
	name, err := asString(args[0])
	if err != nil {
		return nil, err
	}
	if e.resolver == nil {
		return nil, fmt.Errorf("it is not allowed here: the resources are not deployed yet")
	}
	version, full := "", false
	if len(args) > 1 {
		version, _ = args[1].(string)
	}
	if len(args) > 2 {
		word, _ := args[2].(string)
		full = strings.EqualFold(word, "Full")
	}
	id, known, err := e.t.find(name)
	if err != nil {
		return nil, err
	}
	if version == "" {
		version = known
	}
	res, err := e.resolver.Reference(id, version)
	if err != nil {
		return nil, err
	}
	whole := deepNumbers(res).(map[string]any)
	if full {
		return whole, nil
	}
	props, _ := whole["properties"].(map[string]any)
	if props == nil {
		props = map[string]any{}
	}
	return props, nil
}

// find turns what reference() and list*() are given, an id or a name of a
// resource in the template, into an id and the version it was put with.
func (t *Template) find(name string) (id, version string, err error) {
	all, err := t.Resources()
	if err != nil {
		return "", "", err
	}
	if found := matching(all, name); len(found) > 0 {
		return found[0].ID, found[0].APIVersion, nil
	}
	if !strings.HasPrefix(name, "/") {
		return "", "", fmt.Errorf("the resource '%s' is not defined in the template", name)
	}
	return name, "", nil
}

// list calls an action: listKeys(id, version, body).
func list(e *env, verb string, args []any) (any, error) {
	name, err := asString(args[0])
	if err != nil {
		return nil, err
	}
	if e.resolver == nil {
		return nil, fmt.Errorf("it is not allowed here: the resources are not deployed yet")
	}
	id, version, err := e.t.find(name)
	if err != nil {
		return nil, err
	}
	var body any
	if len(args) > 1 {
		version, _ = args[1].(string)
	}
	if len(args) > 2 {
		body = args[2]
	}
	v, err := e.resolver.List(id, verb, version, body)
	if err != nil {
		return nil, err
	}
	return deepNumbers(v), nil
}
