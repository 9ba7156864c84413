package arm

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// Type is a resource type and its rows.
type Type struct {
	// Name is the canonical full type, e.g. "Microsoft.Storage/storageAccounts".
	Name string
	// Rows are its operations.
	Rows []Row
	// Anywhere says the collection may be addressed below any scope (an
	// extension type, such as role assignments).
	Anywhere bool
}

// Row is one operation of a resource type: httpx.Operation with an ARM target
// in place of a path pattern. Pattern, Match, Scope and Handler of the
// embedded Operation stay empty.
type Row struct {
	httpx.Operation
	// On says whether the row addresses one resource or the collection.
	On Target
	// Verb is the trailing action segment, e.g. "listKeys"; "" for none.
	// It is matched without regard to case.
	Verb string
	// ScopeOf overrides the scope of the RBAC check: by default the
	// resource, or the collection's parent.
	ScopeOf func(*Request) string
	// Attributes finds, before the RBAC check, what conditions of role
	// assignments may read of the request; may be nil.
	Attributes func(*Request) azure.Attributes
	// Filtered marks a list that shows a caller what they may read instead of
	// refusing them: Action is asked by Request.Visible, not beforehand.
	Filtered bool
	// Serve does the work, under the rules of httpx.Operation.Handler.
	Serve func(w http.ResponseWriter, r *Request) error
}

// Target is what a Row addresses.
type Target int

// The targets.
const (
	Resource Target = iota
	Collection
)

type table map[string]*Type // by lower-cased type

func newTable(types []Type) (table, error) {
	t := table{}
	for i := range types {
		key := strings.ToLower(types[i].Name)
		if _, dup := t[key]; dup {
			return nil, fmt.Errorf("arm: resource type %s is registered twice", types[i].Name)
		}
		t[key] = &types[i]
	}
	return t, nil
}

// row finds the row for a parsed path.
func (t table) row(method string, p path) (*Type, *Row) {
	typ := t[strings.ToLower(p.typeName)]
	if typ == nil {
		return nil, nil
	}
	for i := range typ.Rows {
		r := &typ.Rows[i]
		if r.Method == method && r.On == p.target && strings.EqualFold(r.Verb, p.verb) {
			return typ, r
		}
	}
	return typ, nil
}

// canonicalType respells a type as registered; an unknown one stays as it is.
func (t table) canonicalType(name string) string {
	if typ := t[strings.ToLower(name)]; typ != nil {
		return typ.Name
	}
	return name
}

// canonicalNamespace respells a provider namespace as registered: ids must not
// depend on who asked, or role assignments and clients would see two.
func (t table) canonicalNamespace(ns string) string {
	for _, typ := range t {
		if head, _, _ := strings.Cut(typ.Name, "/"); strings.EqualFold(head, ns) {
			return head
		}
	}
	return ns
}
