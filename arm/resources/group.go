package resources

import (
	"context"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// deleteGroupKind names the operation that deletes a group.
const deleteGroupKind = "resources.DeleteGroup"

// validGroupName is the rule of the REST reference, for ASCII and beyond:
// letters, digits, _ - . ( ), up to 90, no dot at the end.
func validGroupName(name string) bool {
	for _, c := range name {
		if c < 0x80 && !strings.ContainsRune("_-.()", c) && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return name != "" && len(name) <= 90 && !strings.HasSuffix(name, ".")
}

func errGroupName(name string) *httpx.Error {
	return arm.BadRequest("ResourceGroupNameInvalid", // code unverified
		"Resource group name '%s' is not valid. It may have up to 90 letters, digits, underscores, hyphens, periods and parentheses, and cannot end with a period.", name)
}

func errGroupNotFound(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
}

func errGroupLocation(name, have, want string) *httpx.Error {
	return arm.Conflict("InvalidResourceGroupLocation",
		"Invalid resource group location '%s'. The Resource group '%s' already exists in location '%s'.", want, name, have)
}

func errGroupDeleting(name string) *httpx.Error {
	return arm.Conflict("ResourceGroupBeingDeleted",
		"The resource group '%s' is in deprovisioning state and cannot perform this operation.", name)
}

func deleting(rec *arm.Record) bool {
	return rec.Document.String("properties", "provisioningState") == "Deleting"
}

func (p *Provider) group(r *arm.Request) (rec *arm.Record, err error) {
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		var ok bool
		if rec, ok, err = arm.Get(tx, r.ID.String()); err == nil && !ok {
			err = errGroupNotFound(r.Name)
		}
		return err
	})
	return rec, err
}

func (p *Provider) putGroup(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if !validGroupName(r.Name) {
		return errGroupName(r.Name)
	}
	location := arm.CanonicalLocation(doc.String("location"))
	if location == "" {
		return arm.LocationRequired()
	}
	for _, name := range []string{"id", "name", "type"} {
		delete(doc, name)
	}
	status := http.StatusOK
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		var exists bool
		var err error
		if rec, exists, err = arm.Get(tx, r.ID.String()); err != nil {
			return err
		}
		now := p.deps.Clock.Now()
		switch {
		case !exists:
			status = http.StatusCreated
			rec = &arm.Record{ID: r.ID.String(), Type: groupType, CreatedAt: now, CreatedBy: r.Author()}
		case deleting(rec):
			return errGroupDeleting(r.Name)
		case rec.Document.String("location") != location:
			return errGroupLocation(r.Name, rec.Document.String("location"), location)
		}
		doc["location"] = location
		doc.Set(arm.Succeeded, "properties", "provisioningState")
		rec.Document, rec.ModifiedAt, rec.ModifiedBy = doc, now, r.Author()
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, status, rec.Body())
}

func (p *Provider) patchGroup(w http.ResponseWriter, r *arm.Request) error {
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
		switch {
		case !ok:
			return errGroupNotFound(r.Name)
		case deleting(rec):
			return errGroupDeleting(r.Name)
		}
		for _, name := range []string{"tags", "managedBy"} {
			if v, given := doc[name]; given {
				rec.Document[name] = v
			}
		}
		rec.ModifiedAt, rec.ModifiedBy = p.deps.Clock.Now(), r.Author()
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) getGroup(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.group(r)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, rec.Body())
}

func (p *Provider) checkGroup(w http.ResponseWriter, r *arm.Request) error {
	if _, err := p.group(r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (p *Provider) listGroups(w http.ResponseWriter, r *arm.Request) error {
	f, err := arm.ParseFilter(r.URL.Query().Get("$filter"), "tagName", "tagValue")
	if err != nil {
		return err
	}
	recs, err := r.Visible(groupType)
	if err != nil {
		return err
	}
	items := []arm.Document{}
	for _, rec := range recs {
		if tagged(rec, f) {
			items = append(items, rec.Body())
		}
	}
	return arm.ReplyList(w, items)
}

// tagged applies `tagName eq 'N' and tagValue eq 'V'`.
func tagged(rec *arm.Record, f arm.Filter) bool {
	name, byName := f.Equals("tagName")
	value, byValue := f.Equals("tagValue")
	if !byName && !byValue {
		return true
	}
	for k, v := range rec.Document.Object("tags") {
		if (!byName || strings.EqualFold(k, name)) && (!byValue || v == value) {
			return true
		}
	}
	return false
}

// deleteGroup marks the group, so that nothing is put into it any more, and
// leaves the work to the operation.
func (p *Provider) deleteGroup(w http.ResponseWriter, r *arm.Request) error {
	var job string
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, r.ID.String())
		switch {
		case err != nil:
			return err
		case !ok:
			return errGroupNotFound(r.Name)
		}
		if running, ok := p.deps.Operations.Running(rec.ResourceID()); ok && deleting(rec) {
			job = running.ID
			return nil
		}
		rec.Document.Set("Deleting", "properties", "provisioningState")
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		job, err = p.deps.Operations.Begin(tx, deleteGroupKind, rec.ResourceID(), nil)
		return err
	})
	if err != nil {
		return err
	}
	p.deps.Operations.LocationHeader(w.Header(), r, job)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// performDelete stops what runs in the group, then deletes the group and all it
// holds in one transaction. When it fails the group is usable again.
func (p *Provider) performDelete(ctx context.Context, job arm.Job) arm.Outcome {
	for _, c := range p.deps.Cascades {
		if c.Stop == nil {
			continue
		}
		if err := c.Stop(ctx, job.Resource); err != nil {
			failed := httpx.Errorf(http.StatusConflict, "ResourceGroupDeletionBlocked",
				"Deletion of resource group '%s' failed as resources of %s could not be stopped.",
				azure.MustParseResourceID(job.Resource).Name(), c.Name).Because(err)
			return arm.Outcome{Err: failed, Apply: func(tx store.Tx) error { return reopen(tx, job.Resource) }}
		}
	}
	return arm.Outcome{Apply: func(tx store.Tx) error { return p.deleteAll(tx, job.Resource) }}
}

func reopen(tx store.Tx, group string) error {
	rec, ok, err := arm.Get(tx, group)
	if err != nil || !ok {
		return err
	}
	rec.Document.Set(arm.Succeeded, "properties", "provisioningState")
	return arm.Put(tx, rec)
}

// deleteAll does nothing when the group is not marked any more: another
// deletion was quicker, and what stands there now is a new group.
func (p *Provider) deleteAll(tx store.Tx, group string) error {
	if rec, ok, err := arm.Get(tx, group); err != nil || !ok || !deleting(rec) {
		return err
	}
	for _, c := range p.deps.Cascades {
		if c.Remove == nil {
			continue
		}
		if err := c.Remove(tx, group); err != nil {
			return err
		}
	}
	rest, err := arm.List(tx, group, "")
	if err != nil {
		return err
	}
	for _, rec := range rest {
		if err := arm.Delete(tx, rec.ID); err != nil {
			return err
		}
	}
	return arm.Delete(tx, group)
}
