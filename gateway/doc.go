// Package gateway imitates the front door of Azure Machine Learning's managed
// online endpoints: what answers at <endpoint>.<region>.inference.ml.azure.com.
// It checks the caller's key or token, chooses a deployment, admits as many
// requests as the deployment allows, and passes them to the user's server.
//
// Sources: wire/endpoint-behaviour.md, sections 1 (statements of Microsoft's
// documentation, client and proxy code, recorded exchanges) and 8 (what nobody
// answers publicly, and the defaults chosen). Where a comment says "assumed",
// nothing of the kind was found.
//
// Mirrored traffic is in mirror.go: a copy starts once the caller's request has
// been read to its end, and only on the way to an instance, so what the front
// door itself refuses is not mirrored (assumed).
//
// Two ways lead to an instance: direct.go for small, ordinary requests, which is
// fast, and httputil.ReverseProxy for all others. Nobody can tell them apart but
// by time, and by one thing direct.go names.
//
// Kubernetes endpoints are called through their cluster's router, which answers
// with other codes: kubernetes.go.
//
// Left out: bandwidth delays, requests-per-second and connection limits, the payload
// limit of 2022.
package gateway
