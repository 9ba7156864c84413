package monitor

import (
	"errors"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

const (
	workspaceType = "Microsoft.OperationalInsights/workspaces"
	componentType = "Microsoft.Insights/components"
)

// Assignments forgets the roles assigned at or below a resource.
type Assignments interface {
	RemoveUnder(tx store.Tx, scope string) error
}

// Deps is what the provider needs.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Assignments Assignments
	TenantID    string
}

// Provider is Microsoft.OperationalInsights and Microsoft.Insights.
type Provider struct{ deps Deps }

// New makes the provider.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Assignments == nil {
		return nil, errors.New("monitor: a dependency is missing")
	}
	return &Provider{deps}, nil
}

// Types are the provider's resource types.
func (p *Provider) Types() []arm.Type {
	tracked := func(kind, name string, fill func(store.Tx, *arm.Record) error) arm.Type {
		t := &arm.Tracked{Type: kind, Name: "monitor." + name, Documents: p.deps.Documents, Clock: p.deps.Clock, Fill: fill,
			Remove: func(tx store.Tx, rec *arm.Record) error { return p.deps.Assignments.RemoveUnder(tx, rec.ID) }}
		return arm.Type{Name: kind, Rows: t.Rows()}
	}
	return []arm.Type{
		tracked(workspaceType, "logs", func(_ store.Tx, rec *arm.Record) error {
			rec.Document.Default(uuid.NewString(), "properties", "customerId")
			rec.Document.Default(map[string]any{"name": "pergb2018"}, "properties", "sku")
			rec.Document.Default(30, "properties", "retentionInDays")
			return nil
		}),
		tracked(componentType, "insights", func(_ store.Tx, rec *arm.Record) error {
			rec.Document.Default(uuid.NewString(), "properties", "InstrumentationKey")
			rec.Document.Default(uuid.NewString(), "properties", "AppId")
			rec.Document.Set(rec.Name(), "properties", "ApplicationId")
			rec.Document.Set(rec.Name(), "properties", "Name")
			rec.Document.Set(p.deps.TenantID, "properties", "TenantId")
			key := rec.Document.String("properties", "InstrumentationKey")
			rec.Document.Set("InstrumentationKey="+key+";IngestionEndpoint=https://"+azure.SeedLocation+"-0.in.applicationinsights.azure.com/", "properties", "ConnectionString")
			return nil
		}),
	}
}
