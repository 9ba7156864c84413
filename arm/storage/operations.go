package storage

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

const (
	namespace     = "Microsoft.Storage"
	accountType   = namespace + "/storageAccounts"
	serviceType   = accountType + "/blobServices"
	containerType = serviceType + "/containers"
)

// Types are the provider's resource types.
func (p *Provider) Types() []arm.Type {
	row := func(name, method, action string, on arm.Target, verb string, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "storage." + name, Method: method, Action: action}, On: on, Verb: verb, Serve: serve}
	}
	filtered := func(r arm.Row) arm.Row { r.Filtered = true; return r }
	return []arm.Type{
		{Name: accountType, Rows: []arm.Row{
			row("PutAccount", http.MethodPut, accountType+"/write", arm.Resource, "", p.putAccountRequest),
			row("UpdateAccount", http.MethodPatch, accountType+"/write", arm.Resource, "", p.patchAccount),
			row("GetAccount", http.MethodGet, accountType+"/read", arm.Resource, "", p.getAccount),
			row("DeleteAccount", http.MethodDelete, accountType+"/delete", arm.Resource, "", p.deleteAccount),
			filtered(row("ListAccounts", http.MethodGet, accountType+"/read", arm.Collection, "", p.listAccounts)),
			row("ListKeys", http.MethodPost, accountType+"/listkeys/action", arm.Resource, "listKeys", p.listKeys),
			row("RegenerateKey", http.MethodPost, accountType+"/regeneratekey/action", arm.Resource, "regenerateKey", p.regenerateKey),
		}},
		{Name: namespace + "/checkNameAvailability", Rows: []arm.Row{
			row("CheckNameAvailability", http.MethodPost, namespace+"/checknameavailability/read", arm.Collection, "", p.checkName),
		}},
		{Name: serviceType, Rows: []arm.Row{
			row("GetBlobService", http.MethodGet, serviceType+"/read", arm.Resource, "", p.getService),
			row("ListBlobServices", http.MethodGet, serviceType+"/read", arm.Collection, "", p.listServices),
		}},
		{Name: containerType, Rows: []arm.Row{
			row("PutContainer", http.MethodPut, containerType+"/write", arm.Resource, "", p.putContainer),
			row("UpdateContainer", http.MethodPatch, containerType+"/write", arm.Resource, "", p.patchContainer),
			row("GetContainer", http.MethodGet, containerType+"/read", arm.Resource, "", p.getContainer),
			row("DeleteContainer", http.MethodDelete, containerType+"/delete", arm.Resource, "", p.deleteContainer),
			row("ListContainers", http.MethodGet, containerType+"/read", arm.Collection, "", p.listContainers),
		}},
	}
}
