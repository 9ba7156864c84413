package resources

import (
	"context"
	"errors"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/seal"
	"github.com/amlocal/amlocal/store"
)

const (
	namespace        = "Microsoft.Resources"
	subscriptionType = namespace + "/subscriptions"
	groupType        = namespace + "/resourceGroups"
)

// Roles tells what a principal can see and assign; arm/authorization satisfies it.
type Roles interface {
	// Sees reports whether a principal holds any role at, above or below a
	// scope.
	Sees(objectID, scope string) bool
	// AttributesOf are what conditions may read of a request for a role
	// assignment.
	AttributesOf(ctx context.Context, role, principal, principalType string) azure.Attributes
}

// Cascade is one provider's part in deleting a resource group.
type Cascade struct {
	// Name is for error messages, e.g. "storage".
	Name string
	// Stop ends what runs on behalf of resources in the scope. It is called
	// before the transaction, may take its time, and must be safe to repeat.
	// May be nil.
	Stop func(ctx context.Context, scope string) error
	// Remove deletes the provider's resources at and below the scope, in the
	// transaction that deletes the group. May be nil.
	Remove func(tx store.Tx, scope string) error
}

// Deps is what the provider needs; Cascades may be empty.
type Deps struct {
	Documents  store.Documents
	Clock      clock.Clock
	Operations *arm.Operations
	Roles      Roles
	TenantID   string
	// Cascades run in order.
	Cascades []Cascade
	// Front is where the resources of templates are put, and Seal keeps their
	// parameters until then.
	Front Front
	Seal  *seal.Key
}

// Provider is Microsoft.Resources.
type Provider struct{ deps Deps }

// New makes the provider and names its worker to the operations engine.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Operations == nil || deps.Roles == nil || deps.Front == nil || deps.Seal == nil || deps.TenantID == "" {
		return nil, errors.New("resources: a dependency is missing")
	}
	p := &Provider{deps: deps}
	deps.Operations.Handle(deleteGroupKind, p.performDelete)
	deps.Operations.Handle(deployKind, p.deploy)
	return p, nil
}

// Seed makes a subscription unless it is there.
func (p *Provider) Seed(tx store.Tx, subscriptionID, tenantID, displayName string) error {
	id := "/subscriptions/" + subscriptionID
	if _, ok, err := arm.Get(tx, id); err != nil || ok {
		return err
	}
	now := p.deps.Clock.Now()
	return arm.Put(tx, &arm.Record{ID: id, Type: subscriptionType, CreatedAt: now, ModifiedAt: now, Document: arm.Document{
		"subscriptionId": subscriptionID, "tenantId": tenantID, "displayName": displayName, "state": "Enabled",
		"authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]any{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
	}})
}

// SeedGroup makes a resource group unless it is there.
func (p *Provider) SeedGroup(tx store.Tx, subscriptionID, name, location string) error {
	id := azure.MustParseResourceID("/subscriptions/" + subscriptionID + "/resourceGroups/" + name)
	if _, ok, err := arm.Get(tx, id.String()); err != nil || ok {
		return err
	}
	now := p.deps.Clock.Now()
	return arm.Put(tx, &arm.Record{ID: id.String(), Type: groupType, CreatedAt: now, ModifiedAt: now, Document: arm.Document{
		"location": arm.CanonicalLocation(location), "properties": map[string]any{"provisioningState": arm.Succeeded},
	}})
}
