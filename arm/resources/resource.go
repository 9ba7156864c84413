package resources

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// summary is a resource as generic lists show it: without its properties.
func summary(rec *arm.Record) arm.Document {
	out := arm.Document{"id": rec.ID, "name": rec.Name(), "type": rec.Type}
	for _, name := range []string{"location", "tags", "kind", "sku", "identity", "managedBy", "plan"} {
		if v, ok := rec.Document[name]; ok && v != nil {
			out[name] = v
		}
	}
	return out
}

// listable tells tracked resources, which have a location, from the rest.
func listable(rec *arm.Record) bool {
	return rec.Document.String("location") != "" && !strings.HasPrefix(rec.Type, namespace+"/")
}

// listResources serves the list of a subscription and of a group. Each resource
// is shown to those who may read it.
func (p *Provider) listResources(w http.ResponseWriter, r *arm.Request) error {
	f, err := arm.ParseFilter(r.URL.Query().Get("$filter"), "resourceType", "resourceGroup", "name", "location", "tagName", "tagValue")
	if err != nil {
		return err
	}
	if err := p.seesSubscription(r, namespace+"/subscriptions/resources/read"); err != nil {
		return err
	}
	kind, _ := f.Equals("resourceType")
	var recs []*arm.Record
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) (err error) {
		recs, err = arm.List(tx, r.Scope, kind)
		return err
	})
	if err != nil {
		return err
	}
	var items []arm.Document
	for _, rec := range recs {
		if listable(rec) && selected(rec, f) && r.May(azure.Check{Action: rec.Type + "/read", Scope: rec.ID}) {
			items = append(items, summary(rec))
		}
	}
	return arm.ReplyList(w, items)
}

func selected(rec *arm.Record, f arm.Filter) bool {
	for name, have := range map[string]string{
		"resourceGroup": rec.ResourceID().ResourceGroup(), "name": rec.Name(), "location": rec.Document.String("location"),
	} {
		if want, given := f.Equals(name); given && !strings.EqualFold(want, have) {
			return false
		}
	}
	return tagged(rec, f)
}
