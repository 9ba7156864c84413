package machinelearning

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

func (p *Provider) putAsset(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	doc.Default(false, "properties", "isArchived")
	return p.write(w, r, &arm.Record{ID: r.ID.String(), Type: r.Type.Name}, doc, nil)
}

func (p *Provider) deleteAsset(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusNoContent
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if _, ok, err := arm.Get(tx, r.ID.String()); err != nil || !ok {
			return err
		}
		status = http.StatusOK
		versions, err := arm.List(tx, r.ID.String(), "")
		if err != nil {
			return err
		}
		for _, v := range versions {
			if err := arm.Delete(tx, v.ID); err != nil {
				return err
			}
		}
		return arm.Delete(tx, r.ID.String())
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

func (p *Provider) listAssets(w http.ResponseWriter, r *arm.Request) error {
	items, err := p.list(r, r.Type.Name, viewFilter(r))
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

// viewFilter reads listViewType: archived assets are hidden unless asked for.
func viewFilter(r *arm.Request) func(*arm.Record) bool {
	view := r.URL.Query().Get("listViewType")
	return func(rec *arm.Record) bool {
		archived := rec.Document.Bool(false, "properties", "isArchived")
		return strings.EqualFold(view, "All") || archived == strings.EqualFold(view, "ArchivedOnly")
	}
}

// listVersions also answers azure-ai-ml's look-up of a code asset by content
// hash, which asks under a random asset name and means the whole workspace.
func (p *Provider) listVersions(w http.ResponseWriter, r *arm.Request) error {
	query := r.URL.Query()
	if hash := query.Get("hash"); hash != "" {
		return p.listByHash(w, r, hash)
	}
	var recs []*arm.Record
	keep := viewFilter(r)
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, r.Scope, r.Type.Name) {
			if err != nil {
				return err
			}
			if keep(rec) {
				recs = append(recs, rec)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if order := strings.ToLower(query.Get("$orderBy")); strings.HasPrefix(order, "createdtime") {
		slices.SortStableFunc(recs, func(a, b *arm.Record) int { return a.CreatedAt.Compare(b.CreatedAt) })
		if strings.HasSuffix(order, "desc") {
			slices.Reverse(recs)
		}
	}
	if top, err := strconv.Atoi(query.Get("$top")); err == nil && top >= 0 && top < len(recs) {
		recs = recs[:top]
	}
	items := make([]arm.Document, 0, len(recs))
	for _, rec := range recs {
		items = append(items, body(rec))
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) listByHash(w http.ResponseWriter, r *arm.Request, hash string) error {
	parent, err := azure.ParseResourceID(r.Scope)
	if err != nil {
		return err
	}
	var items []arm.Document
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		ws, err := workspaceOf(tx, parent)
		if err != nil {
			return err
		}
		for rec, err := range arm.Under(tx, ws.ID, r.Type.Name) {
			if err != nil {
				return err
			}
			if rec.Document.String("properties", "properties", "hash_sha256") == hash {
				items = append(items, body(rec))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

// putVersion writes an asset version and keeps its container's latestVersion
// and nextVersion, which drive the clients' auto-increment.
func (p *Provider) putVersion(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if doc.Object("properties") == nil {
		return errInvalid("properties is required.")
	}
	if strings.EqualFold(r.Type.Name, modelType+"/versions") {
		if doc.String("properties", "modelUri") == "" {
			return errInvalid("properties.modelUri is required.")
		}
		doc.Default(map[string]any{}, "properties", "flavors")
		doc.Default("custom_model", "properties", "modelType")
	}
	doc.Default(map[string]any{}, "properties", "properties")
	doc.Default(map[string]any{}, "properties", "tags")
	textValues(doc, "properties", "properties")
	textValues(doc, "properties", "tags")
	doc.Default(false, "properties", "isArchived")
	doc.Default(false, "properties", "isAnonymous")
	doc.Set("Succeeded", "properties", "provisioningState")
	container, _ := r.ID.Parent()
	return p.write(w, r, &arm.Record{ID: r.ID.String(), Type: r.Type.Name}, doc, func(tx store.Tx) error {
		return p.noteVersion(tx, container, r.Name, r.Author())
	})
}

func (p *Provider) noteVersion(tx store.Tx, id azure.ResourceID, version string, who arm.Author) error {
	if _, err := workspaceOf(tx, id); err != nil {
		return err
	}
	rec, ok, err := arm.Get(tx, id.String())
	if err != nil {
		return err
	}
	if !ok {
		rec = &arm.Record{ID: id.String(), Type: canonicalAsset(id), Document: arm.Document{
			"properties": map[string]any{"isArchived": false, "tags": map[string]any{}, "properties": map[string]any{}}}}
	}
	rec.Document.Set(version, "properties", "latestVersion")
	next := "1"
	if n, err := strconv.Atoi(version); err == nil {
		if cur, err := strconv.Atoi(rec.Document.String("properties", "nextVersion")); err == nil && cur > n {
			n = cur - 1
		}
		next = strconv.Itoa(n + 1)
	}
	rec.Document.Set(next, "properties", "nextVersion")
	p.stamp(rec, who)
	return arm.Put(tx, rec)
}

func canonicalAsset(id azure.ResourceID) string {
	if t, ok := oneOf(id.Type(), codeType, modelType, environmentType); ok {
		return t
	}
	return id.Type()
}
