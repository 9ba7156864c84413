package keyvault

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

const (
	namespace       = "Microsoft.KeyVault"
	vaultType       = namespace + "/vaults"
	policyType      = vaultType + "/accessPolicies"
	deletedListType = namespace + "/deletedVaults"
	deletedType     = namespace + "/locations/deletedVaults"
	hsmType         = namespace + "/managedHSMs"
	deletedHSMType  = namespace + "/deletedManagedHSMs"
)

// Types are the provider's resource types.
func (p *Provider) Types() []arm.Type {
	row := func(name, method, action string, on arm.Target, verb string, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "keyvault." + name, Method: method, Action: action}, On: on, Verb: verb, Serve: serve}
	}
	listed := row("ListVaults", http.MethodGet, vaultType+"/read", arm.Collection, "", p.listVaults)
	listed.Filtered = true
	policies := row("UpdateAccessPolicy", http.MethodPut, policyType+"/write", arm.Resource, "", p.putPolicies)
	return []arm.Type{
		{Name: vaultType, Rows: []arm.Row{
			row("PutVault", http.MethodPut, vaultType+"/write", arm.Resource, "", p.putVaultRequest),
			row("UpdateVault", http.MethodPatch, vaultType+"/write", arm.Resource, "", p.patchVault),
			row("GetVault", http.MethodGet, vaultType+"/read", arm.Resource, "", p.getVault),
			row("DeleteVault", http.MethodDelete, vaultType+"/delete", arm.Resource, "", p.deleteVault),
			listed,
		}},
		{Name: policyType, Rows: []arm.Row{policies}},
		{Name: namespace + "/checkNameAvailability", Rows: []arm.Row{
			// Azure lists no action for it; who may read vaults may ask, unverified.
			row("CheckNameAvailability", http.MethodPost, vaultType+"/read", arm.Collection, "", p.checkName),
		}},
		// There are no managed HSMs, which az lists together with vaults.
		{Name: hsmType, Rows: []arm.Row{row("ListManagedHSMs", http.MethodGet, hsmType+"/read", arm.Collection, "", none)}},
		{Name: deletedHSMType, Rows: []arm.Row{row("ListDeletedManagedHSMs", http.MethodGet, deletedHSMType+"/read", arm.Collection, "", none)}},
		{Name: deletedListType, Rows: []arm.Row{
			row("ListDeletedVaults", http.MethodGet, deletedListType+"/read", arm.Collection, "", p.listDeleted),
		}},
		{Name: deletedType, Rows: []arm.Row{
			row("GetDeletedVault", http.MethodGet, deletedType+"/read", arm.Resource, "", p.getDeleted),
			row("PurgeDeletedVault", http.MethodPost, deletedType+"/purge/action", arm.Resource, "purge", p.purgeDeleted),
		}},
	}
}

func none(w http.ResponseWriter, _ *arm.Request) error { return arm.ReplyList(w, nil) }
