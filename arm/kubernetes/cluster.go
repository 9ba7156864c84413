package kubernetes

import (
	"net/http"
	"regexp"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// namePattern is AKS's rule, which is also within Arc's.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?$`)

func errName(name string) *httpx.Error { // code unverified
	return arm.BadRequest("InvalidResourceName",
		"The cluster name '%s' is not valid: it must have 1 to 63 letters, digits, hyphens and underscores, and start and end with a letter or digit.", name)
}

func (p *Provider) put(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	for _, readOnly := range []string{"id", "name", "type", "systemData"} {
		delete(doc, readOnly)
	}
	location := arm.CanonicalLocation(doc.String("location"))
	status := http.StatusOK
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		now := p.deps.Clock.Now()
		var exists bool
		var err error
		if rec, exists, err = arm.Get(tx, r.ID.String()); err != nil {
			return err
		}
		switch {
		case exists && location != "" && location != rec.Document.String("location"):
			return arm.LocationConflict(r.ID, rec.Document.String("location"), location)
		case exists:
			location = rec.Document.String("location")
		case !namePattern.MatchString(r.Name):
			return errName(r.Name)
		case location == "":
			return arm.LocationRequired()
		default:
			status = http.StatusCreated
			rec = &arm.Record{ID: r.ID.String(), Type: r.Type.Name, CreatedAt: now, CreatedBy: r.Author()}
		}
		doc["location"] = location
		doc.Default(map[string]any{}, "tags")
		doc.Set("Succeeded", "properties", "provisioningState")
		rec.Document, rec.ModifiedAt, rec.ModifiedBy = doc, now, r.Author()
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, status, body(rec))
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
	return arm.Reply(w, http.StatusOK, body(rec))
}

func (p *Provider) list(w http.ResponseWriter, r *arm.Request) error {
	recs, err := r.Visible(r.Type.Name)
	if err != nil {
		return err
	}
	items := make([]arm.Document, len(recs))
	for i, rec := range recs {
		items[i] = body(rec)
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
		if err := p.deps.Assignments.RemoveUnder(tx, rec.ID); err != nil {
			return err
		}
		return arm.Delete(tx, rec.ID)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

func body(rec *arm.Record) arm.Document {
	out := rec.Body()
	out["systemData"] = map[string]any(rec.SystemData())
	return out
}
