package arm

import (
	"net/url"
	"strings"
	"unicode"
)

// path is an ARM request path taken apart.
type path struct {
	// scope is the canonical id of what encloses the target: the parent
	// resource, group or subscription, the resource an extension hangs on,
	// or "/" at the tenant root.
	scope string
	// id is the canonical id of the addressed resource; for a collection it
	// is scope.
	id       string
	typeName string
	name     string
	target   Target
	verb     string
	// namespace is set when the path named a provider.
	namespace string
}

// parsePath understands
//
//	/subscriptions[/S[/resourceGroups[/R]]]
//	{scope}/providers/NS/type/name[/type/name...][/verb or /collection]
//
// in any case and with doubled slashes. A trailing odd segment is a collection
// or a verb; both readings are returned, the collection first.
func (t table) parsePath(escaped string) (readings []path, ok bool) {
	var segs []string
	for s := range strings.SplitSeq(escaped, "/") {
		if s == "" {
			continue
		}
		plain, err := url.PathUnescape(s)
		if err != nil || strings.ContainsFunc(plain, func(r rune) bool { return r == '/' || unicode.IsControl(r) }) {
			return nil, false
		}
		segs = append(segs, plain)
	}
	if len(segs) == 0 {
		return nil, false
	}
	cur := path{scope: "/", id: "/"}
	for len(segs) > 0 {
		head, base := segs[0], cur.typeName
		switch {
		case strings.EqualFold(head, "providers"):
			if len(segs) == 1 {
				return []path{{scope: cur.id, id: cur.id, typeName: "Microsoft.Resources/providers", target: Collection}}, true
			}
			ns := t.canonicalNamespace(segs[1])
			if len(segs) == 2 {
				return []path{{scope: cur.id, id: join(cur.id, "providers", ns), typeName: "Microsoft.Resources/providers", name: ns, namespace: ns}}, true
			}
			cur = path{scope: cur.id, id: join(cur.id, "providers", ns), typeName: ns, namespace: ns}
			segs = segs[2:]
			continue
		case cur.id == "/" && strings.EqualFold(head, "subscriptions"):
			head, base = "subscriptions", "Microsoft.Resources"
		case cur.typeName == "Microsoft.Resources/subscriptions" && cur.namespace == "" && strings.EqualFold(head, "resourceGroups"):
			head, base = "resourceGroups", "Microsoft.Resources"
		case cur.id == "/":
			base = "Microsoft.Resources"
		}
		full := t.canonicalType(base + "/" + head)
		head = full[strings.LastIndexByte(full, '/')+1:]
		enclosing := cur.id
		if cur.namespace != "" && cur.name == "" { // directly below "providers/NS"
			enclosing = cur.scope
		}
		if len(segs) == 1 {
			collection := path{scope: enclosing, id: enclosing, typeName: full, target: Collection, namespace: cur.namespace}
			readings = append(readings, collection)
			if cur.name != "" {
				verb := cur
				verb.verb = segs[0]
				readings = append(readings, verb)
			} else if cur.namespace != "" { // POST /subscriptions/S/providers/NS/register
				readings = append(readings, path{scope: cur.scope, id: cur.id, typeName: "Microsoft.Resources/providers", name: cur.namespace, namespace: cur.namespace, verb: segs[0]})
			}
			return readings, true
		}
		name := segs[1]
		cur = path{scope: enclosing, id: join(cur.id, head, name), typeName: full, name: name, namespace: cur.namespace}
		segs = segs[2:]
	}
	return []path{cur}, true
}

func join(id string, segs ...string) string {
	return strings.TrimRight(id, "/") + "/" + strings.Join(segs, "/")
}
