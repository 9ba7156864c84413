package amlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/authorization"
	"github.com/amlocal/amlocal/arm/containerregistry"
	"github.com/amlocal/amlocal/arm/keyvault"
	"github.com/amlocal/amlocal/arm/kubernetes"
	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/arm/managedidentity"
	"github.com/amlocal/amlocal/arm/monitor"
	"github.com/amlocal/amlocal/arm/resources"
	"github.com/amlocal/amlocal/arm/storage"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/blobfake"
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/entra/graph"
	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/seal"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/process"
	"github.com/amlocal/amlocal/store"
	"github.com/amlocal/amlocal/vault"
)

// Emulator is one private Azure.
type Emulator struct {
	config  Config
	state   state
	secrets secrets
	access  Access
	clock   *clock.Adjustable // nil when the Config brought another kind

	listener  net.Listener
	store     *store.Store
	audit     *audit.Log
	observer  *observer
	hosts     *azure.Hosts
	authority *intercept.Authority
	seal      *seal.Key // of what may not lie in clear in the state folder

	entra       *entra.Service
	graph       *graph.Service
	rbac        *rbac.Index
	blobs       *blobfake.Service
	vaults      *vault.Service
	arm         *arm.Service
	operations  *arm.Operations
	resources   *resources.Provider
	storage     *storage.Provider
	keyvault    *keyvault.Provider
	assignments *authorization.Provider
	ml          *machinelearning.Provider
	msi         *msi.Service
	gateway     *gateway.Service
	router      http.Handler // of Kubernetes clusters
	backend     runner.Backend
	manager     *runner.Manager
	proxy       *intercept.Server

	serving  sync.WaitGroup
	stopped  chan struct{} // closed when someone asked the emulator to stop
	stopOnce sync.Once
	closers  []func(context.Context) error // run in reverse
}

// New opens the state, binds the port and wires every service. Nothing is
// served before Start. On error nothing is left open.
func New(ctx context.Context, config Config) (_ *Emulator, err error) {
	if config, err = config.withDefaults(); err != nil {
		return nil, err
	}
	if config.Runner == "auto" {
		config.Runner = chooseRunner(ctx)
	}
	e := &Emulator{config: config, stopped: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close(context.WithoutCancel(ctx)))
		}
	}()
	if config.Ephemeral {
		if e.config.StateDir, err = os.MkdirTemp("", "amlocal-"); err != nil {
			return nil, err
		}
		dir := e.config.StateDir
		e.onClose(func(context.Context) error { return os.RemoveAll(dir) })
		e.config.Durability = store.Process
	}
	if err = prepareStateDir(e.config.StateDir); err != nil {
		return nil, err
	}
	if err = e.openClock(); err != nil {
		return nil, err
	}
	if err = e.openStore(ctx); err != nil {
		return nil, err
	}
	e.onClose(func(context.Context) error { return e.store.Close() })
	// From here on the folder is ours alone.
	if e.state, e.secrets, err = openStateDir(e.config.StateDir); err != nil {
		return nil, err
	}
	if e.seal, err = openSeal(e.config.StateDir, &e.state); err != nil {
		return nil, err
	}
	// Whoever finds no record may take it that all else has ended.
	e.onClose(func(context.Context) error { return e.access.remove() })
	if err = e.listen(); err != nil {
		return nil, err
	}
	if err = e.trust(); err != nil {
		return nil, err
	}
	if err = e.wire(ctx); err != nil {
		return nil, err
	}
	if err = e.seed(ctx); err != nil {
		return nil, err
	}
	// What exists before the start is in effect.
	e.rbac.SetDelay(e.config.Clock, e.config.RBACDelay)
	if e.config.TokenCache > 0 {
		e.rbac.KeepMemberships(e.config.Clock)
	}
	return e, nil
}

func (e *Emulator) onClose(f func(context.Context) error) { e.closers = append(e.closers, f) }

func (e *Emulator) path(elem ...string) string {
	return filepath.Join(append([]string{e.config.StateDir}, elem...)...)
}

// listen binds the port; a busy one is named with what to do about it.
func (e *Emulator) listen() error {
	ln, err := net.Listen("tcp", net.JoinHostPort(e.config.Listen, strconv.Itoa(e.config.Port)))
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("port %d may not be used by this user; choose another with --port: %w", e.config.Port, err)
	}
	if err != nil {
		return fmt.Errorf("port %d is taken%s; stop that program, or choose another port (--port 0 takes a free one): %w",
			e.config.Port, holderOf(e.config.Port), err)
	}
	e.listener = ln
	e.onClose(func(context.Context) error {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	e.access = Access{
		PID: os.Getpid(), Port: ln.Addr().(*net.TCPAddr).Port, Runner: e.config.Runner, Started: clock.System{}.Now(), Version: Version(),
		StateDir: e.config.StateDir, AdminToken: e.secrets.AdminToken, OwnerSecret: e.secrets.OwnerSecret,
	}
	return nil
}

// trust opens the user's authority and writes the files clients are pointed at.
func (e *Emulator) trust() (err error) {
	if e.hosts, err = azure.NewHosts(e.config.AllowHosts...); err != nil {
		return err
	}
	// TLS clients check certificates by the machine's clock, whatever ours says.
	if e.authority, err = intercept.OpenAuthority(e.config.CADir, e.hosts.Suffixes(), clock.System{}); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	roots, err := intercept.SystemRoots(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		return fmt.Errorf("system certificates: %w", err)
	}
	if err := os.MkdirAll(e.path("trust"), 0o700); err != nil {
		return err
	}
	files, err := e.authority.WriteTrust(e.path("trust"), roots)
	if err != nil {
		return err
	}
	e.access.CA, e.access.Bundle, e.access.TrustStore = files.CA, files.Bundle, files.TrustStore
	return nil
}

// wire makes every service and tells each what it needs of the others. This is
// the only list of who knows whom.
func (e *Emulator) wire(ctx context.Context) (err error) {
	c := e.config
	if e.observer, err = newObserver(e.store, c.Logf); err != nil {
		return err
	}
	e.onClose(func(context.Context) error { e.observer.close(); return nil })
	e.audit = audit.NewLog(2000, e.observer.observe)
	e.rbac = rbac.New(rbac.BuiltIn(), rbac.WithSabotage(c.sabotage.rbac))
	if e.entra, err = entra.New(entra.Deps{
		Documents: e.store, KeyDir: e.path("keys"), Clock: c.Clock, Audit: e.audit,
		TenantID: azure.SeedTenantID, TenantDomain: azure.SeedTenantDomain, Sabotage: c.sabotage.entra,
		ClientClock: e.clientClock(), DevicePage: func() string { return e.access.URL() + devicePath },
		MembersChanged: e.rbac.SetMembers, TokenCache: c.TokenCache, MembershipsInTokens: c.TokenCache > 0,
		RefuseDeleted: c.DeletedTokens == "refused",
	}); err != nil {
		return err
	}
	e.onClose(func(context.Context) error { return e.entra.Close() })
	if err = e.wireGraph(); err != nil {
		return err
	}
	accounts := &accountAdapter{}
	if e.blobs, err = blobfake.New(blobfake.Deps{
		Documents: e.store, Files: e.store.Files(), Clock: c.Clock, Audit: e.audit,
		Authorizer: e.rbac, Verifier: e.entra, Accounts: accounts, Conditions: e.rbac, TenantID: azure.SeedTenantID,
		ClientClock: e.clientClock(),
	}); err != nil {
		return err
	}
	e.onClose(func(context.Context) error { return e.blobs.Close() })
	if err = e.wireRunner(); err != nil {
		return err
	}
	e.operations = arm.NewOperations(e.store, c.Clock, c.Logf)
	e.onClose(func(context.Context) error { e.operations.Close(); return nil })

	if e.assignments, err = authorization.New(authorization.Deps{Documents: e.store, Clock: c.Clock, Index: e.rbac, Directory: e.entra, TenantID: azure.SeedTenantID, Tracked: tracked, MaxAssignments: c.Limits.RoleAssignments}); err != nil {
		return err
	}
	if e.storage, err = storage.New(storage.Deps{Documents: e.store, Clock: c.Clock, Blobs: containerAdapter{e.blobs}, Assignments: e.assignments}); err != nil {
		return err
	}
	accounts.provider = e.storage
	if err = e.wireVaults(); err != nil {
		return err
	}
	identities, err := managedidentity.New(managedidentity.Deps{Documents: e.store, Clock: c.Clock, Directory: e.entra, Assignments: e.assignments, TenantID: azure.SeedTenantID})
	if err != nil {
		return err
	}
	if e.ml, err = machinelearning.New(ctx, machinelearning.Deps{
		Documents: e.store, Clock: c.Clock, Operations: e.operations, Audit: e.audit, Authorizer: e.rbac,
		Directory: e.entra, Assignments: e.assignments, Identities: identities,
		Blobs:    &blobAdapter{blobs: e.blobs, accounts: accounts},
		Deployer: e.manager, Vaults: secretAdapter{e.vaults}, Seal: e.seal, TenantID: azure.SeedTenantID, Dir: e.path("deployments"), IdentityEnv: c.IdentityEnv, Logf: c.Logf,
		Limits: c.Limits.Limits, KubernetesAAD: c.KubernetesAAD,
	}); err != nil {
		return err
	}
	e.onClose(func(context.Context) error { e.ml.Close(); return nil })
	clusters, err := kubernetes.New(kubernetes.Deps{Documents: e.store, Clock: c.Clock, Assignments: e.assignments})
	if err != nil {
		return err
	}
	if e.resources, err = resources.New(resources.Deps{
		Documents: e.store, Clock: c.Clock, Operations: e.operations, Roles: e.assignments, TenantID: azure.SeedTenantID,
		Cascades: e.cascades(identities), Front: armFront{e}, Seal: e.seal,
	}); err != nil {
		return err
	}
	monitors, err := monitor.New(monitor.Deps{Documents: e.store, Clock: c.Clock, Assignments: e.assignments, TenantID: azure.SeedTenantID})
	if err != nil {
		return err
	}
	registries, err := containerregistry.New(containerregistry.Deps{Documents: e.store, Clock: c.Clock, Assignments: e.assignments})
	if err != nil {
		return err
	}
	types := e.resources.Types()
	for _, p := range []interface{ Types() []arm.Type }{
		e.storage, e.keyvault, e.assignments, identities, clusters, e.ml, monitors, registries,
	} {
		types = append(types, p.Types()...)
	}
	if e.arm, err = arm.New(arm.Deps{
		Documents: e.store, Clock: c.Clock, Audit: e.audit, Verifier: e.entra, Authorizer: e.rbac,
		Operations: e.operations, TenantID: azure.SeedTenantID, Types: types,
	}); err != nil {
		return err
	}
	return e.wireFronts()
}

// wireVaults makes the key vaults: what ARM knows of them, and their secrets.
func (e *Emulator) wireVaults() (err error) {
	c := e.config
	adapter := &vaultAdapter{}
	if e.vaults, err = vault.New(vault.Deps{
		Documents: e.store, Seal: e.seal, Clock: c.Clock, Audit: e.audit, Authorizer: e.rbac, Verifier: e.entra,
		Vaults: adapter, Groups: e.rbac,
	}); err != nil {
		return err
	}
	e.onClose(func(context.Context) error { return e.vaults.Close() })
	e.keyvault, err = keyvault.New(keyvault.Deps{Documents: e.store, Clock: c.Clock, Secrets: e.vaults, Assignments: e.assignments, TenantID: azure.SeedTenantID})
	adapter.provider = e.keyvault
	return err
}

// tracked are the types a role can only be assigned on where the resource
// exists: a misspelt scope must not look like a grant.
var tracked = []string{
	"Microsoft.Storage/storageAccounts",
	"Microsoft.ContainerRegistry/registries",
	"Microsoft.KeyVault/vaults",
	"Microsoft.ManagedIdentity/userAssignedIdentities",
	"Microsoft.MachineLearningServices/workspaces",
	"Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
	"Microsoft.MachineLearningServices/workspaces/computes",
	kubernetes.ManagedClusters,
	kubernetes.ConnectedClusters,
}

// wireRunner makes the back end and its manager, after ending what an emulator
// that was killed left behind.
func (e *Emulator) wireRunner() (err error) {
	c := e.config
	if c.Runner == "docker" {
		e.backend, err = e.newDocker()
	} else {
		e.backend, err = e.newProcess()
	}
	if err != nil {
		return err
	}
	if e.manager, err = runner.NewManager(runner.Deps{
		Backend: e.backend, Clock: c.Clock, Dir: e.path("runner", "logs"), Logf: c.Logf,
		Quiet: func(ctx context.Context, id string, targets []runner.Target) error {
			return e.gateway.Quiet(ctx, id, targets)
		},
	}); err != nil {
		return err
	}
	e.onClose(func(context.Context) error { return e.manager.Close() })
	return nil
}

// newProcess makes the back end that runs instances as child processes.
func (e *Emulator) newProcess() (runner.Backend, error) {
	c := e.config
	images, err := e.images()
	if err != nil {
		return nil, err
	}
	return process.New(process.Config{
		StateDir: e.path("runner"), CacheDir: c.CacheDir, CABundle: e.access.Bundle,
		ProxyURL:    e.instanceProxy,
		IdentityURL: e.access.URL() + identityPath,
		CondaRelax:  c.RelaxConda, Offline: c.Offline, Clock: c.Clock, Logf: c.Logf,
		Images: images, Sandbox: c.Sandbox, Agent: c.SandboxAgent, Serve: e.serveSandbox, Abandoned: c.KeepInstances,
		TrustStore: e.access.TrustStore, TrustStorePassword: intercept.TrustStorePassword,
	})
}

func (e *Emulator) wireFronts() (err error) {
	c := e.config
	if e.msi, err = msi.New(msi.Deps{Clock: c.Clock, Audit: e.audit, Issuer: e.entra, Instances: instanceSecrets{e, e.manager}, Identities: identityAdapter{e.ml, e}, Strict: c.IdentityAnswers == "strict", CloudShell: c.CloudShell}); err != nil {
		return err
	}
	var dial func(ctx context.Context, network, address string) (net.Conn, error)
	if back, ok := e.backend.(interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}); ok { // straight into a sandbox, past the listener that stands for it
		dial = back.DialContext
	}
	if e.gateway, err = gateway.New(gateway.Deps{
		DialContext: dial,
		Clock:       c.Clock, Audit: e.audit, Endpoints: endpointAdapter{e.ml}, Targets: e.manager,
		Tokens: e.entra, Authorizer: e.rbac, AMLTokens: tokenAdapter{e.ml},
		Rates: c.Limits.Scoring,
	}); err != nil {
		return err
	}
	e.router = e.gateway.Router()
	e.onClose(func(context.Context) error { return e.gateway.Close() })
	e.proxy, err = intercept.New(intercept.Deps{
		Authority: e.authority, Clock: c.Clock, Audit: e.audit, Route: e.route, Local: e.local(), IMDS: e.metadata(),
		Instance: e.instanceName, HandshakeFailed: e.handshakeFailed, Offline: c.Offline,
	})
	if err != nil {
		return err
	}
	e.onClose(func(ctx context.Context) error { return e.proxy.Close(ctx) })
	return nil
}

// Start serves, finishes what an earlier process left half-done, and brings
// deployments up again. It returns at once.
func (e *Emulator) Start(ctx context.Context) error {
	if err := e.sweep(ctx); err != nil {
		return fmt.Errorf("end what an earlier emulator left running: %w", err)
	}
	e.serving.Go(func() {
		if err := e.proxy.Serve(context.Background(), e.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			e.config.Logf("the listener ended: %v", err)
		}
	})
	if err := e.access.writeAzureConfig(); err != nil {
		return err
	}
	if err := e.access.write(); err != nil {
		return err
	}
	if err := e.ml.Restore(ctx); err != nil {
		return err
	}
	return e.operations.Resume(ctx)
}

// Access tells clients how to reach the emulator.
func (e *Emulator) Access() Access { return e.access }

// Stopped is closed when the admin API was asked to stop the emulator; the
// owner then calls Close.
func (e *Emulator) Stopped() <-chan struct{} { return e.stopped }

// Close ends every instance and every service, in the reverse order of their
// making. ctx bounds how long running requests may take.
func (e *Emulator) Close(ctx context.Context) error { return e.close(ctx) }

func (e *Emulator) close(ctx context.Context) error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i](ctx))
	}
	e.closers = nil
	e.serving.Wait()
	return errors.Join(errs...)
}
