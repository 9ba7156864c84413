package kubernetes

import (
	"errors"
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
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

// Types is the operation table, the same for both types.
func (p *Provider) Types() []arm.Type {
	var types []arm.Type
	for _, name := range []string{ManagedClusters, ConnectedClusters} {
		row := func(operation, method, action string, on arm.Target, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
			return arm.Row{Operation: httpx.Operation{Name: "kubernetes." + operation, Method: method, Action: name + action, MaxBody: maxBody}, On: on, Serve: serve}
		}
		list := row("ListClusters", http.MethodGet, "/read", arm.Collection, p.list)
		list.Filtered = true
		types = append(types, arm.Type{Name: name, Rows: []arm.Row{
			row("PutCluster", http.MethodPut, "/write", arm.Resource, p.put),
			row("GetCluster", http.MethodGet, "/read", arm.Resource, p.get),
			row("DeleteCluster", http.MethodDelete, "/delete", arm.Resource, p.delete),
			list,
		}})
	}
	return types
}

// maxBody is ARM's own limit.
const maxBody = 4 << 20
