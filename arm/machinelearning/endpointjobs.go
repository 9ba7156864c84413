package machinelearning

import (
	"context"
	"os"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// settleEndpoint ends a create, an update or a key rotation: everything was
// committed with the wish, only the state is left to settle.
func (p *Provider) settleEndpoint(_ context.Context, job arm.Job) arm.Outcome {
	return arm.Outcome{Apply: func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, job.Resource)
		if err != nil || !ok {
			return err
		}
		if rec.Document.String("properties", "provisioningState") == stateDeleting {
			return nil
		}
		rec.Document.Set(stateSucceeded, "properties", "provisioningState")
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		return p.refreshRoute(tx, rec.ID)
	}}
}

// deleteEndpoint ends the endpoint's deployments, whatever they are doing,
// then removes it with its system-assigned principal. Role assignments made
// for that principal stay behind without a principal, as in Azure.
func (p *Provider) deleteEndpoint(ctx context.Context, job arm.Job) arm.Outcome {
	id := azure.MustParseResourceID(job.Resource)
	var deployments []*arm.Record
	err := p.deps.Documents.View(ctx, func(tx store.ReadTx) (err error) {
		deployments, err = arm.List(tx, job.Resource, deploymentType)
		return err
	})
	for _, d := range deployments {
		if err == nil {
			p.deps.Operations.Cancel(ctx, d.ResourceID())
			p.revivals.wait(ctx, d.ResourceID().Key(), true)
			err = p.deps.Deployer.Remove(ctx, d.ResourceID().Key())
		}
	}
	if err != nil {
		return arm.Outcome{Err: httpx.AsError(err), Apply: func(tx store.Tx) error { return p.halfDeleted(tx, job.Resource) }}
	}
	return arm.Outcome{Apply: func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, job.Resource)
		if err != nil || !ok {
			return err
		}
		if oid := rec.Document.String("identity", "principalId"); oid != "" {
			if err := p.deps.Directory.DeletePrincipal(tx, oid); err != nil {
				return err
			}
		}
		for d, err := range arm.Under(tx, job.Resource, deploymentType) {
			if err != nil {
				return err
			}
			deployments = append(deployments, d)
		}
		for _, d := range deployments {
			if err := arm.Delete(tx, d.ID); err != nil {
				return err
			}
		}
		if err := p.deps.Assignments.RemoveUnder(tx, job.Resource); err != nil {
			return err
		}
		tx.OnCommit(func() { _ = os.RemoveAll(p.endpointDir(id)) }) // a leftover is swept with the next deployment of the name
		if err := arm.Delete(tx, job.Resource); err != nil {
			return err
		}
		return p.refreshRoute(tx, rec.ID)
	}}
}

// halfDeleted leaves an endpoint whose deletion failed: it can be deleted again,
// and a deployment whose creation was cancelled for it does not wait for ever.
func (p *Provider) halfDeleted(tx store.Tx, endpoint string) error {
	deployments, err := arm.List(tx, endpoint, deploymentType)
	if err != nil {
		return err
	}
	for _, d := range deployments {
		switch d.Document.String("properties", "provisioningState") {
		case stateCreating, stateUpdating:
			if err := p.setState(tx, d.ID, stateFailed); err != nil {
				return err
			}
		}
	}
	return p.setState(tx, endpoint, stateFailed)
}

func (p *Provider) setState(tx store.Tx, id, state string) error {
	rec, ok, err := arm.Get(tx, id)
	if err != nil || !ok {
		return err
	}
	rec.Document.Set(state, "properties", "provisioningState")
	if err := arm.Put(tx, rec); err != nil {
		return err
	}
	endpoint := rec.ID
	if i := strings.Index(strings.ToLower(endpoint), "/deployments/"); i >= 0 {
		endpoint = endpoint[:i]
	}
	return p.refreshRoute(tx, endpoint)
}
