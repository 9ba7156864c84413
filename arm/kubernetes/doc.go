// Package kubernetes keeps the clusters that workspaces attach as computes:
// Microsoft.ContainerService/managedClusters (AKS) and
// Microsoft.Kubernetes/connectedClusters (Azure Arc), as documents.
//
// A cluster here is a name: there is no API server, no node and no credential
// behind it. What the machine learning provider asks is whether it exists, where
// it lies and whether the caller may read it. A body is kept as it was sent, and
// is complete as soon as it is written.
//
// Sources: the REST references of both types, for names, actions and status
// codes. Left out: agent pools, credentials, extensions, upgrades, commands.
package kubernetes
