package authorization

import (
	"context"
	"errors"
	"fmt"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// Directory finds principals; entra satisfies it.
type Directory interface {
	Principal(tx store.ReadTx, objectID string) (azure.Principal, bool)
}

// Deps is what the provider needs.
type Deps struct {
	Documents store.Documents
	Clock     clock.Clock
	Directory Directory
	// Index is filled from the store by New and kept up to date.
	Index    *rbac.Index
	TenantID string
	// Tracked are the resource types that must exist for a role to be
	// assigned at or below one of them; ids of other types are not looked up.
	Tracked []string
	// MaxAssignments is how many role assignments a subscription can have; 0
	// means 4000, as published.
	MaxAssignments int
}

// Provider is Microsoft.Authorization.
type Provider struct{ deps Deps }

// New makes the provider and loads the stored roles and assignments into the
// index.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Directory == nil || deps.Index == nil {
		return nil, errors.New("authorization: a dependency is missing")
	}
	if deps.MaxAssignments <= 0 {
		deps.MaxAssignments = 4000
	}
	p := &Provider{deps: deps}
	err := deps.Documents.View(context.Background(), func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/", definitionType) {
			if err != nil {
				return err
			}
			if err := deps.Index.PutDefinition(definitionOf(rec)); err != nil {
				return fmt.Errorf("authorization: %s: %w", rec.ID, err)
			}
		}
		for rec, err := range arm.Under(tx, "/", assignmentType) {
			if err != nil {
				return err
			}
			if err := deps.Index.Put(assignmentOf(rec)); err != nil {
				return fmt.Errorf("authorization: %s: %w", rec.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Sees reports whether a principal holds, itself or through a group, any role
// at, above or below a scope: what makes a subscription visible to it.
func (p *Provider) Sees(objectID, scope string) bool {
	return len(p.deps.Index.Assignments(rbac.Filter{PrincipalID: objectID, ThroughGroups: true, Scope: scope})) > 0
}
