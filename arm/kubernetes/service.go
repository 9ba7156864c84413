package kubernetes

import (
	"errors"
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

// The types of clusters.
const (
	ManagedClusters   = "Microsoft.ContainerService/managedClusters"
	ConnectedClusters = "Microsoft.Kubernetes/connectedClusters"
)

// Assignments ends role assignments made on deleted clusters;
// arm/authorization satisfies it.
type Assignments interface {
	RemoveUnder(tx store.Tx, scope string) error
}

// Deps is what the provider needs. All are required.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Assignments Assignments
}

// Provider is Microsoft.ContainerService and Microsoft.Kubernetes, as far as
// clusters go.
type Provider struct{ deps Deps }

// New makes the provider.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Assignments == nil {
		return nil, errors.New("kubernetes: a dependency is missing")
	}
	return &Provider{deps: deps}, nil
}

// Types is the operation table, the same for both types: clusters are records.
func (p *Provider) Types() []arm.Type {
	var types []arm.Type
	for _, name := range []string{ManagedClusters, ConnectedClusters} {
		clusters := &arm.Tracked{
			Type: name, Name: "kubernetes", Documents: p.deps.Documents, Clock: p.deps.Clock, Check: checkName, Created: http.StatusCreated,
			Remove: func(tx store.Tx, rec *arm.Record) error { return p.deps.Assignments.RemoveUnder(tx, rec.ID) },
		}
		types = append(types, arm.Type{Name: name, Rows: clusters.Rows()})
	}
	return types
}
