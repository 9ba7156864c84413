// Package vault imitates the secrets data plane of Azure Key Vault:
// <vault>.vault.azure.net with its secrets, their versions, soft delete, and
// both ways a vault decides who may (roles or access policies).
//
// # What is imitated
//
// The REST API of secrets, api-versions 7.0 to 7.6, 2016-10-01, and the dated
// ones since 2025-06-01, all with one answer. Every first request of the SDKs
// comes without a token; the 401's challenge tells them tenant and resource.
//
// A vault that uses roles asks for the data actions
// Microsoft.KeyVault/vaults/secrets/* at the secret's scope; one that does not
// asks its access policies for the secret permission. Start and expiry dates of
// a secret are information only, as the documentation says: Azure gives the
// value out all the same. A disabled version is refused.
//
// Values are stored under AES-256-GCM with a key of the state folder that lies
// beside the signing keys. They are in no log and in no audit entry.
//
// # How we know
//
// The REST reference and "about Key Vault secrets"; the recorded exchanges in
// the tests of Azure's SDK for JavaScript (statuses, bodies, header names); texts
// of refusals from public issues. Where a comment says "unverified" nothing
// recorded was at hand.
//
// # What is left out
//
// Keys, certificates and storage accounts of a vault answer 501 by name, after
// the caller was authenticated. Deleting is done at once, where Azure takes
// seconds. No throttling, no proof-of-possession tokens, no continuous access
// evaluation. Backups can be restored by the emulator that made them only.
package vault
