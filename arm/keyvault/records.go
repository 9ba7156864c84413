package keyvault

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// namesBucket makes vault names unique within a transaction: name to id.
const namesBucket = "keyvault.names"

// defaultRetention is how many days a deleted vault or secret can come back.
const defaultRetention = 90

// taken reports whether a name belongs to a vault, deleted ones included.
func (p *Provider) taken(tx store.ReadTx, name string) (bool, error) {
	if _, taken := tx.Get(namesBucket, []byte(strings.ToLower(name))); taken {
		return true, nil
	}
	_, taken, err := p.deleted(tx, name)
	return taken, err
}

// claim takes the vault's name for its id. What a vault of that name left whose
// retention is over goes now.
func (p *Provider) claim(tx store.Tx, rec *arm.Record) error {
	name := []byte(strings.ToLower(rec.Name()))
	if owner, taken := tx.Get(namesBucket, name); taken && !strings.EqualFold(string(owner), rec.ID) {
		return errTaken(rec.Name())
	}
	d, kept, err := p.deleted(tx, rec.Name())
	switch {
	case err != nil:
		return err
	case kept && strings.EqualFold(d.Record.ID, rec.ID):
		return errInDeletedState()
	case kept:
		return errTaken(rec.Name())
	case d.Record != nil:
		if err := p.purge(tx, rec.Name()); err != nil {
			return err
		}
	}
	return tx.Put(namesBucket, name, []byte(strings.ToLower(rec.ID)))
}

// putVault completes a record, writes it, and tells the data plane once
// committed.
func (p *Provider) putVault(tx store.Tx, rec *arm.Record) error {
	complete(rec)
	if err := arm.Put(tx, rec); err != nil {
		return err
	}
	v := vaultOf(rec)
	tx.OnCommit(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.vaults[strings.ToLower(v.Name)] = v
	})
	return nil
}

// complete fills in what Azure would.
func complete(rec *arm.Record) {
	d := rec.Document
	d.Default(map[string]any{}, "tags")
	set := func(value any, name string) { d.Set(value, "properties", name) }
	def := func(value any, name string) { d.Default(value, "properties", name) }
	set("https://"+strings.ToLower(rec.Name())+".vault.azure.net/", "vaultUri")
	set("Succeeded", "provisioningState")
	def([]any{}, "accessPolicies")
	def(false, "enabledForDeployment")
	def(true, "enableSoftDelete")
	def(json.Number(strconv.Itoa(defaultRetention)), "softDeleteRetentionInDays")
	def(false, "enableRbacAuthorization")
	def("Enabled", "publicNetworkAccess")
}

func vaultOf(rec *arm.Record) Vault {
	d := rec.Document
	v := Vault{
		Name: rec.Name(), ResourceID: rec.ID, Location: d.String("location"), TenantID: d.String("properties", "tenantId"),
		RBAC:            d.Bool(false, "properties", "enableRbacAuthorization"),
		PurgeProtection: d.Bool(false, "properties", "enablePurgeProtection"),
		RetentionDays:   retention(d),
		Closed:          strings.EqualFold(d.String("properties", "publicNetworkAccess"), "Disabled"),
		Walled: strings.EqualFold(d.String("properties", "networkAcls", "defaultAction"), "Deny") &&
			len(list(d, "properties", "networkAcls", "ipRules")) == 0 && len(list(d, "properties", "networkAcls", "virtualNetworkRules")) == 0,
	}
	for _, raw := range policies(d) {
		p := arm.Document(raw)
		if p.String("applicationId") != "" {
			// It is for the two together, an application on behalf of the
			// principal; tokens of applications on behalf of users are not here.
			continue
		}
		policy := Policy{TenantID: p.String("tenantId"), ObjectID: p.String("objectId")}
		for _, name := range list(p, "permissions", "secrets") {
			if s, ok := name.(string); ok {
				policy.Secrets = append(policy.Secrets, s)
			}
		}
		v.Policies = append(v.Policies, policy)
	}
	return v
}

// retention is the vault's soft-delete retention in days.
func retention(d arm.Document) int {
	raw, _ := d.Get("properties", "softDeleteRetentionInDays")
	if n, ok := number(raw); ok {
		return n
	}
	return defaultRetention
}

func number(v any) (int, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case int:
		return v, true
	}
	return 0, false
}

func list(d arm.Document, path ...string) []any {
	v, _ := d.Get(path...)
	items, _ := v.([]any)
	return items
}

// policies are the objects in properties.accessPolicies.
func policies(d arm.Document) []map[string]any {
	var out []map[string]any
	for _, item := range list(d, "properties", "accessPolicies") {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
