package storage

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
)

func keysBody(rec *arm.Record) arm.Document {
	keys := []any{}
	for _, name := range []string{"key1", "key2"} {
		keys = append(keys, map[string]any{
			"keyName": name, "value": rec.Secret.String(name), "permissions": "FULL",
			"creationTime": rec.Document.String("properties", "keyCreationTime", name),
		})
	}
	return arm.Document{"keys": keys}
}

// listKeys ignores `$expand=kerb`: there are no Kerberos keys without Azure
// Files.
func (p *Provider) listKeys(w http.ResponseWriter, r *arm.Request) error {
	rec, err := p.find(r)
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, keysBody(rec))
}

func (p *Provider) regenerateKey(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	name := doc.String("keyName")
	if name != "key1" && name != "key2" {
		return errValues("keyName")
	}
	rec, err := p.change(r, func(rec *arm.Record) error {
		p.renewKey(rec, name)
		return nil
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, keysBody(rec))
}
