package resources

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

// Types are the provider's resource types. Subscriptions, tenants and providers
// ask no action: what a caller sees of them follows from the roles they hold.
func (p *Provider) Types() []arm.Type {
	const groups = subscriptionType + "/resourceGroups"
	row := func(name, method, action string, on arm.Target, verb string, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "resources." + name, Method: method, Action: action}, On: on, Verb: verb, Serve: serve}
	}
	filtered := func(r arm.Row) arm.Row { r.Filtered = true; return r }
	return []arm.Type{
		{Name: subscriptionType, Rows: []arm.Row{
			row("ListSubscriptions", http.MethodGet, "", arm.Collection, "", p.listSubscriptions),
			row("GetSubscription", http.MethodGet, "", arm.Resource, "", p.getSubscription),
		}},
		{Name: subscriptionType + "/locations", Rows: []arm.Row{
			row("ListLocations", http.MethodGet, "", arm.Collection, "", p.listLocations),
		}},
		{Name: namespace + "/tenants", Rows: []arm.Row{
			row("ListTenants", http.MethodGet, "", arm.Collection, "", p.listTenants),
		}},
		{Name: groupType, Rows: []arm.Row{
			row("PutGroup", http.MethodPut, groups+"/write", arm.Resource, "", p.putGroup),
			row("UpdateGroup", http.MethodPatch, groups+"/write", arm.Resource, "", p.patchGroup),
			row("GetGroup", http.MethodGet, groups+"/read", arm.Resource, "", p.getGroup),
			row("CheckGroup", http.MethodHead, groups+"/read", arm.Resource, "", p.checkGroup),
			row("DeleteGroup", http.MethodDelete, groups+"/delete", arm.Resource, "", p.deleteGroup),
			filtered(row("ListGroups", http.MethodGet, groups+"/read", arm.Collection, "", p.listGroups)),
		}},
		{Name: subscriptionType + "/resources", Rows: []arm.Row{
			row("ListResources", http.MethodGet, "", arm.Collection, "", p.listResources),
		}},
		{Name: groupType + "/resources", Rows: []arm.Row{
			row("ListGroupResources", http.MethodGet, "", arm.Collection, "", p.listResources),
		}},
		{Name: namespace + "/providers", Rows: []arm.Row{
			row("ListProviders", http.MethodGet, "", arm.Collection, "", p.listProviders),
			row("GetProvider", http.MethodGet, "", arm.Resource, "", p.getProvider),
			row("RegisterProvider", http.MethodPost, "", arm.Resource, "register", p.registerProvider),
		}},
	}
}
