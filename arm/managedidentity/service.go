package managedidentity

import (
	"errors"
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

const identityType = "Microsoft.ManagedIdentity/userAssignedIdentities"

// Directory keeps the service principals; entra satisfies it.
type Directory interface {
	PutPrincipal(tx store.Tx, p azure.Principal) error
	DeletePrincipal(tx store.Tx, objectID string) error
	// TrustToken lets an identity sign in with another issuer's token.
	TrustToken(tx store.Tx, appID, id, issuer, subject string, audiences []string) error
	RemoveFederatedCredential(tx store.Tx, appID, id string) error
}

// Assignments ends role assignments made on deleted identities;
// arm/authorization satisfies it.
type Assignments interface {
	RemoveUnder(tx store.Tx, scope string) error
}

// Deps is what the provider needs. All are required.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Directory   Directory
	Assignments Assignments
	TenantID    string
}

// Provider is Microsoft.ManagedIdentity.
type Provider struct{ deps Deps }

// New makes the provider.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Directory == nil || deps.Assignments == nil || deps.TenantID == "" {
		return nil, errors.New("managedidentity: a dependency is missing")
	}
	return &Provider{deps: deps}, nil
}

// Types are the provider's resource types.
func (p *Provider) Types() []arm.Type {
	of := func(resourceType string) func(name, method, action string, on arm.Target, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return func(name, method, action string, on arm.Target, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
			return arm.Row{Operation: httpx.Operation{Name: "managedidentity." + name, Method: method, Action: resourceType + action}, On: on, Serve: serve}
		}
	}
	row, federated := of(identityType), of(federatedType)
	list := row("ListIdentities", http.MethodGet, "/read", arm.Collection, p.list)
	list.Filtered = true
	return []arm.Type{{Name: identityType, Rows: []arm.Row{
		row("PutIdentity", http.MethodPut, "/write", arm.Resource, p.put),
		row("UpdateIdentity", http.MethodPatch, "/write", arm.Resource, p.patch),
		row("GetIdentity", http.MethodGet, "/read", arm.Resource, p.get),
		row("DeleteIdentity", http.MethodDelete, "/delete", arm.Resource, p.delete),
		list,
	}}, {Name: federatedType, Rows: []arm.Row{
		federated("PutFederatedCredential", http.MethodPut, "/write", arm.Resource, p.putFederated),
		federated("GetFederatedCredential", http.MethodGet, "/read", arm.Resource, p.get),
		federated("DeleteFederatedCredential", http.MethodDelete, "/delete", arm.Resource, p.deleteFederated),
		federated("ListFederatedCredentials", http.MethodGet, "/read", arm.Collection, p.listFederated),
	}}}
}

// Identity is the principal behind a user-assigned identity's ARM id; ok is
// false when there is no such identity.
func (p *Provider) Identity(tx store.ReadTx, resourceID string) (azure.Principal, bool) {
	rec, ok, err := arm.Get(tx, resourceID)
	if err != nil || !ok || rec.Type != identityType {
		return azure.Principal{}, false
	}
	return principalOf(rec), true
}

// RemoveUnder deletes every identity at or below a scope.
func (p *Provider) RemoveUnder(tx store.Tx, scope string) error {
	recs, err := arm.List(tx, scope, identityType)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := p.remove(tx, rec); err != nil {
			return err
		}
	}
	return nil
}

func principalOf(rec *arm.Record) azure.Principal {
	d := rec.Document
	return azure.Principal{
		ObjectID: d.String("properties", "principalId"), AppID: d.String("properties", "clientId"), TenantID: d.String("properties", "tenantId"),
		Type: azure.ServicePrincipal, Name: rec.Name(), ResourceID: rec.ID,
	}
}
