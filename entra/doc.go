// Package entra imitates Microsoft Entra ID as far as unmodified clients need
// it: it answers for login.microsoftonline.com and its aliases
// (login.windows.net, login.microsoft.com, sts.windows.net), keeps the
// directory of principals, signs access tokens and verifies them for the other
// planes.
//
// # Imitated
//
// The v1 and v2 OpenID documents and key sets, /common/discovery/instance and
// /common/userrealm, and on the v1 and v2 token endpoints, with the AADSTS
// numbers clients print, these grants: client_credentials with a secret (form
// or Basic), a certificate or a federated assertion; password, device code,
// authorization code with PKCE and refresh token for users, with ID token,
// client_info and the family of Microsoft's own clients. Access tokens are the
// v1 tokens that first-party resources (storage, ARM, Key Vault, machine
// learning) ask for on either endpoint: RS256, `aud` exactly as requested,
// `iat` and `nbf` five minutes before the issue; for api://AzureADTokenExchange
// they are v2, as there.
//
// # Sources
//
// Exchanges recorded from azure-identity (Python 1.27, Go 1.15, JS 4.13, Java
// 1.18), azure-cli 2.91 and azure-ai-ml 1.35; public recordings in the Azure
// SDK repositories; the access-token claims reference. Each quirk's comment
// says "unverified" where none of these shows it.
//
// # Left out
//
// Consent, second factors, conditional access and lock-out; redirect addresses
// other than loopback; public clients other than Microsoft's. Keys of outside
// issuers are given (PutIssuer), never fetched. One tenant exists. Tokens are
// not encrypted, carry no `aio`/`xms_*` claims beside xms_mirid, and continuous
// access evaluation (the `claims` parameter) does not lengthen them.
//
// # Secrets
//
// A client secret is kept as a salted SHA-256 only, which suits secrets the
// emulator generates (they are random and long); a user's password, which may
// be chosen, as PBKDF2. Signing keys, and the key that seals refresh tokens,
// are files of mode 0600 in KeyDir. Neither a secret nor a token is ever
// logged.
package entra
