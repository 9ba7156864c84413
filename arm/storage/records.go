package storage

import (
	"strings"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// namesBucket makes account names unique within a transaction: name to id.
const namesBucket = "storage.names"

// claim takes the account's name for its id.
func (p *Provider) claim(tx store.Tx, rec *arm.Record) error {
	name := []byte(strings.ToLower(rec.Name()))
	if owner, taken := tx.Get(namesBucket, name); taken && !strings.EqualFold(string(owner), rec.ID) {
		return errAccountTaken(rec.Name())
	}
	return tx.Put(namesBucket, name, []byte(strings.ToLower(rec.ID)))
}

// putAccount completes a record with defaults, read-only properties and keys,
// writes it, and tells the data plane once committed.
func (p *Provider) putAccount(tx store.Tx, rec *arm.Record) error {
	if rec.Secret == nil {
		rec.Secret = arm.Document{}
	}
	for _, key := range []string{"key1", "key2"} {
		if rec.Secret.String(key) == "" {
			p.renewKey(rec, key)
		}
	}
	complete(rec)
	if err := arm.Put(tx, rec); err != nil {
		return err
	}
	account := accountOf(rec)
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.accounts[strings.ToLower(account.Name)] = account
	})
	return nil
}

func (p *Provider) renewKey(rec *arm.Record, key string) {
	rec.Secret[key] = newKey()
	rec.Document.Set(timestamp(p.deps.Clock.Now()), "properties", "keyCreationTime", key)
}

func (p *Provider) removeAccount(tx store.Tx, rec *arm.Record) error {
	name := strings.ToLower(rec.Name())
	if err := p.deps.Blobs.DeleteAccount(tx, name); err != nil {
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
		delete(p.accounts, name)
	})
	return arm.Delete(tx, rec.ID)
}

func accountOf(rec *arm.Record) Account {
	d := rec.Document
	return Account{
		Name: rec.Name(), ResourceID: rec.ID,
		Keys:                  [2]string{rec.Secret.String("key1"), rec.Secret.String("key2")},
		AllowBlobPublicAccess: d.Bool(false, "properties", "allowBlobPublicAccess"),
		AllowSharedKey:        d.Bool(true, "properties", "allowSharedKeyAccess"),
		SKU:                   d.String("sku", "name"), Kind: d.String("kind"), HNS: d.Bool(false, "properties", "isHnsEnabled"),
		Network: networkOf(d),
	}
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// readOnly are the properties a client may echo but not set.
var readOnly = []string{
	"provisioningState", "creationTime", "keyCreationTime", "primaryEndpoints", "primaryLocation", "statusOfPrimary",
	"secondaryEndpoints", "secondaryLocation", "statusOfSecondary", "privateEndpointConnections", "geoReplicationStats",
}

// complete fills in what Azure would.
func complete(rec *arm.Record) {
	d, name := rec.Document, rec.Name()
	sku := d.String("sku", "name")
	tier, _, _ := strings.Cut(sku, "_")
	d.Set(strings.TrimSuffix(tier, "V2"), "sku", "tier")
	d.Default(map[string]any{}, "tags")
	set := func(value any, path ...string) { d.Set(value, append([]string{"properties"}, path...)...) }
	def := func(value any, path ...string) { d.Default(value, append([]string{"properties"}, path...)...) }
	set("Succeeded", "provisioningState")
	set(timestamp(rec.CreatedAt), "creationTime")
	set(d.String("location"), "primaryLocation")
	set("available", "statusOfPrimary")
	endpoints := map[string]any{}
	for _, service := range []string{"blob", "dfs", "file", "queue", "table"} {
		endpoints[service] = "https://" + name + "." + service + ".core.windows.net/"
	}
	set(endpoints, "primaryEndpoints")
	set([]any{}, "privateEndpointConnections")
	def(false, "allowBlobPublicAccess")
	def("TLS1_2", "minimumTlsVersion")
	def(true, "supportsHttpsTrafficOnly")
	if d.String("kind") != "Storage" {
		def("Hot", "accessTier")
	}
	since := timestamp(rec.CreatedAt)
	def("Microsoft.Storage", "encryption", "keySource")
	for _, service := range []string{"blob", "file"} {
		def(map[string]any{"enabled": true, "keyType": "Account", "lastEnabledTime": since}, "encryption", "services", service)
	}
	def("AzureServices", "networkAcls", "bypass")
	def("Allow", "networkAcls", "defaultAction")
	def([]any{}, "networkAcls", "ipRules")
	def([]any{}, "networkAcls", "virtualNetworkRules")
}
