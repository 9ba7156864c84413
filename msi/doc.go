// Package msi imitates the managed identity endpoints as seen from inside an
// online deployment's instance: the one the instance's variables point to, in
// its two flavours, and IMDS.
//
// # Imitated
//
// GET /v1/token/msi/xds, the address recorded from a real managed deployment,
// with the aliases /MSI/token and /MSI/auth seen on compute instances; slashes
// may be doubled or trailing. The header decides the flavour:
//
//   - `secret`: Azure ML (MSI_ENDPOINT, MSI_SECRET, api-version 2017-09-01):
//     `clientid`, integers in the answer, as in the one public recording.
//   - `X-IDENTITY-HEADER`: App Service 2019-08-01 (IDENTITY_ENDPOINT,
//     IDENTITY_HEADER): `client_id` and others, `expires_on` a string.
//
// The api-version, `Metadata` and unknown parameters are not looked at: the
// documented raw call sends no version and azure-identity no Metadata. `resource`
// is echoed, and becomes the audience, byte for byte.
//
// IMDS is GET /metadata/identity/oauth2/token of 169.254.169.254, api-version
// 2018-02-01 and later. It has no secret: the data path says who asks
// (WithOwner).
//
// # Which identity
//
// A selector that is missing, empty, or the literal word "clientid" (what the
// platform writes where there is no default) means the default identity: the
// system-assigned one, else the only user-assigned one, else 400. Anything else
// must name an identity attached to the endpoint; a stranger, a placeholder and
// two selectors at once are 400, never 404 or 5xx, which clients would retry.
//
// # Options
//
// Strict is off by default (`up --identity-answers strict`). With it the endpoint refuses what the real one is
// known to refuse (`client_id` in the Azure ML flavour) and answers a bad
// secret in plain text. Off, client_id means clientid and errors are JSON. Why
// off: the only evidence for strictness comes from compute instances, nobody has
// published a managed online endpoint's own errors, and plain text makes
// azure-identity for Python die with a JSONDecodeError that hides the reason.
// Nothing a user may do or read changes with it: either way only identities
// attached to the endpoint are served.
//
// CloudShell is off by default, as on Azure ML (`up --identity-cloud-shell`). With it a request without a
// secret, which is all azure-identity for Java sends when it has only the MSI
// pair, is answered if the data path knows the instance. With both pairs of
// variables, the default, Java uses the App Service flavour and needs none of
// this.
//
// # Sources
//
// About 540 recorded runs of azure-identity for Python, Go, JS and Java; the
// recording of the Azure ML endpoint in azure-sdk-assets; App Service and IMDS
// documentation; issues named in the code. Bodies of errors are our choice: one
// shape that all four libraries turn into a readable message.
//
// # Left out
//
// Azure Arc, Service Fabric and the federated token exchange; other IMDS paths;
// fault injection.
package msi
