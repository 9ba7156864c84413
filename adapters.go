package amlocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm/keyvault"
	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/arm/storage"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/blobfake"
	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/store"
	"github.com/amlocal/amlocal/vault"
)

// accountAdapter shows the control plane's storage accounts to the data plane.
type accountAdapter struct{ provider *storage.Provider }

func (a *accountAdapter) Account(ctx context.Context, name string) (blobfake.Account, bool, error) {
	acct, ok, err := a.provider.Account(ctx, name)
	if err != nil || !ok {
		return blobfake.Account{}, false, err
	}
	return blobfake.Account{
		Name: acct.Name, ResourceID: acct.ResourceID, Keys: acct.Keys,
		AllowBlobPublicAccess: acct.AllowBlobPublicAccess, AllowSharedKey: acct.AllowSharedKey, SKU: acct.SKU, Kind: acct.Kind,
		HNS:     acct.HNS,
		Network: blobfake.Network(acct.Network),
	}, true, nil
}

// containerAdapter is the blob store as arm/storage uses it.
type containerAdapter struct{ blobs *blobfake.Service }

func (a containerAdapter) PutContainer(tx store.Tx, account string, c storage.Container) (created bool, err error) {
	access := blobfake.PublicAccess(strings.ToLower(c.PublicAccess))
	if access == "none" {
		access = ""
	}
	created, err = a.blobs.CreateContainer(tx, account, c.Name, access, c.Metadata)
	if err == nil && !created {
		_, err = a.blobs.SetContainer(tx, account, c.Name, access, c.Metadata)
	}
	return created, err
}

func (a containerAdapter) Container(tx store.ReadTx, account, name string) (storage.Container, bool, error) {
	c, ok, err := a.blobs.Container(tx, account, name)
	return fromContainer(c), ok, err
}

func (a containerAdapter) Containers(tx store.ReadTx, account string) ([]storage.Container, error) {
	list, err := a.blobs.Containers(tx, account)
	out := make([]storage.Container, len(list))
	for i, c := range list {
		out[i] = fromContainer(c)
	}
	return out, err
}

func (a containerAdapter) DeleteContainer(tx store.Tx, account, name string) (bool, error) {
	return a.blobs.DeleteContainer(tx, account, name)
}

func (a containerAdapter) DeleteAccount(tx store.Tx, account string) error {
	return a.blobs.DeleteAccount(tx, account)
}

func fromContainer(c blobfake.Container) storage.Container {
	access := "None"
	switch c.PublicAccess {
	case "blob":
		access = "Blob"
	case "container":
		access = "Container"
	}
	return storage.Container{Name: c.Name, PublicAccess: access, Metadata: c.Metadata, Modified: c.LastModified, ETag: c.ETag}
}

// blobAdapter is the blob store as machinelearning uses it.
type blobAdapter struct {
	blobs    *blobfake.Service
	accounts *accountAdapter
}

func (b *blobAdapter) ReadAs(ctx context.Context, who azure.Principal, account, container, prefix string, visit func(string, int64, func() (io.ReadCloser, error)) error) error {
	return b.blobs.ReadAs(ctx, who, account, container, prefix, visit)
}

func (b *blobAdapter) CreateContainer(tx store.Tx, account, container string) error {
	_, err := b.blobs.CreateContainer(tx, account, container, "", nil)
	return err
}

func (b *blobAdapter) account(ctx context.Context, name string) (blobfake.Account, error) {
	acct, ok, err := b.accounts.Account(ctx, name)
	if err == nil && !ok {
		err = fmt.Errorf("the storage account %q does not exist", name)
	}
	return acct, err
}

func (b *blobAdapter) ContainerSAS(ctx context.Context, account, container, permissions string, start, expiry time.Time) (string, error) {
	acct, err := b.account(ctx, account)
	if err != nil {
		return "", err
	}
	return blobfake.SAS(acct, container, "", permissions, start, expiry), nil
}

func (b *blobAdapter) AccountKey(ctx context.Context, account string) (string, error) {
	acct, err := b.account(ctx, account)
	return acct.Keys[0], err
}

// vaultAdapter shows the control plane's key vaults to their data plane.
type vaultAdapter struct{ provider *keyvault.Provider }

func (a *vaultAdapter) Vault(ctx context.Context, name string) (vault.Vault, bool, error) {
	v, ok, err := a.provider.Vault(ctx, name)
	if err != nil || !ok {
		return vault.Vault{}, false, err
	}
	out := vault.Vault{Name: v.Name, ResourceID: v.ResourceID, Location: v.Location, TenantID: v.TenantID, RBAC: v.RBAC,
		RetentionDays: v.RetentionDays, PurgeProtection: v.PurgeProtection, Closed: v.Closed, Walled: v.Walled, Policies: make([]vault.Policy, len(v.Policies))}
	for i, p := range v.Policies {
		out.Policies[i] = vault.Policy(p)
	}
	return out, true, nil
}

// secretAdapter is the key vaults as machinelearning uses them.
type secretAdapter struct{ vaults *vault.Service }

func (a secretAdapter) UsesRoles(ctx context.Context, name string) (uses, exists bool, err error) {
	v, ok, err := a.vaults.Vault(ctx, name)
	return v.RBAC, ok, err
}

func (a secretAdapter) Read(ctx context.Context, who azure.Principal, name, secret, version string) (string, azure.Decision, error) {
	value, err := a.vaults.Read(ctx, who, name, secret, version)
	var refused *vault.ReadError
	if errors.As(err, &refused) {
		return "", refused.Decision, err
	}
	return value, azure.Decision{}, err
}

// identityAdapter shows an endpoint's identities to its instances, and a shell's
// to the shell.
type identityAdapter struct {
	ml       *machinelearning.Provider
	emulator *Emulator
}

func (a identityAdapter) IdentitiesOf(ctx context.Context, owner string) (msi.Assigned, error) {
	if strings.HasPrefix(owner, shellOwner) {
		return a.emulator.shellIdentities(ctx, owner)
	}
	ids, err := a.ml.IdentitiesOf(ctx, owner)
	return msi.Assigned{System: ids.System, User: ids.User}, err
}

// endpointAdapter shows endpoints to the scoring front.
type endpointAdapter struct{ ml *machinelearning.Provider }

func (a endpointAdapter) Endpoint(_ context.Context, host string) (gateway.Endpoint, bool) {
	r, ok := a.ml.RouteFor(host)
	return endpointOf(r), ok
}

func (a endpointAdapter) Behind(_ context.Context, router, name string) (gateway.Endpoint, bool) {
	r, ok := a.ml.RouteBehind(router, name)
	return endpointOf(r), ok
}

func endpointOf(r *machinelearning.Route) gateway.Endpoint {
	if r == nil {
		return gateway.Endpoint{}
	}
	out := gateway.Endpoint{ID: r.ID, Name: r.Name, Private: r.Private, AuthMode: gateway.AuthMode(r.AuthMode), Keys: r.Keys, Traffic: r.Traffic, Mirror: r.Mirror,
		Deployments: make([]gateway.Deployment, len(r.Deployments))}
	for i, d := range r.Deployments {
		out.Deployments[i] = gateway.Deployment{ID: d.ID, Name: d.Name, RequestTimeout: d.RequestTimeout,
			MaxConcurrent: d.MaxConcurrent, Instances: d.Instances, Script: d.Script}
	}
	return out
}

// tokenAdapter checks aml_tokens.
type tokenAdapter struct{ ml *machinelearning.Provider }

func (a tokenAdapter) VerifyAMLToken(_ context.Context, endpointID, raw string) error {
	return a.ml.VerifyAMLToken(endpointID, raw)
}

var errNoSuchDeployment = errors.New("no such deployment")
