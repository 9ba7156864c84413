package machinelearning

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
)

// The resource types this provider owns.
const (
	namespace       = "Microsoft.MachineLearningServices"
	workspaceType   = namespace + "/workspaces"
	datastoreType   = workspaceType + "/datastores"
	connectionType  = workspaceType + "/connections"
	codeType        = workspaceType + "/codes"
	modelType       = workspaceType + "/models"
	environmentType = workspaceType + "/environments"
	endpointType    = workspaceType + "/onlineEndpoints"
	deploymentType  = endpointType + "/deployments"
	computeType     = workspaceType + "/computes"
)

// The kinds of long-running jobs.
const (
	jobEndpoint         = "machinelearning.PutOnlineEndpoint"
	jobDeleteEndpoint   = "machinelearning.DeleteOnlineEndpoint"
	jobRegenerate       = "machinelearning.RegenerateKeys"
	jobDeploy           = "machinelearning.PutOnlineDeployment"
	jobDeleteDeployment = "machinelearning.DeleteOnlineDeployment"
	jobAttachCompute    = "machinelearning.PutCompute"
	jobDetachCompute    = "machinelearning.DeleteCompute"
)

// maxBody bounds control-plane bodies: ARM's own limit is 4 MiB.
const maxBody = 4 << 20

// Types is the provider's operation table. Deployments are guarded by their
// own actions or by the endpoint's: the concept page documents the latter, the
// operation catalogue lists the former, and a role with either works.
func (p *Provider) Types() []arm.Type {
	types := []arm.Type{
		{Name: workspaceType, Rows: []arm.Row{
			row("GetWorkspace", http.MethodGet, arm.Resource, "", workspaceType+"/read", p.getResource),
			filtered(row("ListWorkspaces", http.MethodGet, arm.Collection, "", workspaceType+"/read", p.listWorkspaces)),
			row("PutWorkspace", http.MethodPut, arm.Resource, "", workspaceType+"/write", p.putWorkspace),
			row("PatchWorkspace", http.MethodPatch, arm.Resource, "", workspaceType+"/write", p.patchWorkspace),
			row("DeleteWorkspace", http.MethodDelete, arm.Resource, "", workspaceType+"/delete", p.deleteWorkspace),
			row("ListWorkspaceKeys", http.MethodPost, arm.Resource, "listKeys", workspaceType+"/listKeys/action", p.listWorkspaceKeys),
		}},
		{Name: datastoreType, Rows: []arm.Row{
			row("GetDatastore", http.MethodGet, arm.Resource, "", datastoreType+"/read", p.getResource),
			row("ListDatastores", http.MethodGet, arm.Collection, "", datastoreType+"/read", p.listDatastores),
			row("PutDatastore", http.MethodPut, arm.Resource, "", datastoreType+"/write", p.putDatastore),
			row("DeleteDatastore", http.MethodDelete, arm.Resource, "", datastoreType+"/delete", p.deleteAsset),
			row("ListDatastoreSecrets", http.MethodPost, arm.Resource, "listSecrets", datastoreType+"/listsecrets/action", p.listDatastoreSecrets),
		}},
		{Name: connectionType, Rows: []arm.Row{
			row("GetConnection", http.MethodGet, arm.Resource, "", connectionType+"/read", p.getResource),
			row("ListConnections", http.MethodGet, arm.Collection, "", connectionType+"/read", p.listConnections),
			row("PutConnection", http.MethodPut, arm.Resource, "", connectionType+"/write", p.putConnection),
			row("PatchConnection", http.MethodPatch, arm.Resource, "", connectionType+"/write", p.patchConnection),
			row("DeleteConnection", http.MethodDelete, arm.Resource, "", connectionType+"/delete", p.deleteAsset),
			row("ListConnectionSecrets", http.MethodPost, arm.Resource, "listsecrets", readSecrets, p.listConnectionSecrets),
		}},
		{Name: computeType, Rows: []arm.Row{
			row("GetCompute", http.MethodGet, arm.Resource, "", computeType+"/read", p.getResource),
			row("ListComputes", http.MethodGet, arm.Collection, "", computeType+"/read", p.listResources),
			row("PutCompute", http.MethodPut, arm.Resource, "", computeType+"/write", p.putCompute),
			row("DeleteCompute", http.MethodDelete, arm.Resource, "", computeType+"/delete", p.detachCompute),
			row("ListComputeKeys", http.MethodPost, arm.Resource, "listKeys", computeType+"/listKeys/action", p.listComputeKeys),
		}},
		{Name: endpointType, Rows: []arm.Row{
			row("GetOnlineEndpoint", http.MethodGet, arm.Resource, "", endpointType+"/read", p.getResource),
			row("ListOnlineEndpoints", http.MethodGet, arm.Collection, "", endpointType+"/read", p.listResources),
			row("PutOnlineEndpoint", http.MethodPut, arm.Resource, "", endpointType+"/write", p.putEndpoint),
			row("PatchOnlineEndpoint", http.MethodPatch, arm.Resource, "", endpointType+"/write", p.patchEndpoint),
			row("DeleteOnlineEndpoint", http.MethodDelete, arm.Resource, "", endpointType+"/delete", p.beginDeleteEndpoint),
			row("ListOnlineEndpointKeys", http.MethodPost, arm.Resource, "listKeys", endpointType+"/listKeys/action", p.listEndpointKeys),
			row("RegenerateOnlineEndpointKeys", http.MethodPost, arm.Resource, "regenerateKeys", endpointType+"/regenerateKeys/action", p.regenerateKeys),
			row("GetOnlineEndpointToken", http.MethodPost, arm.Resource, "token", endpointType+"/token/action", p.endpointToken),
		}},
		{Name: deploymentType, Rows: []arm.Row{
			row("GetOnlineDeployment", http.MethodGet, arm.Resource, "", deploymentType+"/read", p.getResource, endpointType+"/read"),
			row("ListOnlineDeployments", http.MethodGet, arm.Collection, "", deploymentType+"/read", p.listDeployments, endpointType+"/read"),
			row("PutOnlineDeployment", http.MethodPut, arm.Resource, "", deploymentType+"/write", p.putDeployment, endpointType+"/write"),
			row("PatchOnlineDeployment", http.MethodPatch, arm.Resource, "", deploymentType+"/write", p.patchDeployment, endpointType+"/write"),
			row("DeleteOnlineDeployment", http.MethodDelete, arm.Resource, "", deploymentType+"/delete", p.beginDeleteDeployment, endpointType+"/delete"),
			row("GetOnlineDeploymentLogs", http.MethodPost, arm.Resource, "getLogs", deploymentType+"/getLogs/action", p.getLogs, endpointType+"/read", endpointType+"/write"),
		}},
	}
	for _, base := range []string{codeType, modelType, environmentType} {
		versions := base + "/versions"
		types = append(types,
			arm.Type{Name: base, Rows: []arm.Row{
				row("GetAsset", http.MethodGet, arm.Resource, "", base+"/read", p.getResource),
				row("ListAssets", http.MethodGet, arm.Collection, "", base+"/read", p.listAssets),
				row("PutAsset", http.MethodPut, arm.Resource, "", base+"/write", p.putAsset),
				row("DeleteAsset", http.MethodDelete, arm.Resource, "", base+"/delete", p.deleteAsset),
			}},
			arm.Type{Name: versions, Rows: []arm.Row{
				row("GetAssetVersion", http.MethodGet, arm.Resource, "", versions+"/read", p.getResource, base+"/read"),
				row("ListAssetVersions", http.MethodGet, arm.Collection, "", versions+"/read", p.listVersions, base+"/read"),
				row("PutAssetVersion", http.MethodPut, arm.Resource, "", versions+"/write", p.putVersion, base+"/write"),
				row("DeleteAssetVersion", http.MethodDelete, arm.Resource, "", versions+"/delete", p.deleteAsset, base+"/delete"),
				row("StartPendingUpload", http.MethodPost, arm.Resource, "startPendingUpload", versions+"/write", p.startPendingUpload, base+"/write"),
			}})
	}
	return types
}

func row(name, method string, on arm.Target, verb, action string, serve func(http.ResponseWriter, *arm.Request) error, or ...string) arm.Row {
	return arm.Row{
		Operation: httpx.Operation{Name: "machinelearning." + name, Method: method, Action: action, Or: or, MaxBody: maxBody},
		On:        on, Verb: verb, Serve: serve,
	}
}

// filtered marks a list that shows callers what they may read.
func filtered(r arm.Row) arm.Row {
	r.Filtered = true
	return r
}
