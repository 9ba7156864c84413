package amlocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	err = e.store.Update(ctx, func(tx store.Tx) error {
		if w != nil {
			if err := tx.Put(seedBucket, unfinishedKey, []byte(e.config.World)); err != nil {
				return err
			}
		}
		return e.seedAll(tx)
	})
	if err != nil {
		return fmt.Errorf("seed the state folder: %w", err)
	}
	if w == nil {
		return nil
	}
	if err := e.applyWorld(ctx, w); err != nil {
		return fmt.Errorf("world file %s: %w", e.config.World, err)
	}
	return e.store.Update(ctx, func(tx store.Tx) error { return tx.Delete(seedBucket, unfinishedKey) })
}

// While a world is being applied the store says so. A start that finds this
// begins anew: a world with a mistake, or a kill, leaves nothing half-made.
const seedBucket = "seed"

var unfinishedKey = []byte("unfinished")

// openStore opens the store, and empties it first if it is half-made.
func (e *Emulator) openStore(ctx context.Context) (err error) {
	dir := e.path(storeDir)
	open := func() error {
		e.store, err = store.Open(ctx, dir, store.Options{Durability: e.config.Durability, Clock: e.config.Clock, Logf: e.config.Logf})
		return err
	}
	if err := open(); err != nil {
		return err
	}
	unfinished := false
	err = e.store.View(ctx, func(tx store.ReadTx) error {
		_, unfinished = tx.Get(seedBucket, unfinishedKey)
		return nil
	})
	if err == nil && !unfinished {
		return nil
	}
	if err = errors.Join(err, e.store.Close()); err != nil {
		return err
	}
	e.config.Logf("the world file was not applied to the end; the state folder begins anew")
	if err := e.beginAnew(dir); err != nil {
		return fmt.Errorf("remove what an unfinished start left: %w", err)
	}
	return open()
}

func (e *Emulator) beginAnew(dir string) error {
	release, err := store.Hold(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.Name() != store.LockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(err, os.RemoveAll(e.path(imagesFile)), release())
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
			return e.keyvault.SeedVault(tx, azure.MustParseResourceID(seedVault), azure.SeedLocation, true, seedAuthor)
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
