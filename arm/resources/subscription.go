package resources

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// A subscription's type and name are not served: its document is flat.
func subscriptionBody(rec *arm.Record) arm.Document {
	out := rec.Document.Clone()
	out["id"] = rec.ID
	return out
}

func (p *Provider) subscriptions(r *arm.Request) (recs []*arm.Record, err error) {
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/subscriptions", subscriptionType) {
			if err != nil {
				return err
			}
			if p.deps.Roles.Sees(r.Caller().ObjectID, rec.ID) {
				recs = append(recs, rec)
			}
		}
		return nil
	})
	return recs, err
}

func (p *Provider) listSubscriptions(w http.ResponseWriter, r *arm.Request) error {
	recs, err := p.subscriptions(r)
	if err != nil {
		return err
	}
	items := []arm.Document{}
	for _, rec := range recs {
		items = append(items, subscriptionBody(rec))
	}
	return arm.Reply(w, http.StatusOK, arm.Document{"value": items, "count": map[string]any{"type": "Total", "value": len(items)}})
}

func (p *Provider) getSubscription(w http.ResponseWriter, r *arm.Request) error {
	if err := p.seesSubscription(r, subscriptionType+"/read"); err != nil {
		return err
	}
	var rec *arm.Record
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) (err error) {
		rec, _, err = arm.Get(tx, r.ID.String())
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, subscriptionBody(rec))
}

// seesSubscription lets everyone pass who holds any role in it; others are
// asked for the action, so that the refusal names it.
func (p *Provider) seesSubscription(r *arm.Request, action string) error {
	scope := r.Scope
	if !r.ID.IsZero() && r.ID.SubscriptionID() != "" {
		scope = "/subscriptions/" + r.ID.SubscriptionID()
	}
	if p.deps.Roles.Sees(r.Caller().ObjectID, scope) {
		return nil
	}
	return r.Require(azure.Check{Action: action, Scope: scope})
}

func (p *Provider) listTenants(w http.ResponseWriter, r *arm.Request) error {
	return arm.ReplyList(w, []arm.Document{{
		"id": "/tenants/" + p.deps.TenantID, "tenantId": p.deps.TenantID, "countryCode": "US", "displayName": "amlocal",
		"domains": []any{azure.SeedTenantDomain}, "defaultDomain": azure.SeedTenantDomain, "tenantCategory": "Home", "tenantType": "AAD",
	}})
}

// regions are the ones offered; any other is accepted too, for they change
// faster than we do.
var regions = []struct{ name, display, group string }{
	{"eastus", "East US", "US"}, {"eastus2", "East US 2", "US"}, {"centralus", "Central US", "US"}, {"southcentralus", "South Central US", "US"},
	{"westus", "West US", "US"}, {"westus2", "West US 2", "US"}, {"westus3", "West US 3", "US"}, {"canadacentral", "Canada Central", "Canada"},
	{"northeurope", "North Europe", "Europe"}, {"westeurope", "West Europe", "Europe"}, {"uksouth", "UK South", "UK"},
	{"francecentral", "France Central", "Europe"}, {"germanywestcentral", "Germany West Central", "Europe"}, {"swedencentral", "Sweden Central", "Europe"},
	{"switzerlandnorth", "Switzerland North", "Europe"}, {"australiaeast", "Australia East", "Asia Pacific"}, {"japaneast", "Japan East", "Asia Pacific"},
	{"southeastasia", "Southeast Asia", "Asia Pacific"}, {"centralindia", "Central India", "Asia Pacific"}, {"brazilsouth", "Brazil South", "South America"},
}

func (p *Provider) listLocations(w http.ResponseWriter, r *arm.Request) error {
	if err := p.seesSubscription(r, subscriptionType+"/locations/read"); err != nil {
		return err
	}
	var items []arm.Document
	for _, region := range regions {
		items = append(items, arm.Document{
			"id": r.Scope + "/locations/" + region.name, "name": region.name, "type": "Region", "displayName": region.display,
			"regionalDisplayName": "(" + region.group + ") " + region.display,
			"metadata":            map[string]any{"regionType": "Physical", "regionCategory": "Recommended", "geographyGroup": region.group},
		})
	}
	return arm.ReplyList(w, items)
}

func errProvider(name string) *httpx.Error {
	return httpx.Errorf(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", name)
}
