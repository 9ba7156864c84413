package resources

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

// maxTemplate is Azure's limit on a template with its parameters.
const maxTemplate = 4 << 20

// Types are the provider's resource types. Subscriptions, tenants and providers
// ask no action: what a caller sees of them follows from the roles they hold.
func (p *Provider) Types() []arm.Type {
	const groups = subscriptionType + "/resourceGroups"
	row := func(name, method, action string, on arm.Target, verb string, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "resources." + name, Method: method, Action: action}, On: on, Verb: verb, Serve: serve}
	}
	filtered := func(r arm.Row) arm.Row { r.Filtered = true; return r }
	large := func(r arm.Row) arm.Row { r.MaxBody = maxTemplate; return r }
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
		{Name: deploymentType, Anywhere: true, Rows: []arm.Row{
			large(row("PutDeployment", http.MethodPut, deploymentType+"/write", arm.Resource, "", p.putDeployment)),
			row("GetDeployment", http.MethodGet, deploymentType+"/read", arm.Resource, "", p.getDeployment),
			row("CheckDeployment", http.MethodHead, deploymentType+"/read", arm.Resource, "", p.checkDeployment),
			row("DeleteDeployment", http.MethodDelete, deploymentType+"/delete", arm.Resource, "", p.deleteDeployment),
			large(row("ValidateDeployment", http.MethodPost, deploymentType+"/validate/action", arm.Resource, "validate", p.validateDeployment)),
			row("ListDeployments", http.MethodGet, deploymentType+"/read", arm.Collection, "", p.listDeployments),
		}},
		{Name: deploymentType + "/operations", Anywhere: true, Rows: []arm.Row{
			row("ListDeploymentOperations", http.MethodGet, deploymentType+"/operations/read", arm.Collection, "", p.listSteps),
		}},
		{Name: groupType + "/deployments/operations", Rows: []arm.Row{
			row("ListGroupDeploymentOperations", http.MethodGet, deploymentType+"/operations/read", arm.Collection, "", p.listSteps),
		}},
		{Name: namespace + "/providers", Rows: []arm.Row{
			row("ListProviders", http.MethodGet, "", arm.Collection, "", p.listProviders),
			row("GetProvider", http.MethodGet, "", arm.Resource, "", p.getProvider),
			row("RegisterProvider", http.MethodPost, "", arm.Resource, "register", p.registerProvider),
		}},
	}
}
