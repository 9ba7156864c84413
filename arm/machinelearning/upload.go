package machinelearning

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// startPendingUpload makes a private container of its own for one upload, as
// Azure does for code assets, and hands out a SAS for it.
func (p *Provider) startPendingUpload(w http.ResponseWriter, r *arm.Request) error {
	if _, err := r.OptionalDocument(); err != nil {
		return err
	}
	container := uuid.NewString()
	var account azure.ResourceID
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		ws, err := workspaceOf(tx, r.ID)
		if err != nil {
			return err
		}
		if account, err = azure.ParseResourceID(ws.Document.String("properties", "storageAccount")); err != nil {
			return err
		}
		return p.deps.Blobs.CreateContainer(tx, account.Name(), container)
	})
	if err != nil {
		return err
	}
	now := p.deps.Clock.Now()
	sas, err := p.deps.Blobs.ContainerSAS(r.Context(), account.Name(), container, "rcwl", now.Add(-15*time.Minute), now.Add(8*time.Hour))
	if err != nil {
		return err
	}
	uri := "https://" + account.Name() + ".blob.core.windows.net/" + container
	return arm.Reply(w, http.StatusOK, arm.Document{
		"pendingUploadId": container, "pendingUploadType": "TemporaryBlobReference",
		"blobReferenceForConsumption": map[string]any{
			"blobUri": uri, "storageAccountArmId": account.String(),
			"credential": map[string]any{"credentialType": "SAS", "sasUri": uri + "?" + sas},
		}})
}
