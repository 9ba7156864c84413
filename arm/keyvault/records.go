package keyvault

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

const (
	namespace = "Microsoft.KeyVault"
	vaultType = namespace + "/vaults"
)

// defaultRetention is how many days a deleted vault or secret can come back.
const defaultRetention = 90

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
	}
	for _, raw := range policies(d) {
		p := arm.Document(raw)
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
