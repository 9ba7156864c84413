package authorization

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// grantsBucket tells, inside a transaction, which assignment gives a role to a
// principal at a scope: principal NUL role NUL scope to assignment id. The
// index cannot be asked: it learns of a change only after its commit.
const grantsBucket = "authorization.grants"

func grantKey(principal, role, scope string) []byte {
	return []byte(strings.ToLower(strings.Join([]string{principal, rbac.RoleGUID(role), scope}, "\x00")))
}

// namesBucket tells which assignment has a name: lower-cased GUID to id.
const namesBucket = "authorization.names"

// putAssignment writes a record and, once committed, the index.
func (p *Provider) putAssignment(tx store.Tx, rec *arm.Record) error {
	a := assignmentOf(rec)
	if err := arm.Put(tx, rec); err != nil {
		return err
	}
	if err := tx.Put(grantsBucket, grantKey(a.PrincipalID, a.RoleDefinitionID, a.Scope), []byte(rec.ID)); err != nil {
		return err
	}
	if err := tx.Put(namesBucket, []byte(strings.ToLower(rec.Name())), []byte(rec.ID)); err != nil {
		return err
	}
	// The fields an index insists upon were checked when rec was made.
	tx.OnCommit(func() { _ = p.deps.Index.Put(a) })
	return nil
}

func (p *Provider) removeAssignment(tx store.Tx, rec *arm.Record) error {
	a := assignmentOf(rec)
	if err := arm.Delete(tx, rec.ID); err != nil {
		return err
	}
	if err := tx.Delete(grantsBucket, grantKey(a.PrincipalID, a.RoleDefinitionID, a.Scope)); err != nil {
		return err
	}
	if err := tx.Delete(namesBucket, []byte(strings.ToLower(rec.Name()))); err != nil {
		return err
	}
	tx.OnCommit(func() { p.deps.Index.Delete(a.ID) })
	return nil
}

// newAssignment builds a record. scope is canonical, name a GUID.
func (p *Provider) newAssignment(scope, name, role string, who azure.Principal, createdBy string) *arm.Record {
	now := p.deps.Clock.Now()
	stamp := timestamp(now)
	return &arm.Record{
		ID: extensionID(scope, assignmentType, name), Type: assignmentType, CreatedAt: now, ModifiedAt: now,
		Document: arm.Document{"properties": map[string]any{
			"roleDefinitionId": roleID(scope, role), "principalId": who.ObjectID, "principalType": string(who.Type),
			"scope": scope, "condition": nil, "conditionVersion": nil, "description": nil,
			"createdOn": stamp, "updatedOn": stamp, "createdBy": createdBy, "updatedBy": createdBy,
			"delegatedManagedIdentityResourceId": nil,
		}},
	}
}

func assignmentOf(rec *arm.Record) rbac.Assignment {
	d := rec.Document
	return rbac.Assignment{
		ID: rec.ID, RoleDefinitionID: d.String("properties", "roleDefinitionId"),
		PrincipalID: d.String("properties", "principalId"), PrincipalType: azure.PrincipalType(d.String("properties", "principalType")),
		Scope: d.String("properties", "scope"), Condition: d.String("properties", "condition"),
		ConditionVersion: d.String("properties", "conditionVersion"),
	}
}

func definitionOf(rec *arm.Record) rbac.Definition {
	var view struct {
		Properties struct {
			RoleName         string            `json:"roleName"`
			Description      string            `json:"description"`
			Permissions      []rbac.Permission `json:"permissions"`
			AssignableScopes []string          `json:"assignableScopes"`
		} `json:"properties"`
	}
	// What was stored was checked to have this shape.
	_ = rec.Document.Into(&view)
	v := view.Properties
	return rbac.Definition{
		ID: rec.Name(), Name: v.RoleName, Description: v.Description, Type: rbac.CustomRole,
		Permissions: v.Permissions, AssignableScopes: v.AssignableScopes,
	}
}

// definition finds a role as of this transaction.
func (p *Provider) definition(tx store.ReadTx, id string) (rbac.Definition, bool, error) {
	rec, ok, err := arm.Get(tx, customID(rbac.RoleGUID(id)))
	if err != nil || ok {
		if !ok {
			return rbac.Definition{}, false, err
		}
		return definitionOf(rec), true, nil
	}
	def, ok := p.deps.Index.Definition(id)
	// A custom role the index still knows was deleted in this transaction.
	return def, ok && def.Type == rbac.BuiltInRole, nil
}

// customID is where a custom role is kept: roles belong to the tenant, whatever
// scope they were written through.
func customID(guid string) string { return extensionID("/", definitionType, guid) }

func extensionID(scope, resourceType, name string) string {
	return strings.TrimRight(scope, "/") + "/providers/" + resourceType + "/" + name
}

// Assign gives a built-in or custom role to a principal, for the emulator's own
// automatic assignments. Asked twice it answers the id of the first.
func (p *Provider) Assign(tx store.Tx, principal azure.Principal, roleGUID, scope, createdBy string) (assignmentID string, err error) {
	if id, ok := tx.Get(grantsBucket, grantKey(principal.ObjectID, roleGUID, scope)); ok {
		return string(id), nil
	}
	if _, ok, err := p.definition(tx, roleGUID); err != nil {
		return "", err
	} else if !ok {
		return "", fmt.Errorf("authorization: assign role %s at %s: there is no such role", roleGUID, scope)
	}
	if err := p.room(tx, scope); err != nil {
		return "", err
	}
	rec := p.newAssignment(scope, newGUID(), roleGUID, principal, createdBy)
	return rec.ID, p.putAssignment(tx, rec)
}

// room refuses one more assignment than the scope's subscription can have.
func (p *Provider) room(tx store.ReadTx, scope string) error {
	const prefix = "/subscriptions/"
	scope = strings.ToLower(scope)
	rest, ok := strings.CutPrefix(scope, prefix)
	if !ok {
		return nil
	}
	id, _, _ := strings.Cut(rest, "/")
	n := 0
	for key := range tx.Scan(grantsBucket, nil, nil) {
		at := string(key[bytes.LastIndexByte(key, 0)+1:])
		if at == prefix+id || strings.HasPrefix(at, prefix+id+"/") {
			n++
		}
	}
	if n >= p.deps.MaxAssignments {
		return errAssignmentLimit(n)
	}
	return nil
}

// RemoveForPrincipal ends every assignment of a principal.
func (p *Provider) RemoveForPrincipal(tx store.Tx, objectID string) error {
	var ids [][]byte
	for _, id := range tx.Scan(grantsBucket, []byte(strings.ToLower(objectID)+"\x00"), nil) {
		ids = append(ids, bytes.Clone(id))
	}
	for _, id := range ids {
		rec, ok, err := arm.Get(tx, string(id))
		if err != nil {
			return err
		}
		if ok {
			if err := p.removeAssignment(tx, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveUnder ends every assignment made at a scope or below it: what happens
// when the resource there is deleted.
func (p *Provider) RemoveUnder(tx store.Tx, scope string) error {
	recs, err := arm.List(tx, scope, assignmentType)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := p.removeAssignment(tx, rec); err != nil {
			return err
		}
	}
	return nil
}
