package machinelearning

import (
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

func (p *Provider) listDatastores(w http.ResponseWriter, r *arm.Request) error {
	wantDefault := strings.EqualFold(r.URL.Query().Get("isDefault"), "true")
	items, err := p.list(r, datastoreType, func(rec *arm.Record) bool {
		return !wantDefault || rec.Document.Bool(false, "properties", "isDefault")
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) putDatastore(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	if doc.String("properties", "datastoreType") == "" {
		return errInvalid("properties.datastoreType is required.")
	}
	rec := &arm.Record{ID: r.ID.String(), Type: datastoreType}
	if secrets := doc.Object("properties", "credentials", "secrets"); secrets != nil {
		rec.Secret = arm.Document{"secrets": map[string]any(secrets)}
		doc.Delete("properties", "credentials", "secrets")
	}
	doc.Default(false, "properties", "isDefault")
	doc.Default("None", "properties", "credentials", "credentialsType")
	return p.write(w, r, rec, doc, nil)
}

// write puts a plain child resource of a workspace and answers 201 or 200.
// also, when not nil, runs first in the same transaction.
func (p *Provider) write(w http.ResponseWriter, r *arm.Request, rec *arm.Record, doc arm.Document, also func(store.Tx) error) error {
	parent, _ := r.ID.Parent()
	if err := checkAssetName(r.Name, parent.Name()); err != nil {
		return err
	}
	for _, readOnly := range []string{"id", "name", "type", "systemData"} {
		delete(doc, readOnly)
	}
	status := http.StatusCreated
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		if _, err := workspaceOf(tx, r.ID); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		old, ok, err := arm.Get(tx, r.ID.String())
		if err != nil {
			return err
		}
		if ok {
			status = http.StatusOK
			rec.ID, rec.CreatedAt, rec.CreatedBy = old.ID, old.CreatedAt, old.CreatedBy
		}
		rec.Document = doc
		p.stamp(rec, r.Author())
		return arm.Put(tx, rec)
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, status, body(rec))
}

// listDatastoreSecrets hands out a SAS when the caller asks for an expirable
// secret, as azure-ai-ml does, and the account key otherwise.
func (p *Provider) listDatastoreSecrets(w http.ResponseWriter, r *arm.Request) error {
	wish, err := r.OptionalDocument()
	if err != nil {
		return err
	}
	rec, err := p.view(r.Context(), r.ID)
	if err != nil {
		return err
	}
	if secrets := rec.Secret.Object("secrets"); secrets != nil {
		return arm.Reply(w, http.StatusOK, secrets)
	}
	account, container := rec.Document.String("properties", "accountName"), rec.Document.String("properties", "containerName")
	if err := p.ownAccount(r, rec, account); err != nil {
		return err
	}
	if kind := rec.Document.String("properties", "credentials", "credentialsType"); !strings.EqualFold(kind, "AccountKey") {
		return arm.BadRequest("UserError", "The datastore '%s' has no credentials (credentialsType is %s).", rec.Name(), kind)
	}
	if wish.Bool(false, "expirableSecret") {
		hours := 1
		if n, ok := number(wish["expireAfterHours"]); ok && n > 0 {
			hours = n
		}
		now := p.deps.Clock.Now()
		sas, err := p.deps.Blobs.ContainerSAS(r.Context(), account, container, "racwdl", now.Add(-15*time.Minute), now.Add(time.Duration(hours)*time.Hour))
		if err != nil {
			return err
		}
		return arm.Reply(w, http.StatusOK, arm.Document{"secretsType": "Sas", "sasToken": sas})
	}
	key, err := p.deps.Blobs.AccountKey(r.Context(), account)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, arm.Document{"secretsType": "AccountKey", "key": key})
}

// ownAccount refuses to speak for an account that is not the workspace's:
// whoever writes a datastore over another must bring its credentials.
func (p *Provider) ownAccount(r *arm.Request, rec *arm.Record, account string) error {
	return p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		ws, err := workspaceOf(tx, r.ID)
		if err != nil {
			return err
		}
		own, err := azure.ParseResourceID(ws.Document.String("properties", "storageAccount"))
		if err != nil {
			return err
		}
		if !strings.EqualFold(own.Name(), account) {
			return arm.BadRequest("UserError", "The datastore '%s' was registered without credentials for the storage account '%s'.", rec.Name(), account)
		}
		return nil
	})
}
