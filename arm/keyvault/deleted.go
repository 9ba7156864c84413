package keyvault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// deletedBucket holds soft-deleted vaults by lower-cased name: a name stays
// taken until the vault is purged or its retention is over.
const deletedBucket = "keyvault.deleted"

// deletedVault is a soft-deleted vault. Its secrets stay where they are.
type deletedVault struct {
	Record  *arm.Record `json:"record"`
	Deleted time.Time   `json:"deleted"`
	Purge   time.Time   `json:"purge"`
}

func (d deletedVault) location() string { return d.Record.Document.String("location") }

func (d deletedVault) body() arm.Document {
	sub := d.Record.ResourceID().SubscriptionID()
	return arm.Document{
		"id":   "/subscriptions/" + sub + "/providers/" + namespace + "/locations/" + d.location() + "/deletedVaults/" + d.Record.Name(),
		"name": d.Record.Name(), "type": deletedListType,
		"properties": map[string]any{
			"vaultId": d.Record.ID, "location": d.location(), "tags": d.Record.Document["tags"],
			"deletionDate": d.Deleted.UTC().Format(time.RFC3339), "scheduledPurgeDate": d.Purge.UTC().Format(time.RFC3339),
			"purgeProtectionEnabled": d.Record.Document.Bool(false, "properties", "enablePurgeProtection"),
		},
	}
}

// softDelete takes a vault away but for its secrets. Role assignments at the
// vault end, as documented, and do not come back when it is recovered.
func (p *Provider) softDelete(tx store.Tx, rec *arm.Record) error {
	now := p.deps.Clock.Now()
	raw, err := json.Marshal(deletedVault{Record: rec, Deleted: now, Purge: now.AddDate(0, 0, retention(rec.Document))})
	if err != nil {
		return err
	}
	name := strings.ToLower(rec.Name())
	if err := tx.Put(deletedBucket, []byte(name), raw); err != nil {
		return err
	}
	if err := p.deps.Assignments.RemoveUnder(tx, rec.ID); err != nil {
		return err
	}
	if err := tx.Delete(namesBucket, []byte(name)); err != nil {
		return err
	}
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.vaults, name)
	})
	return arm.Delete(tx, rec.ID)
}

// deleted finds a soft-deleted vault by name.
func (p *Provider) deleted(tx store.ReadTx, name string) (d deletedVault, ok bool, err error) {
	raw, ok := tx.Get(deletedBucket, []byte(strings.ToLower(name)))
	if !ok {
		return d, false, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // documents keep their numbers as written
	if err := dec.Decode(&d); err != nil {
		return d, false, fmt.Errorf("read deleted vault %s: %w", name, err)
	}
	return d, p.deps.Clock.Now().Before(d.Purge), nil
}

// purge ends a vault for good, with its secrets.
func (p *Provider) purge(tx store.Tx, name string) error {
	if err := p.deps.Secrets.DeleteVault(tx, name); err != nil {
		return err
	}
	return tx.Delete(deletedBucket, []byte(strings.ToLower(name)))
}

// recover brings a vault back with its properties and secrets.
func (p *Provider) recover(tx store.Tx, r *arm.Request) (*arm.Record, error) {
	d, ok, err := p.deleted(tx, r.Name)
	if err != nil {
		return nil, err
	}
	if !ok || !strings.EqualFold(d.Record.ID, r.ID.String()) {
		return nil, errNothingToRecover(r.Name)
	}
	if err := tx.Delete(deletedBucket, []byte(strings.ToLower(r.Name))); err != nil {
		return nil, err
	}
	return d.Record, p.claim(tx, d.Record)
}

func (p *Provider) listDeleted(w http.ResponseWriter, r *arm.Request) error {
	var items []arm.Document
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		for k := range tx.Scan(deletedBucket, nil, nil) {
			d, ok, err := p.deleted(tx, string(k))
			if err != nil {
				return err
			}
			if ok && strings.EqualFold("/subscriptions/"+d.Record.ResourceID().SubscriptionID(), r.Scope) {
				items = append(items, d.body())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return arm.ReplyList(w, items)
}

// found is the deleted vault a request addresses.
func (p *Provider) found(tx store.ReadTx, r *arm.Request) (deletedVault, error) {
	d, ok, err := p.deleted(tx, r.Name)
	if err != nil {
		return d, err
	}
	if !ok || !strings.EqualFold(d.body().String("id"), r.ID.String()) {
		return d, errDeletedNotFound(r.Name)
	}
	return d, nil
}

func (p *Provider) getDeleted(w http.ResponseWriter, r *arm.Request) error {
	var body arm.Document
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		d, err := p.found(tx, r)
		if err == nil {
			body = d.body()
		}
		return err
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, body)
}

// purgeDeleted is a long-running operation of Azure's that ends here with its
// first answer.
func (p *Provider) purgeDeleted(w http.ResponseWriter, r *arm.Request) error {
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		d, err := p.found(tx, r)
		if err != nil {
			return err
		}
		if d.Record.Document.Bool(false, "properties", "enablePurgeProtection") {
			return errPurgeNotAllowed()
		}
		return p.purge(tx, r.Name)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
