// Package resources is the resource provider Microsoft.Resources as far as it
// is not a template engine: subscriptions, tenants, locations, resource groups,
// resource providers and the generic list of resources.
//
// Imitated: api-versions 2015-11-01 to 2025-04-01 in one shape; any version is
// accepted. Deleting a group is the one long-running operation: 202 with
// Location, then everything in the group goes in one transaction.
//
// Sources: the REST reference of Azure Resource Manager and the wire notes of
// azure-cli 2.91. What the lists of regions and providers hold is what the
// emulator serves, not what Azure does.
//
// Left out: deployments (of which machinelearning reads the one template the
// Azure ML client sends), tags as a resource, locks, policies, management
// groups, moving and exporting groups, paging ($top is ignored).
package resources
