// Package machinelearning imitates Microsoft.MachineLearningServices as far as
// online endpoints need it: workspaces, datastores, the code, model and
// environment assets a deployment is made of, attached Kubernetes clusters,
// online endpoints of both kinds and their deployments.
//
// Shapes follow the recordings of azure-ai-ml 1.35 (api-versions 2022-02-01-preview
// to 2024-10-01-preview; any version is accepted) and the Go module
// armmachinelearning v4. Rules follow the how-to on endpoint identities, the
// concept page on endpoint authentication and the troubleshooting page; where
// Azure's answer is not public, the code says unverified.
//
// A deployment is provisioned in one order on every back end, each step as the
// endpoint's identity: image (AcrPull), model and code (blobs/read on the
// default datastore), secrets, then the runner. See provision.go.
//
// Connections keep their credentials sealed. References to them, and to Key
// Vault secrets, in a deployment's variables are resolved as the endpoint's
// identity before the runner starts anything: reference.go, injection.go.
//
// Kubernetes endpoints differ in their address (the cluster's router), auth
// modes, codes and resources (kubernetes.go, clustersize.go); sources are the
// pages on attaching clusters, on instance types and on troubleshooting both.
//
// Left out: registries, jobs, computes other than Kubernetes, autoscale, data
// collection; of connections OAuth2 sign-in, deployments and tests.
package machinelearning
