package amlocal

import (
	"context"
	"fmt"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// Ids of the seeded resources.
var (
	seedSubscription = "/subscriptions/" + azure.SeedSubscriptionID
	seedGroup        = seedSubscription + "/resourceGroups/" + azure.SeedResourceGroup
	seedWorkspace    = seedGroup + "/providers/Microsoft.MachineLearningServices/workspaces/" + azure.SeedWorkspace
	seedStorage      = seedGroup + "/providers/Microsoft.Storage/storageAccounts/" + azure.SeedStorageAccount
	seedRegistry     = seedGroup + "/providers/Microsoft.ContainerRegistry/registries/" + azure.SeedRegistry
	seedVault        = seedGroup + "/providers/Microsoft.KeyVault/vaults/" + azure.SeedKeyVault
)

const ownerRole = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"

var seedAuthor = arm.Author{Name: azure.SeedOwnerName, Type: "Application"}

// seed fills a fresh state folder in one transaction, then applies the world
// file. A folder that has been seeded is left alone.
func (e *Emulator) seed(ctx context.Context) error {
	fresh := false
	err := e.store.View(ctx, func(tx store.ReadTx) error {
		_, ok, err := arm.Get(tx, seedSubscription)
		fresh = !ok
		return err
	})
	if err != nil || !fresh {
		return err
	}
	var w *world
	if e.config.World != "" { // read before anything is written
		if w, err = readWorld(e.config.World); err != nil {
			return err
		}
	}
	if err := e.store.Update(ctx, e.seedAll); err != nil {
		return fmt.Errorf("seed the state folder: %w", err)
	}
	if w == nil {
		return nil
	}
	if err := e.applyWorld(ctx, w); err != nil {
		return fmt.Errorf("world %s: %w (the state folder %s is half-made: remove it)", e.config.World, err, e.config.StateDir)
	}
	return nil
}

func (e *Emulator) seedAll(tx store.Tx) error {
	owner := azure.Principal{
		ObjectID: azure.SeedOwnerObjectID, AppID: azure.SeedOwnerAppID, TenantID: azure.SeedTenantID,
		Type: azure.ServicePrincipal, Name: azure.SeedOwnerName,
	}
	steps := []func() error{
		func() error { return e.resources.Seed(tx, azure.SeedSubscriptionID, azure.SeedTenantID, "amlocal") },
		func() error {
			return e.resources.SeedGroup(tx, azure.SeedSubscriptionID, azure.SeedResourceGroup, azure.SeedLocation)
		},
		func() error { return e.entra.PutPrincipal(tx, owner) },
		func() error { return e.entra.SetSecret(tx, owner.AppID, e.secrets.OwnerSecret) },
		func() error {
			_, err := e.assignments.Assign(tx, owner, ownerRole, seedSubscription, owner.ObjectID)
			return err
		},
		func() error {
			return e.storage.SeedAccount(tx, azure.MustParseResourceID(seedStorage), azure.SeedLocation)
		},
		func() error {
			return e.seedPlain(tx, seedRegistry, "Microsoft.ContainerRegistry/registries", map[string]any{"loginServer": azure.SeedRegistry + ".azurecr.io"})
		},
		func() error {
			return e.seedPlain(tx, seedVault, "Microsoft.KeyVault/vaults", map[string]any{"vaultUri": "https://" + azure.SeedKeyVault + ".vault.azure.net/", "enableRbacAuthorization": true})
		},
		func() error {
			return e.ml.SeedWorkspace(tx, azure.MustParseResourceID(seedWorkspace), azure.SeedLocation, seedStorage, seedRegistry, seedVault, seedAuthor)
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// seedPlain puts a resource whose provider is not built yet: it can be named
// as a scope, and the workspace can point at it.
func (e *Emulator) seedPlain(tx store.Tx, id, resourceType string, properties map[string]any) error {
	now := e.config.Clock.Now()
	return arm.Put(tx, &arm.Record{ID: id, Type: resourceType, CreatedAt: now, ModifiedAt: now, CreatedBy: seedAuthor, ModifiedBy: seedAuthor,
		Document: arm.Document{"location": azure.SeedLocation, "tags": map[string]any{}, "properties": properties}})
}
