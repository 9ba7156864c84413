package rbac

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// builtinJSON is a JSON array with one role a line, in name order, each line
// beginning with the id and the name; see data_test.go, which writes it.
//
//go:embed data/builtin-roles.json
var builtinJSON []byte

// Catalog is the fixed set of built-in roles. It is safe for concurrent use.
type Catalog struct {
	ordered []*builtin
	byID    map[string]*builtin
	byName  map[string]*builtin
}

// builtin is a role that is decoded when it is first asked for: a start must
// not pay for five hundred roles when a handful is used.
type builtin struct {
	id, name string
	line     []byte
	once     sync.Once
	rec      builtinRecord
	role     *role
}

type builtinRecord struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Category string `json:"category,omitempty"`
	// Reads and Others count the known actions and data actions the role
	// grants: how much comes along with the one a user asked for.
	Reads            int          `json:"reads"`
	Others           int          `json:"others"`
	AssignableScopes []string     `json:"assignableScopes,omitempty"`
	Permissions      []permRecord `json:"permissions"`
}

type permRecord struct {
	Actions          []string `json:"actions,omitempty"`
	NotActions       []string `json:"notActions,omitempty"`
	DataActions      []string `json:"dataActions,omitempty"`
	NotDataActions   []string `json:"notDataActions,omitempty"`
	Condition        string   `json:"condition,omitempty"`
	ConditionVersion string   `json:"conditionVersion,omitempty"`
}

// BuiltIn returns the catalogue of Azure's built-in roles.
func BuiltIn() *Catalog {
	return newCatalog(builtinJSON)
}

func newCatalog(data []byte) *Catalog {
	lines := bytes.Split(data, []byte("\n"))
	c := &Catalog{
		ordered: make([]*builtin, 0, len(lines)),
		byID:    make(map[string]*builtin, len(lines)),
		byName:  make(map[string]*builtin, len(lines)),
	}
	for _, line := range lines {
		line = bytes.TrimSuffix(line, []byte(","))
		rest, ok := bytes.CutPrefix(line, []byte(`{"id":"`))
		if !ok {
			continue // the brackets of the array
		}
		id, rest, _ := bytes.Cut(rest, []byte(`","name":"`))
		name, _, _ := bytes.Cut(rest, []byte(`"`))
		b := &builtin{id: string(id), name: string(name), line: line}
		c.ordered = append(c.ordered, b)
		c.byID[b.id] = b
		c.byName[strings.ToLower(b.name)] = b
	}
	return c
}

// compiled decodes the role's line once. The data is part of the program and a
// test decodes all of it, so that a failure here is a broken build.
func (b *builtin) compiled() *role {
	b.once.Do(func() {
		if err := json.Unmarshal(b.line, &b.rec); err != nil {
			panic(fmt.Sprintf("rbac: built-in role %s: %v", b.id, err))
		}
		b.role = compileRole(b.rec.definition())
	})
	return b.role
}

func (r builtinRecord) definition() Definition {
	def := Definition{
		ID:               r.ID,
		Name:             r.Name,
		Type:             BuiltInRole,
		AssignableScopes: r.AssignableScopes,
	}
	for _, p := range r.Permissions {
		def.Permissions = append(def.Permissions, Permission(p))
	}
	if len(def.AssignableScopes) == 0 {
		def.AssignableScopes = []string{"/"}
	}
	return def.clone()
}

// Lookup finds a role by its GUID or ARM id.
func (c *Catalog) Lookup(id string) (Definition, bool) {
	b, ok := c.byID[RoleGUID(id)]
	if !ok {
		return Definition{}, false
	}
	return b.compiled().def.clone(), true
}

// LookupName finds a role by its name, compared without regard to letter case.
func (c *Catalog) LookupName(name string) (Definition, bool) {
	b, ok := c.byName[strings.ToLower(name)]
	if !ok {
		return Definition{}, false
	}
	return b.compiled().def.clone(), true
}

// List returns every role in name order.
func (c *Catalog) List() []Definition {
	out := make([]Definition, len(c.ordered))
	for i, b := range c.ordered {
		out[i] = b.compiled().def.clone()
	}
	return out
}
