package authorization

import (
	"net/http"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// What actions a custom role names is not checked: Azure knows the operations
// of all its providers, we know eight.
const maxRoleName = 512

func (p *Provider) getDefinition(w http.ResponseWriter, r *arm.Request) error {
	var body arm.Document
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		def, ok, err := p.definition(tx, r.Name)
		if err != nil {
			return err
		}
		if !ok {
			return errDefinitionMissing(r.Name)
		}
		rec, _, err := arm.Get(tx, customID(def.ID))
		body = definitionBody(r.Scope, def, rec)
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body)
}

func (p *Provider) listDefinitions(w http.ResponseWriter, r *arm.Request) error {
	f, err := arm.ParseFilter(r.URL.Query().Get("$filter"), "roleName", "type", "atScopeAndBelow()", "atScope()")
	if err != nil {
		return err
	}
	name, byName := f.Equals("roleName")
	kind, byKind := f.Equals("type")
	_, onlyAtScope := f.Call("atScope")
	match := func(def rbac.Definition) bool {
		return (!byName || strings.EqualFold(def.Name, name)) && (!byKind || strings.EqualFold(string(def.Type), kind)) &&
			(def.AssignableAt(r.Scope) || !onlyAtScope && slices.ContainsFunc(def.AssignableScopes, func(s string) bool {
				return rbac.ScopeContains(r.Scope, s)
			}))
	}
	defs := p.deps.Index.Definitions()
	var items []arm.Document
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		for _, def := range defs {
			if !match(def) {
				continue
			}
			var rec *arm.Record
			if def.Type == rbac.CustomRole {
				var err error
				if rec, _, err = arm.Get(tx, customID(def.ID)); err != nil {
					return err
				}
			}
			items = append(items, definitionBody(r.Scope, def, rec))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) putDefinition(w http.ResponseWriter, r *arm.Request) error {
	if !isGUID(r.Name) {
		return errDefinitionID(r.Name)
	}
	doc, err := r.Document()
	if err != nil {
		return err
	}
	doc = arm.Document{"properties": map[string]any(doc.Object("properties"))}
	def, err := readDefinition(doc, strings.ToLower(r.Name))
	if err != nil {
		return err
	}
	// Rights on the scopes it has now are asked for as well: what changes there
	// is what its assignments allow.
	scopes := def.AssignableScopes
	if have, ok := p.deps.Index.Definition(r.Name); ok {
		if have.Type == rbac.BuiltInRole {
			return errBuiltInRole(have.Name)
		}
		scopes = append(slices.Clone(have.AssignableScopes), scopes...)
	}
	if other, ok := p.deps.Index.DefinitionByName(def.Name); ok && other.Type == rbac.BuiltInRole {
		return errDefinitionNameTaken(def.Name)
	}
	for _, scope := range scopes {
		if err := r.Require(azure.Check{Action: definitionType + "/write", Scope: scope}); err != nil {
			return err
		}
	}
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if err := p.checkScopesAndName(tx, def); err != nil {
			return err
		}
		old, existed, err := arm.Get(tx, customID(def.ID))
		if err != nil {
			return err
		}
		now := p.deps.Clock.Now()
		rec = &arm.Record{ID: customID(def.ID), Type: definitionType, Document: doc,
			CreatedAt: now, CreatedBy: r.Author(), ModifiedAt: now, ModifiedBy: r.Author()}
		doc.Set(string(rbac.CustomRole), "properties", "type")
		doc.Set(timestamp(now), "properties", "createdOn")
		doc.Set(r.Caller().ObjectID, "properties", "createdBy")
		doc.Set(timestamp(now), "properties", "updatedOn")
		doc.Set(r.Caller().ObjectID, "properties", "updatedBy")
		if existed {
			rec.CreatedAt, rec.CreatedBy = old.CreatedAt, old.CreatedBy
			doc.Set(old.Document.String("properties", "createdOn"), "properties", "createdOn")
			doc.Set(old.Document.String("properties", "createdBy"), "properties", "createdBy")
		}
		tx.OnCommit(func() { _ = p.deps.Index.PutDefinition(def) }) // the name was found free above
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusCreated, definitionBody(r.Scope, def, rec))
}

// readDefinition checks the body's shape.
func readDefinition(doc arm.Document, guid string) (rbac.Definition, error) {
	def := definitionOf(&arm.Record{ID: customID(guid), Document: doc})
	var typed struct {
		Properties struct {
			RoleName         *string            `json:"roleName"`
			Permissions      *[]rbac.Permission `json:"permissions"`
			AssignableScopes *[]string          `json:"assignableScopes"`
		} `json:"properties"`
	}
	if err := doc.Into(&typed); err != nil {
		return def, errDefinitionBody("The role definition is not valid: %s.", err)
	}
	switch {
	case strings.TrimSpace(def.Name) == "" || len(def.Name) > maxRoleName:
		return def, errDefinitionBody("The role definition needs a roleName of 1 to %d characters.", maxRoleName)
	case len(def.Permissions) == 0:
		return def, errDefinitionBody("The role definition '%s' needs permissions.", def.Name)
	case len(def.AssignableScopes) == 0:
		return def, errDefinitionBody("The role definition '%s' needs at least one assignable scope.", def.Name)
	}
	for _, perm := range def.Permissions {
		if perm.Condition != "" {
			return def, errCondition("permissions of custom roles cannot carry conditions here")
		}
	}
	return def, nil
}

// checkScopesAndName looks at what only the transaction knows.
func (p *Provider) checkScopesAndName(tx store.ReadTx, def rbac.Definition) error {
	for _, scope := range def.AssignableScopes {
		if strings.Trim(scope, "/") == "" {
			return errAssignableScope(scope, "a custom role cannot be assignable at the root")
		}
		id, err := azure.ParseResourceID(scope)
		if err != nil || !strings.HasPrefix(scope, "/") {
			return errAssignableScope(scope, "it is not a resource id").Because(err)
		}
		for _, container := range []string{"Microsoft.Resources/subscriptions", "Microsoft.Resources/resourceGroups"} {
			enclosing, ok := id.Ancestor(container)
			if !ok {
				continue
			}
			if _, found, err := arm.Get(tx, enclosing.String()); err != nil || !found {
				return errAssignableScope(scope, "'"+enclosing.String()+"' does not exist").Because(err)
			}
		}
	}
	for rec, err := range arm.Under(tx, "/", definitionType) {
		if err != nil {
			return err
		}
		if rec.Name() != def.ID && strings.EqualFold(rec.Document.String("properties", "roleName"), def.Name) {
			return errDefinitionNameTaken(def.Name)
		}
	}
	return nil
}

func (p *Provider) deleteDefinition(w http.ResponseWriter, r *arm.Request) error {
	def, ok := p.deps.Index.Definition(r.Name)
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if def.Type == rbac.BuiltInRole {
		return errBuiltInRole(def.Name)
	}
	for _, scope := range def.AssignableScopes {
		if err := r.Require(azure.Check{Action: definitionType + "/delete", Scope: scope}); err != nil {
			return err
		}
	}
	var rec *arm.Record
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var err error
		if rec, ok, err = arm.Get(tx, customID(def.ID)); err != nil || !ok {
			return err
		}
		for a, err := range arm.Under(tx, "/", assignmentType) {
			if err != nil {
				return err
			}
			if assignmentRole(a) == def.ID {
				return errDefinitionInUse()
			}
		}
		tx.OnCommit(func() { p.deps.Index.DeleteDefinition(def.ID) })
		return arm.Delete(tx, rec.ID)
	})
	if err != nil {
		return err
	}
	if rec == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return arm.Reply(w, http.StatusOK, definitionBody(r.Scope, def, rec))
}

func assignmentRole(rec *arm.Record) string {
	return rbac.RoleGUID(rec.Document.String("properties", "roleDefinitionId"))
}
