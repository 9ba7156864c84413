package managedidentity

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// validName is the rule of the REST reference: 3 to 128 letters, digits, dashes
// and underscores, beginning with a letter or digit.
func validName(name string) bool {
	for i, c := range name {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
		case i > 0 && (c == '-' || c == '_'):
		default:
			return false
		}
	}
	return len(name) >= 3 && len(name) <= 128
}

func errName(name string) *httpx.Error { // code unverified
	return arm.BadRequest("InvalidResourceName",
		"The resource name '%s' is not valid: it must have 3 to 128 characters, start with a letter or number, and hold letters, numbers, hyphens and underscores only.", name)
}

func (p *Provider) put(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	for _, name := range []string{"id", "name", "type", "systemData"} {
		delete(doc, name)
	}
	location := arm.CanonicalLocation(doc.String("location"))
	status := http.StatusOK
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var exists bool
		var err error
		if rec, exists, err = arm.Get(tx, r.ID.String()); err != nil {
			return err
		}
		now := p.deps.Clock.Now()
		var identity map[string]any
		switch {
		case exists && location != "" && rec.Document.String("location") != location:
			return arm.LocationConflict(r.ID, rec.Document.String("location"), location)
		case exists:
			identity = rec.Document.Object("properties")
			location = rec.Document.String("location")
		case !validName(r.Name):
			return errName(r.Name)
		case location == "":
			return arm.LocationRequired()
		default:
			status = http.StatusCreated
			rec = &arm.Record{ID: r.ID.String(), Type: identityType, CreatedAt: now, CreatedBy: r.Author()}
			identity = map[string]any{}
		}
		// What the client sent in properties is kept but for the three ids.
		properties := arm.Document(identity).Merge(doc.Object("properties"))
		for _, name := range []string{"principalId", "clientId"} {
			if properties[name] = identity[name]; properties[name] == nil {
				properties[name] = uuid.NewString()
			}
		}
		properties["tenantId"] = p.deps.TenantID
		doc["properties"] = map[string]any(properties)
		doc["location"] = location
		doc.Default(map[string]any{}, "tags")
		rec.Document, rec.ModifiedAt, rec.ModifiedBy = doc, now, r.Author()
		doc["systemData"] = map[string]any(rec.SystemData())
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		return p.deps.Directory.PutPrincipal(tx, principalOf(rec))
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, status, rec.Body())
}

func (p *Provider) patch(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var ok bool
		var err error
		if rec, ok, err = arm.Get(tx, r.ID.String()); err != nil {
			return err
		}
		if !ok {
			return arm.NotFound(r.ID)
		}
		if tags := doc.Object("tags"); tags != nil {
			rec.Document["tags"] = map[string]any(tags)
		}
		rec.ModifiedAt, rec.ModifiedBy = p.deps.Clock.Now(), r.Author()
		rec.Document["systemData"] = map[string]any(rec.SystemData())
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) get(w http.ResponseWriter, r *arm.Request) error {
	var rec *arm.Record
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		var err error
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

func (p *Provider) list(w http.ResponseWriter, r *arm.Request) error {
	recs, err := r.Visible(identityType)
	if err != nil {
		return err
	}
	items := make([]arm.Document, len(recs))
	for i, rec := range recs {
		items[i] = rec.Body()
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) delete(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusNoContent
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, r.ID.String())
		if err != nil || !ok {
			return err
		}
		status = http.StatusOK
		return p.remove(tx, rec)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

func (p *Provider) remove(tx store.Tx, rec *arm.Record) error {
	if err := p.deps.Directory.DeletePrincipal(tx, principalOf(rec).ObjectID); err != nil {
		return err
	}
	if err := p.deps.Assignments.RemoveUnder(tx, rec.ID); err != nil {
		return err
	}
	if err := dropFederated(tx, rec.ID); err != nil {
		return err
	}
	return arm.Delete(tx, rec.ID)
}
