// Package arm is the front of the control plane, management.azure.com: it
// parses resource ids, routes to the rows of resource types, authenticates and
// authorizes callers, keeps resource documents, and runs long-running
// operations. What a resource type means is its provider's business
// (arm/storage, arm/machinelearning, ...).
//
// Documents, not structs: a body stays a JSON tree (Document) in which unknown
// fields survive. Any api-version is accepted, since clients mix them in one
// flow; one union shape is served.
//
// Sources: the Azure Resource Manager RPC (async operations, error envelope),
// and the recordings of azure-ai-ml 1.35 and azure-cli 2.91 in the design
// notes. Left out: deployments' what-if, locks, policies, tags at scope,
// management groups.
package arm
