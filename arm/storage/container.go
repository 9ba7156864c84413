package storage

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// owner is the account a container request is about.
func owner(tx store.ReadTx, r *arm.Request) (*arm.Record, error) {
	id, err := azure.ParseResourceID(r.Scope)
	if !r.ID.IsZero() {
		id, err = r.ID, nil
	}
	if err != nil {
		return nil, err
	}
	account, ok := id.Ancestor(accountType)
	if !ok {
		return nil, arm.NotFound(id)
	}
	service, _ := id.Ancestor(serviceType)
	if !service.IsZero() && service.Name() != "default" {
		return nil, errServiceName(service.Name())
	}
	rec, ok, err := arm.Get(tx, account.String())
	if err == nil && !ok {
		err = arm.NotFound(account)
	}
	return rec, err
}

func serviceID(account *arm.Record) string { return account.ID + "/blobServices/default" }

func (p *Provider) service(r *arm.Request) (body arm.Document, err error) {
	err = p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		account, err := owner(tx, r)
		if err != nil {
			return err
		}
		body = arm.Document{
			"id": serviceID(account), "name": "default", "type": serviceType, "sku": account.Document["sku"],
			"properties": map[string]any{
				"cors":                  map[string]any{"corsRules": []any{}},
				"deleteRetentionPolicy": map[string]any{"enabled": false, "allowPermanentDelete": false},
			},
		}
		return nil
	})
	return body, err
}

func (p *Provider) getService(w http.ResponseWriter, r *arm.Request) error {
	body, err := p.service(r)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body)
}

func (p *Provider) listServices(w http.ResponseWriter, r *arm.Request) error {
	body, err := p.service(r)
	if err != nil {
		return err
	}
	return arm.ReplyList(w, []arm.Document{body})
}

// validContainerName is Azure's rule: 3 to 63 of a-z, 0-9 and single dashes
// inside, or one of the three names of the system.
func validContainerName(name string) bool {
	switch name {
	case "$root", "$web", "$logs":
		return true
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(name) >= 3 && len(name) <= 63 && !strings.Contains(name, "--") && name[0] != '-' && name[len(name)-1] != '-'
}

func containerBody(account *arm.Record, c Container) arm.Document {
	properties := map[string]any{
		"publicAccess": c.PublicAccess, "leaseStatus": "Unlocked", "leaseState": "Available",
		"lastModifiedTime": timestamp(c.Modified), "hasImmutabilityPolicy": false, "hasLegalHold": false, "deleted": false,
		"defaultEncryptionScope": "$account-encryption-key", "denyEncryptionScopeOverride": false,
		"remainingRetentionDays": 0, "immutableStorageWithVersioning": map[string]any{"enabled": false},
	}
	if len(c.Metadata) > 0 {
		properties["metadata"] = c.Metadata
	}
	return arm.Document{"id": serviceID(account) + "/containers/" + c.Name, "name": c.Name, "type": containerType, "etag": c.ETag, "properties": properties}
}

// settings lays a request's properties upon a container.
func settings(c Container, account *arm.Record, doc arm.Document) (Container, error) {
	properties := doc.Object("properties")
	if v, given := properties["publicAccess"]; given && v != nil {
		c.PublicAccess = ""
		for _, level := range []string{"None", "Blob", "Container"} {
			if strings.EqualFold(level, properties.String("publicAccess")) {
				c.PublicAccess = level
			}
		}
		if c.PublicAccess == "" {
			return c, errValues("publicAccess")
		}
	}
	if c.PublicAccess != "None" && !accountOf(account).AllowBlobPublicAccess {
		return c, errPublicAccess()
	}
	if v, given := properties["metadata"]; given && v != nil {
		c.Metadata = map[string]string{}
		for name, value := range properties.Object("metadata") {
			text, ok := value.(string)
			if !ok {
				return c, errValues("metadata")
			}
			c.Metadata[name] = text
		}
	}
	return c, nil
}

func (p *Provider) putContainer(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.OptionalDocument()
	if err != nil {
		return err
	}
	if !validContainerName(r.Name) {
		return errContainerName()
	}
	return p.writeContainer(w, r, doc, false)
}

func (p *Provider) patchContainer(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	return p.writeContainer(w, r, doc, true)
}

func (p *Provider) writeContainer(w http.ResponseWriter, r *arm.Request, doc arm.Document, mustExist bool) error {
	status := http.StatusOK
	var body arm.Document
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		account, err := owner(tx, r)
		if err != nil {
			return err
		}
		name := strings.ToLower(account.Name())
		c, ok, err := p.deps.Blobs.Container(tx, name, r.Name)
		switch {
		case err != nil:
			return err
		case !ok && mustExist:
			return errContainerNotFound()
		case !ok:
			c = Container{Name: r.Name, PublicAccess: "None"}
			status = http.StatusCreated
		}
		if c, err = settings(c, account, doc); err != nil {
			return err
		}
		if _, err = p.deps.Blobs.PutContainer(tx, name, c); err != nil {
			return err
		}
		if c, _, err = p.deps.Blobs.Container(tx, name, r.Name); err != nil {
			return err
		}
		body = containerBody(account, c)
		return nil
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, status, body)
}

func (p *Provider) getContainer(w http.ResponseWriter, r *arm.Request) error {
	var body arm.Document
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		account, err := owner(tx, r)
		if err != nil {
			return err
		}
		c, ok, err := p.deps.Blobs.Container(tx, strings.ToLower(account.Name()), r.Name)
		if err != nil {
			return err
		}
		if !ok {
			return errContainerNotFound()
		}
		body = containerBody(account, c)
		return nil
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body)
}

func (p *Provider) listContainers(w http.ResponseWriter, r *arm.Request) error {
	var items []arm.Document
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		account, err := owner(tx, r)
		if err != nil {
			return err
		}
		containers, err := p.deps.Blobs.Containers(tx, strings.ToLower(account.Name()))
		for _, c := range containers {
			items = append(items, containerBody(account, c))
		}
		return err
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) deleteContainer(w http.ResponseWriter, r *arm.Request) error {
	status := http.StatusNoContent
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		account, err := owner(tx, r)
		if err != nil {
			return err
		}
		existed, err := p.deps.Blobs.DeleteContainer(tx, strings.ToLower(account.Name()), r.Name)
		if err != nil || !existed {
			return err
		}
		status = http.StatusOK
		return p.deps.Assignments.RemoveUnder(tx, r.ID.String())
	})
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}
