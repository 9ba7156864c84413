// Package containerregistry is the control plane of Azure Container Registry
// (Microsoft.ContainerRegistry/registries): registries can be made, read,
// changed and deleted, and roles assigned on them, which decides whether an
// endpoint's identity may pull its image. The registry's own door,
// <name>.azurecr.io, is not there.
//
// Left out: the admin user and its credentials, tokens, scope maps, webhooks,
// replications, tasks. Asking for the admin user is refused: what used its
// password would find nothing to sign in to.
package containerregistry
