package machinelearning

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// Restore brings every deployment that was serving up again, in the
// background; until then its endpoint answers model_not_ready. Call it once,
// when the data planes serve.
func (p *Provider) Restore(ctx context.Context) error {
	var plans []*plan
	err := p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/", deploymentType) {
			if err != nil {
				return err
			}
			active := activeOf(rec)
			if active == nil || rec.Document.String("properties", "provisioningState") == stateDeleting {
				continue
			}
			pl, err := p.plan(tx, rec, active, rec.Secret.String("revision"))
			if err != nil {
				p.deps.Logf("deployment %s cannot be restored: %v", rec.ID, err)
				continue
			}
			plans = append(plans, pl)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.restore.Go(func() {
		for _, pl := range plans {
			if err := p.revive(p.ctx, pl); err != nil && p.ctx.Err() == nil {
				p.deps.Logf("deployment %s/%s does not serve: %v", pl.endpoint.Name(), pl.id.Name(), err)
			}
		}
	})
	return nil
}

// revive starts a revision from the files it was provisioned with, as Azure
// restarts an instance: the roles were asked for when it was deployed. Files
// that are gone are downloaded again, with today's roles.
func (p *Provider) revive(ctx context.Context, pl *plan) error {
	for _, a := range []*asset{pl.model, pl.code} {
		if a == nil {
			continue
		}
		a.dir = filepath.Join(pl.dir, a.kind)
		if _, err := os.Stat(a.dir); err != nil {
			return p.provision(ctx, pl)
		}
	}
	spec, err := p.spec(pl)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.deps.Deployer.Log(pl.id.Key(), runner.StorageInitializer), "Restarted with the emulator; files of revision %s are in place\n", pl.revision)
	return p.deps.Deployer.Deploy(ctx, spec)
}

// PurgeWorkspaces deletes, for a resource group that goes, every workspace
// resource below scope after ending its deployments.
func (p *Provider) PurgeWorkspaces(ctx context.Context, scope string) error {
	var endpoints []azure.ResourceID
	err := p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, scope, endpointType) {
			if err != nil {
				return err
			}
			endpoints = append(endpoints, rec.ResourceID())
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range endpoints {
		out := p.deleteEndpoint(ctx, arm.Job{Resource: id.String()})
		if out.Err != nil {
			return out.Err
		}
		if err := p.deps.Documents.Update(ctx, out.Apply); err != nil {
			return err
		}
	}
	return nil
}
