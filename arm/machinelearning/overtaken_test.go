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

// TestHalfDeletion: when an endpoint's deletion fails, what was cancelled for it
// is not busy for ever, and the endpoint can be deleted again.
func TestHalfDeletion(t *testing.T) {
	e := armtest.New(t)
	p := &Provider{}
	p.routes.addresses, p.routes.byKey = map[string]*Route{}, map[string]*Route{}
	endpoint := armtest.Group + "/providers/" + workspaceType + "/w/onlineEndpoints/e"
	states := map[string]string{"": stateDeleting, "/deployments/new": stateCreating, "/deployments/changed": stateUpdating, "/deployments/fine": stateSucceeded}
	for path, state := range states {
		kind := deploymentType
		if path == "" {
			kind = endpointType
		}
		e.Put(&arm.Record{ID: endpoint + path, Type: kind, Document: arm.Document{"location": "eastus", "properties": map[string]any{"provisioningState": state}}})
	}
	e.Update(func(tx store.Tx) error { return p.halfDeleted(tx, endpoint) })
	e.Update(func(tx store.Tx) error {
		for path, want := range map[string]string{"": stateFailed, "/deployments/new": stateFailed, "/deployments/changed": stateFailed, "/deployments/fine": stateSucceeded} {
			rec, _, err := arm.Get(tx, endpoint+path)
			if err != nil {
				return err
			}
			if got := rec.Document.String("properties", "provisioningState"); got != want {
				t.Errorf("e%s is %s, want %s", path, got, want)
			}
		}
		return nil
	})
}
