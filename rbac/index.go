package rbac

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
)

// Index answers checks. It holds custom roles, assignments and group
// memberships in memory and is safe for concurrent use. It implements
// azure.Authorizer.
type Index struct {
	catalog  *Catalog
	advisor  *advisor
	sabotage Sabotage

	mu          sync.RWMutex
	roles       map[string]*roleSlot           // by GUID
	custom      map[string]*roleSlot           // by lower-cased name
	assignments map[string]*held               // by lower-cased id
	byPrincipal map[string]map[string][]*held  // by object id, then scope key
	byScope     map[string]map[*held]struct{}  // by scope key
	groupsOf    map[string]map[string]struct{} // member to groups
	membersOf   map[string]map[string]struct{} // group to members
	clock       clock.Clock                    // read only while there is a delay
	delay       time.Duration
	retired     []*held     // deleted, and perhaps in effect yet
	remember    clock.Clock // of changes of memberships; nil: nothing is
	history     []memberChange

	storageReaders atomic.Int64 // linked assignments whose condition reads storage
}

var _ azure.Authorizer = (*Index)(nil)

// roleSlot is what assignments point to: the role may be defined, changed and
// deleted after the assignment was made, without touching the assignment.
type roleSlot struct {
	id      string
	builtin *builtin
	custom  *role
}

// role is nil while no role with this id is defined.
func (s *roleSlot) role() *role {
	if s.builtin != nil {
		return s.builtin.compiled()
	}
	return s.custom
}

// held is a stored assignment in the form it is compared in.
type held struct {
	Assignment
	key       string // lower-cased id
	principal string
	scope     string // a scope key
	slot      *roleSlot
	condition *condition
	from      time.Time // in effect from then on; zero: always was
	until     time.Time // deleted, and in effect before then
}

// judge is the role's verdict, narrowed by the assignment's own condition. A
// role that is not defined grants nothing.
func (h *held) judge(q question) verdict {
	r := h.slot.role()
	if r == nil {
		return verdict{}
	}
	v := r.judge(q)
	if v.outcome == grants && !h.condition.holds(q) {
		return verdict{outcome: conditional}
	}
	return v
}

// Option changes how an Index behaves.
type Option func(*Index)

// New returns an index of the catalogue's roles with no assignments, which
// refuses everything. A nil catalogue holds no roles.
func New(catalog *Catalog, opts ...Option) *Index {
	if catalog == nil {
		catalog = &Catalog{}
	}
	x := &Index{
		catalog:     catalog,
		advisor:     &advisor{catalog: catalog},
		roles:       make(map[string]*roleSlot),
		custom:      make(map[string]*roleSlot),
		assignments: make(map[string]*held),
		byPrincipal: make(map[string]map[string][]*held),
		byScope:     make(map[string]map[*held]struct{}),
		groupsOf:    make(map[string]map[string]struct{}),
		membersOf:   make(map[string]map[string]struct{}),
		clock:       clock.System{},
	}
	for _, opt := range opts {
		opt(x)
	}
	return x
}

// Errors of the writing methods, to be tested with errors.Is.
var (
	// ErrBuiltIn refuses to change a built-in role.
	ErrBuiltIn = errors.New("a built-in role cannot be changed")
	// ErrNameTaken refuses a second role of the same name.
	ErrNameTaken = errors.New("another role has this name")
	// ErrIncomplete refuses a record without an id, principal, role or scope.
	ErrIncomplete = errors.New("the record is incomplete")
)

// PutDefinition adds or replaces a custom role. Assignments made before follow
// the new permissions at once.
func (x *Index) PutDefinition(def Definition) error {
	def = def.clone()
	def.ID = RoleGUID(def.ID)
	def.Type = CustomRole
	if def.ID == "" || def.Name == "" {
		return fmt.Errorf("role definition: %w: id and name are needed", ErrIncomplete)
	}
	if _, ok := x.catalog.byID[def.ID]; ok {
		return fmt.Errorf("role definition %s: %w", def.ID, ErrBuiltIn)
	}
	compiled := compileRole(def)
	name := strings.ToLower(def.Name)

	x.mu.Lock()
	defer x.mu.Unlock()
	other, taken := x.custom[name]
	if _, ok := x.catalog.byName[name]; ok || taken && other.id != def.ID {
		return fmt.Errorf("role definition %q: %w", def.Name, ErrNameTaken)
	}
	slot := x.slotLocked(def.ID)
	if slot.custom != nil {
		delete(x.custom, strings.ToLower(slot.custom.def.Name))
	}
	slot.custom = compiled
	x.custom[name] = slot
	return nil
}

// DeleteDefinition removes a custom role and reports whether it was there. Its
// assignments stay and grant nothing.
func (x *Index) DeleteDefinition(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	slot := x.roles[RoleGUID(id)]
	if slot == nil || slot.custom == nil {
		return false
	}
	delete(x.custom, strings.ToLower(slot.custom.def.Name))
	slot.custom = nil
	return true
}

func (x *Index) slotLocked(guid string) *roleSlot {
	slot := x.roles[guid]
	if slot == nil {
		slot = &roleSlot{id: guid, builtin: x.catalog.byID[guid]}
		x.roles[guid] = slot
	}
	return slot
}

// Definition finds a built-in or custom role by its GUID or ARM id.
func (x *Index) Definition(id string) (Definition, bool) {
	if def, ok := x.catalog.Lookup(id); ok {
		return def, true
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	slot := x.roles[RoleGUID(id)]
	if slot == nil || slot.custom == nil {
		return Definition{}, false
	}
	return slot.custom.def.clone(), true
}

// DefinitionByName finds a built-in or custom role by its name, compared
// without regard to letter case.
func (x *Index) DefinitionByName(name string) (Definition, bool) {
	if def, ok := x.catalog.LookupName(name); ok {
		return def, true
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	slot := x.custom[strings.ToLower(name)]
	if slot == nil {
		return Definition{}, false
	}
	return slot.custom.def.clone(), true
}

// Definitions returns every role, built-in and custom, in name order.
func (x *Index) Definitions() []Definition {
	out := x.catalog.List()
	x.mu.RLock()
	for _, slot := range x.custom {
		out = append(out, slot.custom.def.clone())
	}
	x.mu.RUnlock()
	slices.SortFunc(out, func(a, b Definition) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return out
}

// Put adds an assignment, or replaces the one with the same id. The role need
// not exist; until it does the assignment grants nothing.
func (x *Index) Put(a Assignment) error {
	a.RoleDefinitionID = RoleGUID(a.RoleDefinitionID)
	if a.ID == "" || a.PrincipalID == "" || a.RoleDefinitionID == "" || a.Scope == "" {
		return fmt.Errorf("role assignment %q: %w: id, principal, role and scope are needed", a.ID, ErrIncomplete)
	}
	h := &held{
		Assignment: a,
		key:        strings.ToLower(a.ID),
		principal:  strings.ToLower(a.PrincipalID),
		scope:      scopeKey(a.Scope),
		condition:  compileCondition(a.Condition),
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.deleteLocked(h.key)
	h.slot, h.from = x.slotLocked(a.RoleDefinitionID), x.delayedLocked()
	x.assignments[h.key] = h
	scopes := x.byPrincipal[h.principal]
	if scopes == nil {
		scopes = make(map[string][]*held)
		x.byPrincipal[h.principal] = scopes
	}
	scopes[h.scope] = append(scopes[h.scope], h)
	if x.byScope[h.scope] == nil {
		x.byScope[h.scope] = make(map[*held]struct{})
	}
	x.byScope[h.scope][h] = struct{}{}
	if h.condition.readsStorage() {
		x.storageReaders.Add(1)
	}
	return nil
}

// ReadsStorage reports whether the condition of any assignment reads what only
// a storage service knows: without one, the service need not look it up. It
// waits for nothing.
func (x *Index) ReadsStorage() bool { return x.storageReaders.Load() > 0 }

// Delete removes an assignment and reports whether it was there.
func (x *Index) Delete(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.deleteLocked(strings.ToLower(id))
}

func (x *Index) deleteLocked(key string) bool {
	h := x.assignments[key]
	if h == nil {
		return false
	}
	delete(x.assignments, key)
	if !x.retireLocked(h) {
		x.unlinkLocked(h)
	}
	delete(x.byScope[h.scope], h)
	if len(x.byScope[h.scope]) == 0 {
		delete(x.byScope, h.scope)
	}
	return true
}
