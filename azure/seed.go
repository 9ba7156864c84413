package azure

// The identifiers a fresh emulator starts with. They are fixed and documented
// so that scripts may name them; every secret is random per state folder.
const (
	SeedTenantID       = "a0a0a0a0-0000-4000-8000-000000000001"
	SeedTenantDomain   = "amlocal.onmicrosoft.com"
	SeedSubscriptionID = "a0a0a0a0-0000-4000-8000-000000000002"
	SeedOwnerObjectID  = "a0a0a0a0-0000-4000-8000-000000000003"
	SeedOwnerAppID     = "a0a0a0a0-0000-4000-8000-000000000004"
	SeedOwnerName      = "amlocal-owner"
	SeedResourceGroup  = "amlocal-rg"
	SeedWorkspace      = "amlocal-ws"
	SeedLocation       = "eastus"
	SeedStorageAccount = "amlocalwsstorage"
	SeedRegistry       = "amlocalwsregistry"
	SeedKeyVault       = "amlocal-ws-vault"
	SeedDatastore      = "workspaceblobstore"
	SeedContainer      = "azureml-blobstore"
)
