package keyvault

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

// Policy is an access policy as the data plane needs it.
type Policy struct {
	TenantID string
	ObjectID string
	Secrets  []string
}

// Vault is what a data plane must know about a vault.
type Vault struct {
	Name            string
	ResourceID      string
	Location        string
	TenantID        string
	RBAC            bool
	Policies        []Policy
	RetentionDays   int
	PurgeProtection bool
	// Closed says that public network access is disabled.
	Closed bool
	// Walled says that the firewall denies by default and has no rules.
	Walled bool
}

// Secrets is what vaults hold; vault satisfies it.
type Secrets interface {
	// DeleteVault removes everything a vault holds.
	DeleteVault(tx store.Tx, vault string) error
}

// Assignments ends role assignments on deleted vaults; arm/authorization
// satisfies it.
type Assignments interface {
	RemoveUnder(tx store.Tx, scope string) error
}

// Deps is what the provider needs. All are required.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Secrets     Secrets
	Assignments Assignments
	TenantID    string
}

// Provider is Microsoft.KeyVault.
type Provider struct {
	deps Deps

	mu     sync.RWMutex
	vaults map[string]Vault // by lower-cased name
}

// New makes the provider and loads the vaults.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Secrets == nil || deps.Assignments == nil || deps.TenantID == "" {
		return nil, errors.New("keyvault: a dependency is missing")
	}
	p := &Provider{deps: deps, vaults: map[string]Vault{}}
	err := deps.Documents.Update(context.Background(), func(tx store.Tx) error {
		recs, err := arm.List(tx, "/", vaultType)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			p.vaults[strings.ToLower(rec.Name())] = vaultOf(rec)
			// State folders from before vaults had a provider lack the name.
			if _, has := tx.Get(namesBucket, []byte(strings.ToLower(rec.Name()))); has {
				continue
			}
			if err := p.claim(tx, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Vault finds a vault by its name, which is global. It is asked for every
// request to a vault and answers from memory.
func (p *Provider) Vault(_ context.Context, name string) (Vault, bool, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	v, ok := p.vaults[strings.ToLower(name)]
	return v, ok, nil
}

// SeedVault makes a vault, unless it is there: for the emulator's first start
// and for worlds.
func (p *Provider) SeedVault(tx store.Tx, id azure.ResourceID, location string, rbac bool, author arm.Author) error {
	if _, ok, err := arm.Get(tx, id.String()); err != nil || ok {
		return err
	}
	if !validVaultName(id.Name()) {
		return errVaultName(id.Name())
	}
	now := p.deps.Clock.Now()
	rec := &arm.Record{ID: id.String(), Type: vaultType, CreatedAt: now, ModifiedAt: now, CreatedBy: author, ModifiedBy: author, Document: arm.Document{
		"location": arm.CanonicalLocation(location), "properties": map[string]any{
			"tenantId": p.deps.TenantID, "sku": map[string]any{"family": "A", "name": "standard"}, "enableRbacAuthorization": rbac,
		}}}
	if err := p.claim(tx, rec); err != nil {
		return err
	}
	return p.putVault(tx, rec)
}

// RemoveUnder deletes every vault at or below a scope as a client would: they
// can be recovered once the group is there again.
func (p *Provider) RemoveUnder(tx store.Tx, scope string) error {
	recs, err := arm.List(tx, scope, vaultType)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := p.softDelete(tx, rec); err != nil {
			return err
		}
	}
	return nil
}
