package arm

import (
	"encoding/json"
	"maps"
)

// Document is a JSON object kept as a tree: map[string]any, []any, string,
// json.Number, bool, nil. A Document read from the store is the reader's own.
type Document map[string]any

// Get walks nested objects; ok is false when a step is missing or not an
// object. JSON names are matched as spelled.
func (d Document) Get(path ...string) (value any, ok bool) {
	var cur any = map[string]any(d)
	for _, key := range path {
		m, isMap := asMap(cur)
		if !isMap {
			return nil, false
		}
		if cur, ok = m[key]; !ok {
			return nil, false
		}
	}
	return cur, true
}

// String is the string at path, or "".
func (d Document) String(path ...string) string {
	v, _ := d.Get(path...)
	s, _ := v.(string)
	return s
}

// Bool is the boolean at path, or fallback when it is absent or no boolean.
func (d Document) Bool(fallback bool, path ...string) bool {
	v, _ := d.Get(path...)
	if b, ok := v.(bool); ok {
		return b
	}
	return fallback
}

// Object is the object at path, or nil. It shares d's memory.
func (d Document) Object(path ...string) Document {
	v, _ := d.Get(path...)
	m, _ := asMap(v)
	return m
}

// Set stores value at path, making objects on the way.
func (d Document) Set(value any, path ...string) {
	cur := map[string]any(d)
	for _, key := range path[:len(path)-1] {
		next, ok := asMap(cur[key])
		if !ok {
			next = map[string]any{}
			cur[key] = next
		}
		cur = next
	}
	cur[path[len(path)-1]] = value
}

// Default is Set where nothing, or null, is there yet.
func (d Document) Default(value any, path ...string) {
	if v, ok := d.Get(path...); !ok || v == nil {
		d.Set(value, path...)
	}
}

// Delete removes what is at path.
func (d Document) Delete(path ...string) {
	parent := d
	if len(path) > 1 {
		parent = d.Object(path[:len(path)-1]...)
	}
	delete(parent, path[len(path)-1])
}

// Clone copies the tree.
func (d Document) Clone() Document {
	if d == nil {
		return nil
	}
	return clone(map[string]any(d)).(map[string]any)
}

// Merge returns d with the top-level members of over laid upon it.
func (d Document) Merge(over Document) Document {
	out := maps.Clone(d)
	if out == nil {
		out = Document{}
	}
	maps.Copy(out, over)
	return out
}

// Into decodes the document into a typed view.
func (d Document) Into(view any) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, view)
}

func asMap(v any) (map[string]any, bool) {
	switch m := v.(type) {
	case map[string]any:
		return m, m != nil
	case Document:
		return m, m != nil
	}
	return nil, false
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = clone(e)
		}
		return out
	case Document:
		return clone(map[string]any(v))
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	}
	return v
}
