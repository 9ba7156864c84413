package storage

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

var skus = map[string]bool{
	"Standard_LRS": true, "Standard_GRS": true, "Standard_RAGRS": true, "Standard_ZRS": true, "Standard_GZRS": true, "Standard_RAGZRS": true,
	"Premium_LRS": true, "Premium_ZRS": true, "StandardV2_LRS": true, "StandardV2_GRS": true, "StandardV2_ZRS": true, "StandardV2_GZRS": true,
	"PremiumV2_LRS": true, "PremiumV2_ZRS": true,
}

var kinds = map[string]bool{"Storage": true, "StorageV2": true, "BlobStorage": true, "FileStorage": true, "BlockBlobStorage": true}

func validAccountName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) >= 3 && len(name) <= 24
}

// strip takes out what a client may echo but not set.
func strip(doc arm.Document) {
	for _, name := range []string{"id", "name", "type", "systemData", "etag"} {
		delete(doc, name)
	}
	for _, name := range readOnly {
		doc.Delete("properties", name)
	}
}

// check looks at the fields that Azure validates and we act upon.
func check(doc arm.Document) error {
	if _, given := doc.Get("sku", "name"); given && !skus[doc.String("sku", "name")] {
		return errValues("sku")
	}
	if _, given := doc["kind"]; given && !kinds[doc.String("kind")] {
		return errValues("kind")
	}
	for _, name := range []string{"allowBlobPublicAccess", "allowSharedKeyAccess", "supportsHttpsTrafficOnly"} {
		if v, given := doc.Get("properties", name); given && v != nil {
			if _, isBool := v.(bool); !isBool {
				return errValues(name)
			}
		}
	}
	for _, name := range []string{"properties", "sku", "tags"} {
		if v, given := doc[name]; given && v != nil && doc.Object(name) == nil {
			return errValues(name)
		}
	}
	return checkNetwork(doc)
}

// lay puts a request's members upon a stored document; properties are merged
// one by one, everything else is replaced.
func lay(onto, over arm.Document) arm.Document {
	out := onto.Merge(over)
	if p := over.Object("properties"); p != nil {
		out["properties"] = map[string]any(onto.Object("properties").Merge(p))
	} else if p := onto.Object("properties"); p != nil {
		out["properties"] = map[string]any(p)
	}
	return out
}

func (p *Provider) putAccountRequest(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	strip(doc)
	if err := check(doc); err != nil {
		return err
	}
	location := arm.CanonicalLocation(doc.String("location"))
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var exists bool
		var err error
		if rec, exists, err = arm.Get(tx, r.ID.String()); err != nil {
			return err
		}
		now := p.deps.Clock.Now()
		if !exists {
			switch {
			case !validAccountName(r.Name):
				return errAccountName(r.Name)
			case location == "":
				return arm.LocationRequired()
			case doc.String("sku", "name") == "":
				return errValues("sku")
			case doc.String("kind") == "":
				return errValues("kind")
			}
			rec = &arm.Record{ID: r.ID.String(), Type: accountType, CreatedAt: now, CreatedBy: r.Author()}
			if err := p.claim(tx, rec); err != nil {
				return err
			}
		} else if have := rec.Document.String("location"); location != "" && location != have {
			return arm.LocationConflict(r.ID, have, location)
		}
		rec.Document = lay(rec.Document, doc)
		if location != "" {
			rec.Document["location"] = location
		}
		rec.ModifiedAt, rec.ModifiedBy = now, r.Author()
		return p.putAccount(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) patchAccount(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	strip(doc)
	delete(doc, "location")
	if err := check(doc); err != nil {
		return err
	}
	rec, err := p.change(r, func(rec *arm.Record) error {
		rec.Document = lay(rec.Document, doc)
		return nil
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

// change rewrites an account that must exist.
func (p *Provider) change(r *arm.Request, edit func(*arm.Record) error) (rec *arm.Record, err error) {
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var ok bool
		var err error
		if rec, ok, err = arm.Get(tx, r.ID.String()); err != nil {
			return err
		}
		if !ok {
			return arm.NotFound(r.ID)
		}
		if err := edit(rec); err != nil {
			return err
		}
		rec.ModifiedAt, rec.ModifiedBy = p.deps.Clock.Now(), r.Author()
		return p.putAccount(tx, rec)
	})
	return rec, err
}

func (p *Provider) find(r *arm.Request) (rec *arm.Record, err error) {
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		if rec, ok, err = arm.Get(tx, r.ID.String()); err == nil && !ok {
			err = arm.NotFound(r.ID)
		}
		return err
	})
	return rec, err
}

func (p *Provider) getAccount(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.find(r)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) listAccounts(w http.ResponseWriter, r *arm.Request) error {
	recs, err := r.Visible(accountType)
	if err != nil {
		return err
	}
	items := make([]arm.Document, len(recs))
	for i, rec := range recs {
		items[i] = rec.Body()
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) deleteAccount(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusNoContent
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, r.ID.String())
		if err != nil || !ok {
			return err
		}
		status = http.StatusOK
		return p.removeAccount(tx, rec)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

// checkName says whether an account may be created under a name. The CLI asks
// before each create and goes on whatever the answer.
func (p *Provider) checkName(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	name := doc.String("name")
	answer := arm.Document{"nameAvailable": true}
	_, taken, _ := p.Account(r.Context(), name)
	switch {
	case !strings.EqualFold(doc.String("type"), accountType):
		return errValues("type")
	case !validAccountName(name):
		answer = arm.Document{"nameAvailable": false, "reason": "AccountNameInvalid",
			"message": name + " is not a valid storage account name. " + nameRule}
	case taken:
		answer = arm.Document{"nameAvailable": false, "reason": "AlreadyExists", "message": takenMessage(name)}
	}
	return arm.Reply(w, http.StatusOK, answer)
}
