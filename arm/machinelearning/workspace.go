package machinelearning

import (
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// parentExists answers 404 for a scope inside this provider that is not there;
// subscriptions and groups are the front's to check.
func parentExists(tx store.ReadTx, scope string) error {
	id, err := azure.ParseResourceID(scope)
	if err != nil || !strings.EqualFold(id.Namespace(), namespace) {
		return nil
	}
	_, err = must(tx, id)
	return err
}

// workspaceOf is the workspace a resource lies in.
func workspaceOf(tx store.ReadTx, id azure.ResourceID) (*arm.Record, error) {
	ws, ok := id.Ancestor(workspaceType)
	if !ok {
		return nil, arm.NotFound(id)
	}
	return must(tx, ws)
}

// listWorkspaces shows the workspaces of a subscription or group that the caller
// may read.
func (p *Provider) listWorkspaces(w http.ResponseWriter, r *arm.Request) error {
	recs, err := r.Visible(workspaceType)
	if err != nil {
		return err
	}
	items := make([]arm.Document, 0, len(recs))
	for _, rec := range recs {
		items = append(items, body(rec))
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) putWorkspace(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := arm.Get(tx, r.ID.String())
		if err != nil {
			return err
		}
		if !exists {
			old = nil
			if err := mayUseAccount(r, doc.String("properties", "storageAccount")); err != nil {
				return err
			}
		}
		rec, err = p.workspaceRecord(tx, r.ID, doc, old, r.Author())
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body(rec)) // the SDKs take 200 and 202 only, for a new one too
}

// mayUseAccount asks for the right to the keys of the account a new workspace
// names: who may list the workspace's keys has them. That ARM asks exactly this
// is unverified; that it asks is known.
func mayUseAccount(r *arm.Request, account string) error {
	id, err := azure.ParseResourceID(account)
	if err != nil {
		return nil // refused as no account's id
	}
	if d, ok := r.Ask(azure.Check{Action: "Microsoft.Storage/storageAccounts/listKeys/action", Scope: id.String()}); !ok {
		return errLinked(d, r.ID)
	}
	return nil
}

// workspaceRecord writes a workspace and, for a new one, its default
// datastore with its container.
func (p *Provider) workspaceRecord(tx store.Tx, id azure.ResourceID, doc arm.Document, old *arm.Record, who arm.Author) (*arm.Record, error) {
	for _, readOnly := range []string{"id", "name", "type", "systemData"} {
		delete(doc, readOnly)
	}
	rec := &arm.Record{ID: id.String(), Type: workspaceType}
	if old != nil {
		rec = old
		if have, want := old.Document.String("properties", "storageAccount"), doc.String("properties", "storageAccount"); want != "" && !strings.EqualFold(have, want) {
			return nil, arm.BadRequest("ValidationError", "The storage account of the workspace '%s' cannot be changed once the workspace has been created.", id.Name())
		}
		properties := old.Document.Object("properties").Merge(doc.Object("properties"))
		doc = old.Document.Merge(doc)
		doc.Set(map[string]any(properties), "properties")
	}
	doc.Default(azure.SeedLocation, "location")
	doc.Default("Default", "kind")
	doc.Default(map[string]any{"name": "Basic", "tier": "Basic"}, "sku")
	doc.Default(map[string]any{"type": "SystemAssigned", "principalId": uuid.NewString(), "tenantId": p.deps.TenantID}, "identity")
	doc.Default(id.Name(), "properties", "friendlyName")
	doc.Default(uuid.NewString(), "properties", "workspaceId")
	doc.Default("Enabled", "properties", "publicNetworkAccess")
	doc.Default(false, "properties", "hbiWorkspace")
	doc.Default(false, "properties", "v1LegacyMode")
	doc.Default(nil, "properties", "containerRegistry")
	region := doc.String("location")
	doc.Set("https://"+region+".api.azureml.ms/discovery", "properties", "discoveryUrl")
	doc.Set("azureml://"+region+".api.azureml.ms/mlflow/v1.0"+id.String(), "properties", "mlFlowTrackingUri")
	doc.Set("Succeeded", "properties", "provisioningState")
	storage, err := azure.ParseResourceID(doc.String("properties", "storageAccount"))
	if err != nil {
		return nil, arm.BadRequest("ValidationError", "Missing dependent resources in workspace json: properties.storageAccount must be the id of a storage account.")
	}
	if _, ok, err := arm.Get(tx, storage.String()); err != nil || !ok {
		if err == nil {
			err = arm.BadRequest("ValidationError", "The storage account '%s' does not exist.", storage)
		}
		return nil, err
	}
	rec.Document = doc
	p.stamp(rec, who)
	if err := arm.Put(tx, rec); err != nil {
		return nil, err
	}
	if old != nil {
		return rec, nil
	}
	if err := p.deps.Blobs.CreateContainer(tx, storage.Name(), azure.SeedContainer); err != nil {
		return nil, err
	}
	datastore := &arm.Record{ID: id.Child("datastores", azure.SeedDatastore).String(), Type: datastoreType, Document: arm.Document{
		"properties": map[string]any{
			"datastoreType": "AzureBlob", "isDefault": true, "accountName": storage.Name(), "containerName": azure.SeedContainer,
			"endpoint": "core.windows.net", "protocol": "https", "description": nil, "tags": map[string]any{}, "properties": map[string]any{},
			"serviceDataAccessAuthIdentity": "None", "resourceGroup": storage.ResourceGroup(), "subscriptionId": storage.SubscriptionID(),
			"credentials": map[string]any{"credentialsType": "AccountKey"},
		}}}
	p.stamp(datastore, who)
	return rec, arm.Put(tx, datastore)
}

// SeedWorkspace makes the workspace of a fresh emulator, or of a world file.
func (p *Provider) SeedWorkspace(tx store.Tx, id azure.ResourceID, location, storageAccount, registry, vault string, who arm.Author) error {
	properties := map[string]any{"storageAccount": storageAccount}
	if registry != "" {
		properties["containerRegistry"] = registry
	}
	if vault != "" {
		properties["keyVault"] = vault
	}
	_, err := p.workspaceRecord(tx, id, arm.Document{"location": location, "tags": map[string]any{}, "properties": properties}, nil, who)
	return err
}

func (p *Provider) patchWorkspace(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	var rec *arm.Record
	err = p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		old, err := must(tx, r.ID)
		if err != nil {
			return err
		}
		rec, err = p.workspaceRecord(tx, r.ID, doc, old, r.Author())
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body(rec))
}

// deleteWorkspace refuses while endpoints exist: their instances and
// principals have an owner of their own.
func (p *Provider) deleteWorkspace(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusOK
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if _, ok, err := arm.Get(tx, r.ID.String()); err != nil || !ok {
			status = http.StatusNoContent
			return err
		}
		endpoints, err := arm.List(tx, r.ID.String(), endpointType)
		if err != nil {
			return err
		}
		if len(endpoints) > 0 {
			return arm.Conflict("Conflict", "The workspace '%s' has %d online endpoint(s); delete them first.", r.ID.Name(), len(endpoints))
		}
		computes, err := arm.List(tx, r.ID.String(), computeType)
		if err != nil {
			return err
		}
		for _, compute := range computes {
			if err := p.removeCompute(tx, compute); err != nil {
				return err
			}
		}
		children, err := arm.List(tx, r.ID.String(), "")
		if err != nil {
			return err
		}
		for _, child := range children {
			if err := arm.Delete(tx, child.ID); err != nil {
				return err
			}
		}
		if err := p.deps.Assignments.RemoveUnder(tx, r.ID.String()); err != nil {
			return err
		}
		return arm.Delete(tx, r.ID.String())
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

func (p *Provider) listWorkspaceKeys(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	storage := rec.Document.String("properties", "storageAccount")
	account, err := azure.ParseResourceID(storage)
	if err != nil {
		return err
	}
	key, err := p.deps.Blobs.AccountKey(r.Context(), account.Name())
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, arm.Document{"userStorageResourceId": storage, "userStorageKey": key})
}
