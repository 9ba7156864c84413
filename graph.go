package amlocal

import (
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/entra/graph"
)

// wireGraph makes Microsoft Graph, another view of the directory.
func (e *Emulator) wireGraph() (err error) {
	e.graph, err = graph.New(graph.Deps{
		Documents: e.store, Directory: e.entra, Verifier: e.entra, Clock: e.config.Clock, Audit: e.audit,
		TenantID: azure.SeedTenantID, Administrator: azure.SeedOwnerObjectID,
	})
	return err
}
