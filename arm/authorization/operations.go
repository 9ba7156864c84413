package authorization

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

const (
	namespace      = "Microsoft.Authorization"
	assignmentType = namespace + "/roleAssignments"
	definitionType = namespace + "/roleDefinitions"
)

// Types are the provider's resource types. Both are extensions: they hang on
// any scope, the tenant root included.
func (p *Provider) Types() []arm.Type {
	row := func(name, method, action string, on arm.Target, serve func(http.ResponseWriter, *arm.Request) error) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "authorization." + name, Method: method, Action: action}, On: on, Serve: serve}
	}
	writes := row("CreateRoleAssignment", http.MethodPut, assignmentType+"/write", arm.Resource, p.createAssignment)
	writes.Attributes = p.requestAttributes
	deletes := row("DeleteRoleAssignment", http.MethodDelete, assignmentType+"/delete", arm.Resource, p.deleteAssignment)
	deletes.Attributes = p.resourceAttributes
	return []arm.Type{
		{Name: assignmentType, Anywhere: true, Rows: []arm.Row{
			writes,
			row("GetRoleAssignment", http.MethodGet, assignmentType+"/read", arm.Resource, p.getAssignment),
			deletes,
			row("ListRoleAssignments", http.MethodGet, assignmentType+"/read", arm.Collection, p.listAssignments),
		}},
		{Name: definitionType, Anywhere: true, Rows: []arm.Row{
			row("PutRoleDefinition", http.MethodPut, definitionType+"/write", arm.Resource, p.putDefinition),
			row("GetRoleDefinition", http.MethodGet, definitionType+"/read", arm.Resource, p.getDefinition),
			row("DeleteRoleDefinition", http.MethodDelete, definitionType+"/delete", arm.Resource, p.deleteDefinition),
			row("ListRoleDefinitions", http.MethodGet, definitionType+"/read", arm.Collection, p.listDefinitions),
		}},
	}
}
