// Package keyvault is the resource provider Microsoft.KeyVault as far as
// vaults go: what the data plane (package vault) must know about a vault, and
// what az keyvault and the SDKs do to it.
//
// Imitated: api-versions 2016-10-01 to 2025-05-01 in one shape; any version is
// accepted. Vault names are global. Sources: the REST reference of the key
// vault resource provider, azure-cli 2.91.
package keyvault
