package machinelearning

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// plan is everything one provisioning needs to know, read in one view.
type plan struct {
	id          azure.ResourceID // of the deployment
	doc         arm.Document
	endpoint    *arm.Record
	workspace   *arm.Record
	identities  Identities
	who         azure.Principal // the identity the platform itself uses
	environment environment
	model       *asset
	code        *asset
	revision    string
	dir         string            // this revision's files
	injected    map[string]string // variables filled from secrets
	sealed      string            // injected, as the serving revision keeps it
}

// instance is the deployment as the audit log names it.
func (pl *plan) instance() string { return pl.endpoint.Name() + "/" + pl.id.Name() }

// deploy provisions a deployment: image, model and code each as the
// endpoint's identity, then the runner. A failed first provisioning leaves
// nothing running; a failed update leaves the old revision serving.
func (p *Provider) deploy(ctx context.Context, job arm.Job) arm.Outcome {
	id := azure.MustParseResourceID(job.Resource)
	p.revivals.wait(ctx, id.Key(), false)
	var pl *plan
	err := p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		rec, err := must(tx, id)
		if err != nil {
			return err
		}
		if pl, err = p.plan(tx, rec, job.ID); err == nil && pl.kubernetes() {
			err = checkSize(tx, pl)
		}
		return err
	})
	if err == nil {
		err = p.provision(ctx, pl)
	}
	if err != nil {
		_ = os.RemoveAll(p.revisionDir(id, job.ID))
		return arm.Outcome{Err: deployError(err, pl), Apply: func(tx store.Tx) error { return p.deployFailed(tx, job.Resource) }}
	}
	return arm.Outcome{Apply: func(tx store.Tx) error { return p.deployed(tx, pl) }}
}

// deployError keeps typed errors and gives everything else the documented
// code for a fault of the service's own, with its reason: an emulator has no
// reason to hide it.
func deployError(err error, pl *plan) *httpx.Error {
	var failure *runner.Failure
	var typed *httpx.Error
	switch {
	case errors.As(err, &failure):
		if pl.kubernetes() {
			return fromClusterFailure(failure, pl.code != nil)
		}
		return fromFailure(failure)
	case errors.As(err, &typed):
		return typed
	}
	return deploymentError("InternalServerError", "error-internalservererror", "%v", err).Because(err)
}

// deployed records a success: the document becomes the active one, and a
// custom container's scoring route becomes the endpoint's.
func (p *Provider) deployed(tx store.Tx, pl *plan) error {
	rec, ok, err := arm.Get(tx, pl.id.String())
	if err != nil || !ok {
		return err
	}
	if rec.Document.String("properties", "provisioningState") == stateDeleting {
		return nil // overtaken: it must not look idle while it is being ended
	}
	rec.Document.Set(stateSucceeded, "properties", "provisioningState")
	if rec.Secret == nil {
		rec.Secret = arm.Document{}
	}
	old := rec.Secret.String("revision")
	rec.Secret["active"] = map[string]any(pl.doc)
	rec.Secret["revision"] = pl.revision
	if err := p.keepInjected(rec, pl); err != nil {
		return err
	}
	if err := keepSources(rec, pl); err != nil {
		return err
	}
	if old != "" && old != pl.revision {
		dir := p.revisionDir(pl.id, old)
		tx.OnCommit(func() { _ = os.RemoveAll(dir) }) // swept with the deployment otherwise
	}
	if err := arm.Put(tx, rec); err != nil {
		return err
	}
	if path := pl.environment.scoring.Path; path != "" && pl.code == nil {
		endpoint, ok, err := arm.Get(tx, pl.endpoint.ID)
		if err != nil || !ok {
			return err
		}
		endpoint.Document.Set(addressOf(endpoint)+"/"+strings.TrimLeft(path, "/"), "properties", "scoringUri")
		if err := arm.Put(tx, endpoint); err != nil {
			return err
		}
	}
	return p.refreshRoute(tx, pl.endpoint.ID)
}

// deployFailed records a failure, unless the deployment is being ended.
func (p *Provider) deployFailed(tx store.Tx, id string) error {
	rec, ok, err := arm.Get(tx, id)
	if err != nil || !ok || rec.Document.String("properties", "provisioningState") == stateDeleting {
		return err
	}
	return p.setState(tx, id, stateFailed)
}

// plan is what a deployment operation is going to do.
func (p *Provider) plan(tx store.ReadTx, rec *arm.Record, revision string) (*plan, error) {
	pl, err := p.planOf(tx, rec, rec.Document, revision)
	if err != nil {
		return nil, err
	}
	return pl, p.resolveSources(tx, pl)
}

// servingPlan is the plan of the revision that serves.
func (p *Provider) servingPlan(tx store.ReadTx, rec *arm.Record) (*plan, error) {
	pl, err := p.planOf(tx, rec, activeOf(rec), rec.Secret.String("revision"))
	if err != nil {
		return nil, err
	}
	return pl, p.openSources(tx, rec, pl)
}

// planOf is a plan without what the deployment is made of.
func (p *Provider) planOf(tx store.ReadTx, rec *arm.Record, doc arm.Document, revision string) (*plan, error) {
	id := rec.ResourceID()
	pl := &plan{id: id, doc: doc.Clone(), revision: revision, dir: p.revisionDir(id, revision), sealed: rec.Secret.String(injectedMember)}
	parent, _ := id.Parent()
	var err error
	if pl.endpoint, err = must(tx, parent); err != nil {
		return nil, err
	}
	if pl.workspace, err = workspaceOf(tx, id); err != nil {
		return nil, err
	}
	pl.identities = p.identities(tx, pl.endpoint)
	var ok bool
	if pl.who, ok = pl.identities.First(); !ok {
		return nil, deploymentError("BadArgument", "error-badargument", "The identity of the endpoint '%s' does not exist any more.", pl.endpoint.Name())
	}
	return pl, nil
}

// provision does the work, each step on behalf of the endpoint's identity.
func (p *Provider) provision(ctx context.Context, pl *plan) error {
	log := p.deps.Deployer.Log(pl.id.Key(), runner.StorageInitializer)
	_, _ = fmt.Fprintf(log, "Deployment %s/%s as identity %s (object id %s)\n", pl.endpoint.Name(), pl.id.Name(), pl.who.Name, pl.who.ObjectID)
	sayInstances(log, pl.doc)
	if err := p.pullImage(ctx, pl); err != nil {
		_, _ = fmt.Fprintf(log, "Image: %v\n", publicText(err))
		return err
	}
	for _, a := range pl.assets() {
		if err := p.download(ctx, pl, a, log); err != nil {
			_, _ = fmt.Fprintf(log, "%s: %v\n", a.kind, publicText(err))
			return err
		}
	}
	if err := p.inject(ctx, pl, log); err != nil {
		_, _ = fmt.Fprintf(log, "Secrets: %v\n", publicText(err))
		return err
	}
	spec, err := p.spec(pl)
	if err != nil {
		_, _ = fmt.Fprintf(log, "Deployment: %v\n", publicText(err))
		return err
	}
	err = p.deps.Deployer.Deploy(ctx, spec)
	var failure *runner.Failure
	if errors.As(err, &failure) && (failure.Kind == runner.ImageFailed || failure.Kind == runner.BuildFailed) {
		_, _ = fmt.Fprintf(log, "Image: %s\n", failure.Message)
	}
	return err
}

// sayInstances tells what the instances may use, as far as the machine has it.
func sayInstances(log io.Writer, doc arm.Document) {
	name := doc.String("properties", "instanceType")
	if s, ok := sizeOf(name); ok {
		_, _ = fmt.Fprintf(log, "%d instance(s) of %s: %d core(s), %d MiB of memory each, or this machine's where it has less\n", instanceCount(doc), name, s.cores, s.memoryMiB)
		return
	}
	_, _ = fmt.Fprintf(log, "%d instance(s) of %s: its size is not known here, so they have no limits but this machine's\n", instanceCount(doc), name)
}

func publicText(err error) string {
	if e := httpx.AsError(err); e.Status < 500 {
		return e.Message
	}
	return err.Error()
}

// pullImage asks for AcrPull where Azure would pull from: the workspace's
// registry for an image the workspace builds, the image's own registry when it
// is one of ours. Public registries ask nobody.
func (p *Provider) pullImage(ctx context.Context, pl *plan) error {
	registry := pl.environment.registry
	if registry == "" {
		return nil
	}
	d := p.decide(ctx, pl, "machinelearning.PullImage", azure.Check{Action: "Microsoft.ContainerRegistry/registries/pull/read", Scope: registry})
	if d.Allowed {
		return nil
	}
	return deploymentError("BadArgument", "error-badargument",
		"The endpoint's identity '%s' (object id %s) is not authorized to pull the image from the container registry '%s'. Assign it the role AcrPull at that registry and create the deployment again.",
		d.Principal.Name, d.Principal.ObjectID, registry)
}

// decide asks RBAC on behalf of the endpoint's identity and leaves the answer
// where `amlocal why` finds it.
func (p *Provider) decide(ctx context.Context, pl *plan, operation string, check azure.Check) azure.Decision {
	d := p.deps.Authorizer.Decide(ctx, pl.who, check)
	entry := &audit.Entry{
		RequestID: uuid.NewString(), Time: p.deps.Clock.Now(), Plane: "machinelearning", Operation: operation,
		Method: "GET", Path: check.Scope, Caller: azure.Caller{Scheme: azure.Bearer, Principal: pl.who},
		Instance: pl.instance(), Status: 200,
	}
	entry.Decide(d)
	if !d.Allowed {
		entry.Status, entry.Code = 403, "AuthorizationFailed"
	}
	p.deps.Audit.Close(entry)
	return d
}

// deleteDeployment cancels what the deployment is doing and ends it.
func (p *Provider) deleteDeployment(ctx context.Context, job arm.Job) arm.Outcome {
	id := azure.MustParseResourceID(job.Resource)
	p.deps.Operations.CancelOthers(ctx, id, job.ID)
	p.revivals.wait(ctx, id.Key(), true)
	if err := p.deps.Deployer.Remove(ctx, id.Key()); err != nil {
		return arm.Outcome{Err: httpx.AsError(err), Apply: func(tx store.Tx) error { return p.setState(tx, job.Resource, stateFailed) }}
	}
	return arm.Outcome{Apply: func(tx store.Tx) error {
		parent, _ := id.Parent()
		if err := arm.Delete(tx, job.Resource); err != nil {
			return err
		}
		if err := p.deps.Assignments.RemoveUnder(tx, job.Resource); err != nil {
			return err
		}
		tx.OnCommit(func() { _ = os.RemoveAll(p.deploymentDir(id)) }) // nothing reads it any more
		return p.refreshRoute(tx, parent.String())
	}}
}
