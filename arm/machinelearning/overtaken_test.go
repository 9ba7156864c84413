package machinelearning

import (
	"testing"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// TestDeletionIsNotOvertaken: a provisioning that ends while the deployment is
// being deleted leaves it so; idle, it would take another PUT and lose it.
func TestDeletionIsNotOvertaken(t *testing.T) {
	e := armtest.New(t)
	p := &Provider{}
	id := azure.MustParseResourceID(armtest.Group + "/providers/" + workspaceType + "/w/onlineEndpoints/e/deployments/d")
	for name, end := range map[string]func(store.Tx) error{
		"success": func(tx store.Tx) error { return p.deployed(tx, &plan{id: id, endpoint: &arm.Record{}}) },
		"failure": func(tx store.Tx) error { return p.deployFailed(tx, id.String()) },
	} {
		e.Put(&arm.Record{ID: id.String(), Type: deploymentType, Document: arm.Document{"properties": map[string]any{"provisioningState": stateDeleting}}})
		e.Update(func(tx store.Tx) error {
			if err := end(tx); err != nil {
				return err
			}
			rec, _, err := arm.Get(tx, id.String())
			if err == nil && rec.Document.String("properties", "provisioningState") != stateDeleting {
				t.Errorf("%s: the deployment is %s", name, rec.Document.String("properties", "provisioningState"))
			}
			return err
		})
	}
}
