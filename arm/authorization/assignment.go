package authorization

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// wish is what a PUT asks for.
type wish struct {
	role, principal, principalType          string
	condition, conditionVersion             string
	description, delegatedManagedIdentityID any
}

func readWish(r *arm.Request) (wish, error) {
	doc, err := r.Document()
	if err != nil {
		return wish{}, err
	}
	p := doc.Object("properties")
	w := wish{
		role: p.String("roleDefinitionId"), principal: strings.ToLower(p.String("principalId")), principalType: p.String("principalType"),
		condition: p.String("condition"), conditionVersion: p.String("conditionVersion"),
		description: p["description"], delegatedManagedIdentityID: p["delegatedManagedIdentityResourceId"],
	}
	switch {
	case w.role == "":
		return w, errAssignmentBody(r.Name, "a roleDefinitionId")
	case w.principal == "":
		return w, errAssignmentBody(r.Name, "a principalId")
	case !isGUID(w.principal):
		return w, errPrincipalID(p.String("principalId"))
	case !isGUID(rbac.RoleGUID(w.role)):
		return w, errDefinitionID(w.role)
	}
	if w.principalType != "" {
		canonical := ""
		for _, known := range []string{"User", "Group", "ServicePrincipal", "ForeignGroup", "Device"} {
			if strings.EqualFold(known, w.principalType) {
				canonical = known
			}
		}
		if canonical == "" {
			return w, errPrincipalType(w.principalType)
		}
		w.principalType = canonical
	}
	return w, w.checkCondition()
}

// checkCondition refuses what package rbac could only deny.
func (w *wish) checkCondition() error {
	switch {
	case strings.TrimSpace(w.condition) == "":
		w.condition, w.conditionVersion = "", ""
		return nil
	case w.conditionVersion != "" && w.conditionVersion != "2.0":
		return errCondition("conditionVersion must be 2.0")
	}
	if err := rbac.CheckCondition(w.condition); err != nil {
		return errCondition(err.Error())
	}
	w.conditionVersion = "2.0"
	return nil
}

func (p *Provider) createAssignment(w http.ResponseWriter, r *arm.Request) error {
	if !isGUID(r.Name) {
		return errAssignmentName(r.Name)
	}
	want, err := readWish(r)
	if err != nil {
		return err
	}
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var err error
		rec, err = p.create(tx, r, want)
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusCreated, rec.Body())
}

func (p *Provider) create(tx store.Tx, r *arm.Request, want wish) (*arm.Record, error) {
	if err := p.scopeExists(tx, r.Scope); err != nil {
		return nil, err
	}
	def, ok, err := p.definition(tx, want.role)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errDefinitionMissing(rbac.RoleGUID(want.role))
	}
	if !def.AssignableAt(r.Scope) {
		return nil, errNotAssignable(def.Name, r.Scope)
	}
	old, ok, err := arm.Get(tx, r.ID.String())
	if err != nil {
		return nil, err
	}
	if ok {
		return p.repeat(tx, r, old, want)
	}
	// A name is one assignment in the whole tenant.
	if _, taken := tx.Get(namesBucket, []byte(strings.ToLower(r.Name))); taken {
		return nil, errAssignmentUpdate()
	}
	if id, taken := tx.Get(grantsBucket, grantKey(want.principal, want.role, r.Scope)); taken {
		return nil, errAssignmentExists(string(id))
	}
	who, err := p.principal(tx, want)
	if err != nil {
		return nil, err
	}
	if err := p.room(tx, r.Scope); err != nil {
		return nil, err
	}
	rec := p.newAssignment(r.Scope, r.Name, want.role, who, r.Caller().ObjectID)
	rec.CreatedBy, rec.ModifiedBy = r.Author(), r.Author()
	want.decorate(rec)
	return rec, p.putAssignment(tx, rec)
}

// repeat answers a PUT on a name that is taken: the same content again is
// fine, and condition and description may change; nothing else may.
func (p *Provider) repeat(tx store.Tx, r *arm.Request, old *arm.Record, want wish) (*arm.Record, error) {
	have := assignmentOf(old)
	if !strings.EqualFold(have.PrincipalID, want.principal) || rbac.RoleGUID(have.RoleDefinitionID) != rbac.RoleGUID(want.role) ||
		(want.principalType != "" && want.principalType != string(have.PrincipalType)) {
		return nil, errAssignmentUpdate()
	}
	want.decorate(old)
	old.ModifiedAt, old.ModifiedBy = p.deps.Clock.Now(), r.Author()
	old.Document.Set(timestamp(old.ModifiedAt), "properties", "updatedOn")
	old.Document.Set(r.Caller().ObjectID, "properties", "updatedBy")
	return old, p.putAssignment(tx, old)
}

func (w wish) decorate(rec *arm.Record) {
	set := func(name string, value any) {
		if value != nil && value != "" {
			rec.Document.Set(value, "properties", name)
		}
	}
	set("condition", w.condition)
	set("conditionVersion", w.conditionVersion)
	set("description", w.description)
	set("delegatedManagedIdentityResourceId", w.delegatedManagedIdentityID)
}

// principal decides who the assignment is for. Only a stated type lets a
// principal pass that the directory does not know (yet).
func (p *Provider) principal(tx store.ReadTx, want wish) (azure.Principal, error) {
	who, ok := p.deps.Directory.Principal(tx, want.principal)
	switch {
	case !ok && want.principalType == "":
		return who, errPrincipalNotFound(want.principal, p.deps.TenantID)
	case !ok:
		return azure.Principal{ObjectID: want.principal, Type: azure.PrincipalType(want.principalType)}, nil
	case want.principalType != "" && want.principalType != string(who.Type):
		return who, errUnmatchedType(who, want.principalType)
	}
	return who, nil
}

// scopeExists refuses a scope whose resource is of a tracked type and missing:
// an assignment on a misspelled account must not look like a success. What
// Resource Manager itself keeps no record of, such as a blob container, is not
// looked for (unverified: no document says what Azure does).
func (p *Provider) scopeExists(tx store.ReadTx, scope string) error {
	if scope == "/" {
		return nil
	}
	id, err := azure.ParseResourceID(scope)
	if err != nil {
		return arm.BadRequest("InvalidScope", "The scope '%s' is not valid.", scope).Because(err)
	}
	for cur, ok := id, true; ok; cur, ok = cur.Parent() {
		for _, tracked := range p.deps.Tracked {
			if !strings.EqualFold(tracked, cur.Type()) {
				continue
			}
			if _, found, err := arm.Get(tx, cur.String()); err != nil || !found {
				if err == nil {
					err = arm.NotFound(cur)
				}
				return err
			}
		}
	}
	return nil
}

func (p *Provider) getAssignment(w http.ResponseWriter, r *arm.Request) error {
	var rec *arm.Record
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) (err error) {
		rec, _, err = arm.Get(tx, r.ID.String())
		return err
	})
	if err != nil {
		return err
	}
	if rec == nil {
		return errAssignmentNotFound(r.Name)
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) deleteAssignment(w http.ResponseWriter, r *arm.Request) error {
	var rec *arm.Record
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var ok bool
		var err error
		if rec, ok, err = arm.Get(tx, r.ID.String()); err != nil || !ok {
			return err
		}
		return p.removeAssignment(tx, rec)
	})
	if err != nil {
		return err
	}
	if rec == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

// listAssignments: without a filter, and for one principal, what applies at the
// scope together with what lies below it; with atScope() at and above only.
func (p *Provider) listAssignments(w http.ResponseWriter, r *arm.Request) error {
	f, err := arm.ParseFilter(r.URL.Query().Get("$filter"), "atScope()", "assignedTo()", "principalId")
	if err != nil {
		return err
	}
	ask := rbac.Filter{Scope: r.Scope}
	if _, ok := f.Call("atScope"); ok {
		ask.Reach = rbac.AtScope | rbac.AboveScope
	}
	if oid, ok := f.Equals("principalId"); ok {
		ask.PrincipalID = oid
	}
	if oid, ok := f.Call("assignedTo"); ok {
		if ask.PrincipalID != "" && !strings.EqualFold(ask.PrincipalID, oid) {
			return arm.ReplyList(w, nil)
		}
		ask.PrincipalID, ask.ThroughGroups = oid, ask.PrincipalID == ""
	}
	var items []arm.Document
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		for _, a := range p.deps.Index.Assignments(ask) {
			rec, ok, err := arm.Get(tx, a.ID)
			if err != nil {
				return err
			}
			if ok { // gone between the two reads
				items = append(items, rec.Body())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}
