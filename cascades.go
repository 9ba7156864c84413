package amlocal

import (
	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/managedidentity"
	"github.com/amlocal/amlocal/arm/resources"
	"github.com/amlocal/amlocal/store"
)

// cascades are the providers' parts in deleting a resource group. Endpoints go
// first: their instances read the storage that goes after.
func (e *Emulator) cascades(identities *managedidentity.Provider) []resources.Cascade {
	return []resources.Cascade{
		{Name: "machinelearning", Stop: e.ml.PurgeWorkspaces},
		{Name: "storage", Remove: e.storage.RemoveUnder},
		{Name: "keyvault", Remove: e.keyvault.RemoveUnder},
		{Name: "managedidentity", Remove: identities.RemoveUnder},
		{Name: "rest", Remove: removeRecords},
		{Name: "authorization", Remove: e.assignments.RemoveUnder},
	}
}

// removeRecords deletes what has nothing behind its document: workspaces and
// their assets, and registries.
func removeRecords(tx store.Tx, scope string) error {
	recs, err := arm.List(tx, scope, "")
	if err != nil {
		return err
	}
	for _, rec := range recs {
		switch rec.Type {
		case "Microsoft.Authorization/roleAssignments", "Microsoft.Authorization/roleDefinitions":
			continue
		}
		if err := arm.Delete(tx, rec.ID); err != nil {
			return err
		}
	}
	return nil
}
