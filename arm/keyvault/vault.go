package keyvault

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// permissionModel is what a change from policies to roles, or back, needs
// besides writing the vault: it can give anyone everything.
const permissionModel = "Microsoft.Authorization/roleAssignments/write"

func (p *Provider) putVaultRequest(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	strip(doc)
	recovering := strings.EqualFold(doc.String("properties", "createMode"), "recover")
	doc.Delete("properties", "createMode")
	if err := check(doc); err != nil {
		return err
	}
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := arm.Get(tx, r.ID.String())
		switch {
		case err != nil:
			return err
		case exists:
			if err := mayChangeModel(r, old.Document, doc); err != nil {
				return err
			}
			rec, err = p.replace(r, old, doc)
		case recovering:
			rec, err = p.recover(tx, r)
		default:
			rec, err = p.create(tx, r, doc)
		}
		if err != nil {
			return err
		}
		rec.ModifiedAt, rec.ModifiedBy = p.deps.Clock.Now(), r.Author()
		return p.putVault(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

// create checks what a new vault must have and takes its name.
func (p *Provider) create(tx store.Tx, r *arm.Request, doc arm.Document) (*arm.Record, error) {
	location := arm.CanonicalLocation(doc.String("location"))
	policies, _ := doc.Get("properties", "accessPolicies")
	switch {
	case !validVaultName(r.Name):
		return nil, errVaultName(r.Name)
	case location == "":
		return nil, arm.LocationRequired()
	case doc.String("properties", "tenantId") == "":
		return nil, errValue("tenantId")
	case doc.Object("properties", "sku") == nil:
		return nil, errValue("sku")
	case policies == nil && !doc.Bool(false, "properties", "enableRbacAuthorization"):
		return nil, errValue("accessPolicies")
	}
	if v, given := doc.Get("properties", "enablePurgeProtection"); given && v == false {
		return nil, errPurgeProtection()
	}
	rec := &arm.Record{ID: r.ID.String(), Type: vaultType, CreatedAt: p.deps.Clock.Now(), CreatedBy: r.Author(), Document: doc}
	doc["location"] = location
	return rec, p.claim(tx, rec)
}

// kept are the properties that a PUT without them leaves as they are: those
// that cannot be taken back, and the policies.
var kept = []string{"softDeleteRetentionInDays", "enablePurgeProtection", "accessPolicies", "tenantId", "sku", "enableRbacAuthorization"}

// replace is a PUT over a vault that is there.
func (p *Provider) replace(r *arm.Request, old *arm.Record, doc arm.Document) (*arm.Record, error) {
	have := old.Document.String("location")
	if want := arm.CanonicalLocation(doc.String("location")); want != "" && want != have {
		return nil, arm.LocationConflict(r.ID, have, want)
	}
	if err := irreversible(old.Document, doc); err != nil {
		return nil, err
	}
	for _, name := range kept {
		if v, ok := old.Document.Get("properties", name); ok {
			doc.Default(v, "properties", name)
		}
	}
	doc["location"] = have
	old.Document = doc
	return old, nil
}

// irreversible refuses what cannot be taken back.
func irreversible(have, want arm.Document) error {
	if v, given := want.Get("properties", "enablePurgeProtection"); given && v == false {
		return errPurgeProtection()
	}
	if v, given := want.Get("properties", "softDeleteRetentionInDays"); given && v != nil {
		if days, _ := number(v); days != retention(have) {
			return errRetention()
		}
	}
	return nil
}

// mayChangeModel asks for the permission that a change of the permission model
// needs. An absent property leaves the model alone. It is asked within the
// transaction that writes: have is what the change is made to.
func mayChangeModel(r *arm.Request, have, want arm.Document) error {
	const model = "enableRbacAuthorization"
	v, given := want.Get("properties", model)
	roles, isBool := v.(bool)
	if !given || !isBool || roles == have.Bool(false, "properties", model) {
		return nil
	}
	return r.Require(azure.Check{Action: permissionModel, Scope: r.ID.String()})
}

func (p *Provider) patchVault(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	strip(doc)
	doc.Delete("properties", "createMode")
	delete(doc, "location")
	if err := check(doc); err != nil {
		return err
	}
	rec, err := p.change(r, r.ID, func(rec *arm.Record) error {
		if err := mayChangeModel(r, rec.Document, doc); err != nil {
			return err
		}
		if err := irreversible(rec.Document, doc); err != nil {
			return err
		}
		properties := rec.Document.Object("properties")
		for name, value := range doc.Object("properties") {
			if value != nil {
				properties[name] = value
			}
		}
		if tags, given := doc["tags"]; given && tags != nil {
			rec.Document["tags"] = tags
		}
		return nil
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

// change rewrites a vault that must exist.
func (p *Provider) change(r *arm.Request, id azure.ResourceID, edit func(*arm.Record) error) (rec *arm.Record, err error) {
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var ok bool
		var err error
		if rec, ok, err = arm.Get(tx, id.String()); err != nil {
			return err
		}
		if !ok {
			return arm.NotFound(id)
		}
		if err := edit(rec); err != nil {
			return err
		}
		rec.ModifiedAt, rec.ModifiedBy = p.deps.Clock.Now(), r.Author()
		return p.putVault(tx, rec)
	})
	return rec, err
}

func (p *Provider) getVault(w http.ResponseWriter, r *arm.Request) error {
	var rec *arm.Record
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) (err error) {
		var ok bool
		if rec, ok, err = arm.Get(tx, r.ID.String()); err == nil && !ok {
			err = arm.NotFound(r.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) listVaults(w http.ResponseWriter, r *arm.Request) error {
	recs, err := r.Visible(vaultType)
	if err != nil {
		return err
	}
	items := make([]arm.Document, len(recs))
	for i, rec := range recs {
		items[i] = rec.Body()
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) deleteVault(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusNoContent
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, r.ID.String())
		if err != nil || !ok {
			return err
		}
		status = http.StatusOK
		return p.softDelete(tx, rec)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

// checkName says whether a vault may be created under a name.
func (p *Provider) checkName(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	name := doc.String("name")
	if !strings.EqualFold(doc.String("type"), vaultType) {
		return errValue("type")
	}
	taken := false
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		taken, err = p.taken(tx, name)
		return err
	})
	if err != nil {
		return err
	}
	answer := arm.Document{"nameAvailable": true}
	switch {
	case !validVaultName(name):
		answer = arm.Document{"nameAvailable": false, "reason": "AccountNameInvalid", "message": nameMessage(name)}
	case taken:
		answer = arm.Document{"nameAvailable": false, "reason": "AlreadyExists", "message": takenMessage(name)}
	}
	return arm.Reply(w, http.StatusOK, answer)
}
