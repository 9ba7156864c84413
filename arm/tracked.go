package arm

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Tracked serves a resource type that is a record and nothing more: it has a
// location, what is put into it is kept, and all of it is done at once.
type Tracked struct {
	// Type is the resource type, Name the first half of its operations' names.
	Type, Name string
	Documents  store.Documents
	Clock      clock.Clock
	// Created is the status a new one is answered with; 0: 200, for of 201 some
	// clients expect polling headers.
	Created int
	// Check refuses a name or a body; may be nil.
	Check func(name string, doc Document) error
	// Fill sets what the service decides, when a record is made and at every
	// change; may be nil.
	Fill func(tx store.Tx, rec *Record) error
	// Remove is told of a deletion, before it; may be nil.
	Remove func(tx store.Tx, rec *Record) error
}

// Rows are the type's operations: put, patch, get, delete and list.
func (t *Tracked) Rows() []Row {
	row := func(name, method, action string, on Target, serve func(http.ResponseWriter, *Request) error) Row {
		return Row{Operation: httpx.Operation{Name: t.Name + "." + name, Method: method, Action: t.Type + "/" + action}, On: on, Serve: serve}
	}
	noun := t.Type[strings.LastIndexByte(t.Type, '/')+1:]
	noun = strings.ToUpper(noun[:1]) + noun[1:]
	list := row("List"+noun, http.MethodGet, "read", Collection, t.list)
	list.Filtered = true
	return []Row{
		row("Put"+noun, http.MethodPut, "write", Resource, t.put),
		row("Update"+noun, http.MethodPatch, "write", Resource, t.patch),
		row("Get"+noun, http.MethodGet, "read", Resource, t.get),
		row("Delete"+noun, http.MethodDelete, "delete", Resource, t.delete),
		list,
	}
}

func (t *Tracked) put(w http.ResponseWriter, r *Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if t.Check != nil {
		if err := t.Check(r.Name, doc); err != nil {
			return err
		}
	}
	for _, name := range []string{"id", "name", "type", "systemData"} {
		delete(doc, name)
	}
	location := CanonicalLocation(doc.String("location"))
	status := http.StatusOK
	var rec *Record
	err = t.Documents.Update(r.Context(), func(tx store.Tx) error {
		var exists bool
		var err error
		if rec, exists, err = Get(tx, r.ID.String()); err != nil {
			return err
		}
		now := t.Clock.Now()
		have := Document{}
		switch {
		case exists && location != "" && rec.Document.String("location") != location:
			return LocationConflict(r.ID, rec.Document.String("location"), location)
		case exists:
			location, have = rec.Document.String("location"), rec.Document
		case location == "":
			return LocationRequired()
		default:
			rec = &Record{ID: r.ID.String(), Type: t.Type, CreatedAt: now, CreatedBy: r.Author()}
			if t.Created != 0 {
				status = t.Created
			}
		}
		// What the service decided stays where the client does not say else.
		doc["properties"] = map[string]any(Document(have.Object("properties")).Merge(doc.Object("properties")))
		doc["location"] = location
		doc.Default(map[string]any{}, "tags")
		rec.Document, rec.ModifiedAt, rec.ModifiedBy = doc, now, r.Author()
		return t.keep(tx, rec)
	})
	if err != nil {
		return err
	}
	return Reply(w, status, rec.Body())
}

func (t *Tracked) keep(tx store.Tx, rec *Record) error {
	rec.Document.Set(Succeeded, "properties", "provisioningState")
	rec.Document["systemData"] = map[string]any(rec.SystemData())
	if t.Fill != nil {
		if err := t.Fill(tx, rec); err != nil {
			return err
		}
	}
	return Put(tx, rec)
}

func (t *Tracked) patch(w http.ResponseWriter, r *Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	var rec *Record
	err = t.Documents.Update(r.Context(), func(tx store.Tx) error {
		var ok bool
		var err error
		if rec, ok, err = Get(tx, r.ID.String()); err != nil {
			return err
		}
		if !ok {
			return NotFound(r.ID)
		}
		for _, name := range []string{"id", "name", "type", "systemData", "location"} {
			delete(doc, name)
		}
		if tags, given := doc["tags"]; given { // replaced, not merged
			delete(rec.Document, "tags")
			doc["tags"] = tags
		}
		rec.Document = rec.Document.Merge(doc)
		if t.Check != nil {
			if err := t.Check(r.Name, rec.Document); err != nil {
				return err
			}
		}
		rec.ModifiedAt, rec.ModifiedBy = t.Clock.Now(), r.Author()
		return t.keep(tx, rec)
	})
	if err != nil {
		return err
	}
	return Reply(w, http.StatusOK, rec.Body())
}

func (t *Tracked) get(w http.ResponseWriter, r *Request) error {
	var rec *Record
	err := t.Documents.View(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		var err error
		if rec, ok, err = Get(tx, r.ID.String()); err == nil && !ok {
			err = NotFound(r.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return Reply(w, http.StatusOK, rec.Body())
}

func (t *Tracked) list(w http.ResponseWriter, r *Request) error {
	recs, err := r.Visible(t.Type)
	if err != nil {
		return err
	}
	items := make([]Document, len(recs))
	for i, rec := range recs {
		items[i] = rec.Body()
	}
	return ReplyList(w, items)
}

func (t *Tracked) delete(w http.ResponseWriter, r *Request) error {
	status := http.StatusNoContent
	err := t.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ok, err := Get(tx, r.ID.String())
		if err != nil || !ok {
			return err
		}
		status = http.StatusOK
		if t.Remove != nil {
			if err := t.Remove(tx, rec); err != nil {
				return err
			}
		}
		return Delete(tx, rec.ID)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}
