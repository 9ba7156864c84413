// Package graph imitates the part of Microsoft Graph (graph.microsoft.com, v1.0
// and beta alike) that command lines and deployment scripts use to turn names
// into object ids: service principals, users, groups with their direct members,
// directoryObjects/getByIds and me; and, for `az ad sp create-for-rbac`,
// applications with passwords,
// certificates and federated credentials.
//
// Objects are those of the directory that entra keeps: a managed identity is a
// service principal of type ManagedIdentity. Shapes follow the public reference
// (learn.microsoft.com/graph/api) and what azure-cli 2.91.0 reads. Who may ask:
// the seeded owner everything, a user may read, and any other application is
// refused with Authorization_RequestDenied, as one without Graph permissions is
// in Azure; there are no Graph permissions to grant here.
//
// Left out: $select, $expand, $orderby, $count and $search are ignored; filters
// other than those of filter.go are refused; changing users and groups,
// owners, app roles, delta and batch are answered 501. addKey and removeKey are
// too: certificates come with keyCredentials, without proof of possession.
package graph
