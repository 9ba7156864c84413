package machinelearning

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// revivals are the restarts under way, by deployment key. Jobs about the same
// deployment take turns with them.
type revivals struct {
	mu      sync.Mutex
	running map[string]*revival
}

type revival struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

func (rs *revivals) begin(ctx context.Context, key string) (context.Context, *revival) {
	ctx, cancel := context.WithCancel(ctx)
	r := &revival{cancel: cancel, ended: make(chan struct{})}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.running == nil {
		rs.running = map[string]*revival{}
	}
	rs.running[key] = r
	return ctx, r
}

func (rs *revivals) end(key string, r *revival) {
	rs.mu.Lock()
	delete(rs.running, key)
	rs.mu.Unlock()
	r.cancel()
	close(r.ended)
}

// wait returns when the deployment is not being restarted any more.
func (rs *revivals) wait(ctx context.Context, key string, cancel bool) {
	rs.mu.Lock()
	r := rs.running[key]
	rs.mu.Unlock()
	if r == nil {
		return
	}
	if cancel {
		r.cancel()
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
	}
}

// revivers is how many deployments start at once: importing Python packages
// keeps a core busy each.
const revivers = 4

// Restore brings every deployment that was serving up again, in the
// background; until then its endpoint answers model_not_ready. Instances that
// outlived the emulator before go on; whatever else it left is ended first. Call
// it once, when the data planes serve and before jobs are resumed.
func (p *Provider) Restore(ctx context.Context) error {
	var plans []*plan
	var lost []string
	err := p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/", deploymentType) {
			if err != nil {
				return err
			}
			if activeOf(rec) == nil || rec.Document.String("properties", "provisioningState") == stateDeleting {
				continue
			}
			pl, err := p.servingPlan(tx, rec)
			if err != nil {
				p.deps.Logf("deployment %s cannot be restored: %v", rec.ID, err)
				lost = append(lost, rec.ID)
				continue
			}
			plans = append(plans, pl)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// What does not come back must not say that it succeeded. It stays one that
	// once served, so that a PUT can mend it.
	if len(lost) > 0 {
		err := p.deps.Documents.Update(ctx, func(tx store.Tx) error {
			for _, id := range lost {
				if err := p.setState(tx, id, stateFailed); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	revisions := map[string]string{}
	for _, pl := range plans {
		revisions[pl.id.Key()] = pl.revision
	}
	if err := p.deps.Deployer.Inherit(ctx, revisions); err != nil {
		return fmt.Errorf("end what an earlier emulator left running: %w", err)
	}
	slots := make(chan struct{}, revivers)
	for _, pl := range plans {
		key := pl.id.Key()
		ctx, r := p.revivals.begin(p.ctx, key)
		p.restore.Go(func() {
			defer p.revivals.end(key, r)
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := p.revive(ctx, pl); err != nil && ctx.Err() == nil {
				p.deps.Logf("deployment %s/%s does not serve: %v", pl.endpoint.Name(), pl.id.Name(), err)
			}
		})
	}
	return nil
}

// revive starts a revision from the files it was provisioned with, as Azure
// restarts an instance: the roles were asked for when it was deployed. Files
// that are gone are downloaded again, with today's roles, and so are secrets that
// cannot be opened.
func (p *Provider) revive(ctx context.Context, pl *plan) error {
	for _, a := range pl.assets() {
		a.dir = pl.assetDir(a)
		if _, err := os.Stat(a.dir); err != nil {
			p.deps.Deployer.Disown(pl.id.Key()) // it ran on files that are no more
			return p.provision(ctx, pl)
		}
	}
	if err := p.openInjected(pl); err != nil {
		p.deps.Logf("the injected values of %s are read again: %v", pl.instance(), err)
		p.deps.Deployer.Disown(pl.id.Key()) // it may get others
		return p.provision(ctx, pl)
	}
	spec, err := p.spec(pl)
	if err != nil {
		p.deps.Deployer.Disown(pl.id.Key())
		return err
	}
	_, _ = fmt.Fprintf(p.deps.Deployer.Log(pl.id.Key(), runner.StorageInitializer), "The emulator was started again; files of revision %s are in place\n", pl.revision)
	return p.deps.Deployer.Deploy(ctx, spec)
}

// PurgeWorkspaces deletes, for a resource group that goes, every workspace
// resource below scope that has more behind it than its document: endpoints,
// after ending their deployments, and computes with their principals. All are
// Deleting first, so that nobody changes one that is about to go.
func (p *Provider) PurgeWorkspaces(ctx context.Context, scope string) error {
	var endpoints []azure.ResourceID
	err := p.deps.Documents.Update(ctx, func(tx store.Tx) error {
		recs, err := arm.List(tx, scope, endpointType)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			endpoints = append(endpoints, rec.ResourceID())
			if err := p.setState(tx, rec.ID, stateDeleting); err != nil {
				return err
			}
		}
		computes, err := arm.List(tx, scope, computeType)
		if err != nil {
			return err
		}
		for _, rec := range computes {
			if err := p.removeCompute(tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range endpoints {
		out := p.deleteEndpoint(ctx, arm.Job{Resource: id.String()})
		if err := p.deps.Documents.Update(ctx, out.Apply); err != nil || out.Err != nil {
			if out.Err != nil {
				return out.Err
			}
			return err
		}
	}
	return nil
}
