// Package managedidentity is the resource provider Microsoft.ManagedIdentity:
// user-assigned identities and their federated credentials. Creating one creates its service principal in the
// directory, in the same transaction; deleting one removes it.
//
// Imitated: api-versions 2018-11-30 to 2025-05-31-preview in one shape; any
// version is accepted. Creation is synchronous.
//
// As in Azure, role assignments of a deleted identity stay behind as orphans:
// they are listed, grant nothing, and are deleted separately. Assignments made
// at the identity's own scope go with it.
//
// Sources: the REST reference and the wire notes of azure-cli 2.91 and
// azure-mgmt-msi 7.1. Left out: the list of associated resources, claims-matching
// expressions of federated credentials, system-assigned identities as a resource of their own.
package managedidentity
