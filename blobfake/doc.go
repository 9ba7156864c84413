// Package blobfake imitates the Blob service's data plane: containers, block
// blobs, and the four ways a caller proves who they are (Entra bearer token,
// SharedKey, shared access signature, anonymous).
//
// # What is imitated
//
// The REST API as of service version 2026-04-06. Any x-ms-version from
// 2009-09-19 on is accepted and echoed; what differs by version is only what
// clients can see fail: bearer tokens need 2017-11-09, a 401 with a challenge
// is given from 2019-12-12 on, an empty Content-Length is signed as "" from
// 2015-02-21 and empty x-ms headers are signed from 2016-05-31, and the string
// a SAS signs grows with its `sv`.
//
// Accounts are reached by host (<account>.blob.core.windows.net) or, on any
// other host, by path (/<account>/...). Over plain http SharedKey and SAS work
// and bearer tokens do not, as in Azure.
//
// # How we know
//
// wire/msi-and-tokens.md section 9 and vectors S01 to S13, wire/azure-ai-ml.md
// sections 4, 7.1 and 12, wire/az-cli.md; the REST reference of the Blob
// service; the source of azblob for Go (signatures, header order). Where a
// comment says "unverified" no recorded exchange was at hand.
//
// # What is left out
//
// Answered 501 NotImplemented, which no Azure SDK retries, after the caller was
// authenticated and authorized: append and page blobs, leases, snapshots and
// versions as writes, finding blobs by tags, conditions on tags, copies of
// tags, tier changes, batch, stored access policies, service
// property writes and statistics, Put Blob/Block From URL, soft delete,
// immutability, encryption scopes and customer keys, query.
//
// Not spoken at all: SharedKeyLite, stored access policies (si=), directory and
// snapshot SAS, user-bound and header-bound user-delegation SAS: refused as
// failed authentication. The shorthand for blobs of $root (/<blob>) is not
// known; /$root/<blob> works. A copy's source must be an account of this
// emulator. User delegation keys cannot be revoked. Deleted containers and
// accounts are gone at once.
package blobfake
