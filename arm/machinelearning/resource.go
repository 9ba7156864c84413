package machinelearning

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

func (p *Provider) getResource(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body(rec))
}

// listResources lists a type below the addressed scope; a missing parent is a
// 404 rather than an empty list.
func (p *Provider) listResources(w http.ResponseWriter, r *arm.Request) error {
	items, err := p.list(r, r.Type.Name, nil)
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) list(r *arm.Request, resourceType string, keep func(*arm.Record) bool) (items []arm.Document, err error) {
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		if err := parentExists(tx, r.Scope); err != nil {
			return err
		}
		for rec, err := range arm.Under(tx, r.Scope, resourceType) {
			if err != nil {
				return err
			}
			if keep == nil || keep(rec) {
				items = append(items, body(rec))
			}
		}
		return nil
	})
	return items, err
}
