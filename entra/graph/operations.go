package graph

import (
	"net/http"

	"github.com/amlocal/amlocal/internal/httpx"
)

// maxBody is more than any of the bodies needs: getByIds with a thousand ids.
const maxBody = 128 << 10

// Operations is the service's table. Segments have no letter case in Graph, and
// the CLI makes use of that.
func (s *Service) Operations() []httpx.Operation {
	row := func(name, method, path string, h func(http.ResponseWriter, *http.Request) error) httpx.Operation {
		return httpx.Operation{Name: "graph." + name, Method: method, Pattern: "/{version:v1\\.0|beta}" + path, MaxBody: maxBody, Handler: h}
	}
	const (
		principals   = "/{set:(?i:servicePrincipals)}"
		applications = "/{set:(?i:applications)}"
		users        = "/{set:(?i:users)}"
		groups       = "/{set:(?i:groups)}"
		one          = "/{id}"
		federated    = "/{sub:(?i:federatedIdentityCredentials)}"
	)
	return []httpx.Operation{
		row("Me", http.MethodGet, "/{set:(?i:me)}", s.me),
		row("MeOwnedObjects", http.MethodGet, "/{set:(?i:me)}/{sub:(?i:ownedObjects)}", s.me),
		row("GetByIds", http.MethodPost, "/{set:(?i:directoryObjects)}/{sub:(?i:getByIds)}", s.getByIDs),
		row("GetDirectoryObject", http.MethodGet, "/{set:(?i:directoryObjects)}"+one, s.getObject),

		row("ListServicePrincipals", http.MethodGet, principals, s.listPrincipals),
		row("CreateServicePrincipal", http.MethodPost, principals, s.createPrincipal),
		row("GetServicePrincipal", http.MethodGet, principals+one, s.getPrincipal),
		row("GetServicePrincipalByAppId", http.MethodGet, "/{set:(?i:servicePrincipals)}({key:(?i:appId)}='{id}')", s.getPrincipalByAppID),
		row("DeleteServicePrincipal", http.MethodDelete, principals+one, s.deletePrincipal),

		row("ListApplications", http.MethodGet, applications, s.listApplications),
		row("CreateApplication", http.MethodPost, applications, s.createApplication),
		row("GetApplication", http.MethodGet, applications+one, s.getApplication),
		row("UpdateApplication", http.MethodPatch, applications+one, s.updateApplication),
		row("DeleteApplication", http.MethodDelete, applications+one, s.deleteApplication),
		row("AddPassword", http.MethodPost, applications+one+"/{sub:(?i:addPassword)}", s.addPassword),
		row("RemovePassword", http.MethodPost, applications+one+"/{sub:(?i:removePassword)}", s.removePassword),

		row("ListFederatedCredentials", http.MethodGet, applications+one+federated, s.listFederated),
		row("CreateFederatedCredential", http.MethodPost, applications+one+federated, s.createFederated),
		row("GetFederatedCredential", http.MethodGet, applications+one+federated+"/{fic}", s.getFederated),
		row("UpdateFederatedCredential", http.MethodPatch, applications+one+federated+"/{fic}", s.updateFederated),
		row("DeleteFederatedCredential", http.MethodDelete, applications+one+federated+"/{fic}", s.deleteFederated),

		row("ListUsers", http.MethodGet, users, s.listUsers),
		row("GetUser", http.MethodGet, users+one, s.getUser),
		row("ListGroups", http.MethodGet, groups, s.listGroups),
		row("GetGroup", http.MethodGet, groups+one, s.getGroup),
		row("ListMembers", http.MethodGet, groups+one+"/{sub:(?i:members)}", s.listMembers),
	}
}
