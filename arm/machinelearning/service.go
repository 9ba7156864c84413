package machinelearning

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// Directory keeps the service principals behind endpoints; entra satisfies it.
type Directory interface {
	PutPrincipal(tx store.Tx, p azure.Principal) error
	DeletePrincipal(tx store.Tx, objectID string) error
	Principal(tx store.ReadTx, objectID string) (azure.Principal, bool)
}

// Assignments writes the automatic role assignments; arm/authorization
// satisfies it.
type Assignments interface {
	Assign(tx store.Tx, principal azure.Principal, roleGUID, scope, createdBy string) (assignmentID string, err error)
	RemoveUnder(tx store.Tx, scope string) error
}

// UserIdentities finds user-assigned identities; arm/managedidentity satisfies
// it.
type UserIdentities interface {
	Identity(tx store.ReadTx, resourceID string) (azure.Principal, bool)
}

// Blobs is the blob store as a control plane uses it.
type Blobs interface {
	// ReadAs visits every blob that begins with prefix as a bearer caller
	// would read it: the same role check, the same refusal.
	ReadAs(ctx context.Context, who azure.Principal, account, container, prefix string,
		visit func(name string, size int64, open func() (io.ReadCloser, error)) error) error
	// CreateContainer makes a private container.
	CreateContainer(tx store.Tx, account, container string) error
	// ContainerSAS signs a service SAS for a container.
	ContainerSAS(ctx context.Context, account, container, permissions string, start, expiry time.Time) (string, error)
	// AccountKey is the first key of an account.
	AccountKey(ctx context.Context, account string) (string, error)
}

// Deployer runs deployments; runner.Manager satisfies it.
type Deployer interface {
	// Deploy brings a revision up and returns when it is ready, or a
	// *runner.Failure.
	Deploy(ctx context.Context, spec runner.Spec) error
	// Remove ends every instance of a deployment.
	Remove(ctx context.Context, id string) error
	// Inherit ends what an earlier process left running, except what Deploy may
	// take over of these revisions by deployment; Disown ends that too.
	Inherit(ctx context.Context, revisions map[string]string) error
	Disown(id string)
	// Logs is the end of one of a deployment's logs.
	Logs(id string, kind runner.LogKind, tail int) string
	// Log appends to one of a deployment's logs.
	Log(id string, kind runner.LogKind) io.Writer
}

// Deps is what the provider needs.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Operations  *arm.Operations
	Audit       *audit.Log
	Authorizer  azure.Authorizer
	Directory   Directory
	Assignments Assignments
	Identities  UserIdentities
	Blobs       Blobs
	Deployer    Deployer
	Vaults      Vaults
	Seal        Seal
	TenantID    string
	// Dir holds downloaded models and code, one folder per deployment.
	Dir string
	// IdentityEnv says which pair of variables an instance gets.
	IdentityEnv IdentityEnv
	// Limits are those of the subscription; zero fields are the published ones.
	Limits Limits
	// KubernetesAAD says where aad_token is refused for Kubernetes endpoints.
	KubernetesAAD AADRefusal
	Logf          func(format string, args ...any)
}

// IdentityEnv selects the managed identity variables injected into instances.
type IdentityEnv string

// The settings of `up --identity-env`.
const (
	IdentityBoth IdentityEnv = "both"     // MSI_* and IDENTITY_*, as one published log suggests
	IdentityMSI  IdentityEnv = "msi"      // MSI_ENDPOINT and MSI_SECRET, as the how-to uses
	IdentityApp  IdentityEnv = "identity" // IDENTITY_ENDPOINT and IDENTITY_HEADER
)

// Provider is Microsoft.MachineLearningServices.
type Provider struct {
	deps Deps

	routes   routes
	restore  sync.WaitGroup
	revivals revivals
	ctx      context.Context
	stop     context.CancelFunc
}

// New registers the provider's workers with the operations engine and reads
// the endpoints that exist.
func New(ctx context.Context, deps Deps) (*Provider, error) {
	if deps.Logf == nil {
		deps.Logf = func(string, ...any) {}
	}
	if deps.IdentityEnv == "" {
		deps.IdentityEnv = IdentityBoth
	}
	if deps.KubernetesAAD == "" {
		deps.KubernetesAAD = RefuseAtCreation
	}
	deps.Limits = deps.Limits.withDefaults()
	p := &Provider{deps: deps}
	p.ctx, p.stop = context.WithCancel(context.Background())
	deps.Operations.Handle(jobEndpoint, p.settleEndpoint)
	deps.Operations.Handle(jobDeleteEndpoint, p.deleteEndpoint)
	deps.Operations.Handle(jobRegenerate, p.settleEndpoint)
	deps.Operations.Handle(jobDeploy, p.deploy)
	deps.Operations.Handle(jobDeleteDeployment, p.deleteDeployment)
	deps.Operations.Handle(jobAttachCompute, p.attachCompute)
	deps.Operations.Handle(jobDetachCompute, p.endCompute)
	if err := p.loadRoutes(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Close stops restoring; instances are the Deployer's to end.
func (p *Provider) Close() {
	p.stop()
	p.restore.Wait()
}

// view reads one record.
func (p *Provider) view(ctx context.Context, id azure.ResourceID) (rec *arm.Record, err error) {
	err = p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		rec, err = must(tx, id)
		return err
	})
	return rec, err
}

// must is arm.Get with ARM's 404 for what is not there.
func must(tx store.ReadTx, id azure.ResourceID) (*arm.Record, error) {
	rec, ok, err := arm.Get(tx, id.String())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, arm.NotFound(id)
	}
	return rec, nil
}

// stamp sets times and authors of a record that is about to be written.
func (p *Provider) stamp(rec *arm.Record, who arm.Author) {
	now := p.deps.Clock.Now()
	if rec.CreatedAt.IsZero() {
		rec.CreatedAt, rec.CreatedBy = now, who
	}
	rec.ModifiedAt, rec.ModifiedBy = now, who
}

// body is a record as this provider serves it.
func body(rec *arm.Record) arm.Document {
	out := rec.Body()
	out["systemData"] = map[string]any(rec.SystemData())
	return out
}
