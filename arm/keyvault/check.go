package keyvault

import (
	"slices"
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// maxPolicies is how many access policies a vault can hold.
const maxPolicies = 1024

// permissions are what a policy can give, by the noun it gives it for.
var permissions = map[string][]string{
	"secrets":      {"all", "get", "list", "set", "delete", "backup", "restore", "recover", "purge"},
	"keys":         {"all", "encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify", "get", "list", "create", "update", "import", "delete", "backup", "restore", "recover", "purge", "release", "rotate", "getrotationpolicy", "setrotationpolicy"},
	"certificates": {"all", "get", "list", "delete", "create", "import", "update", "managecontacts", "getissuers", "listissuers", "setissuers", "deleteissuers", "manageissuers", "recover", "purge", "backup", "restore"},
	"storage":      {"all", "get", "list", "delete", "set", "update", "regeneratekey", "recover", "purge", "backup", "restore", "setsas", "listsas", "getsas", "deletesas"},
}

// validVaultName is the rule for names: 3 to 24 letters, digits and hyphens,
// from a letter to a letter or digit, no two hyphens in a row.
func validVaultName(name string) bool {
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		if !letter && (i == 0 || !digit && c != '-') {
			return false
		}
	}
	return len(name) >= 3 && len(name) <= 24 && !strings.HasSuffix(name, "-") && !strings.Contains(name, "--")
}

// strip takes out what a client may echo but not set.
func strip(doc arm.Document) {
	for _, name := range []string{"id", "name", "type", "systemData", "etag"} {
		delete(doc, name)
	}
	for _, name := range []string{"vaultUri", "provisioningState", "hsmPoolResourceId", "privateEndpointConnections"} {
		doc.Delete("properties", name)
	}
}

// check looks at the fields that Azure validates and we act upon. What is
// required for a new vault is checked in create.
func check(doc arm.Document) error {
	for _, name := range []string{"properties", "tags"} {
		if v, given := doc[name]; given && v != nil && doc.Object(name) == nil {
			return errValue(name)
		}
	}
	if v, given := doc.Get("properties", "sku"); given && v != nil {
		if name := doc.String("properties", "sku", "name"); !strings.EqualFold(name, "standard") && !strings.EqualFold(name, "premium") {
			return errValue("sku")
		}
		if !strings.EqualFold(doc.String("properties", "sku", "family"), "A") {
			return errValue("sku")
		}
	}
	for _, name := range []string{"enableRbacAuthorization", "enableSoftDelete", "enablePurgeProtection", "enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment"} {
		if v, given := doc.Get("properties", name); given && v != nil {
			if _, isBool := v.(bool); !isBool {
				return errValue(name)
			}
		}
	}
	if v, given := doc.Get("properties", "softDeleteRetentionInDays"); given && v != nil {
		if days, ok := number(v); !ok || days < 7 || days > 90 {
			return errValue("softDeleteRetentionInDays")
		}
	}
	if v, given := doc.Get("properties", "publicNetworkAccess"); given && v != nil {
		if s, _ := v.(string); s != "" && !strings.EqualFold(s, "Enabled") && !strings.EqualFold(s, "Disabled") && !strings.EqualFold(s, "SecuredByPerimeter") {
			return errValue("publicNetworkAccess")
		}
	}
	if !doc.Bool(true, "properties", "enableSoftDelete") {
		return errSoftDelete()
	}
	return checkPolicies(doc)
}

func checkPolicies(doc arm.Document) error {
	v, given := doc.Get("properties", "accessPolicies")
	if !given || v == nil {
		return nil
	}
	items, isList := v.([]any)
	if !isList || len(items) > maxPolicies {
		return errValue("accessPolicies")
	}
	for _, item := range items {
		m, _ := item.(map[string]any)
		p := arm.Document(m)
		if p.String("tenantId") == "" || p.String("objectId") == "" || p.Object("permissions") == nil {
			return errValue("accessPolicies")
		}
		for noun, known := range permissions {
			for _, name := range list(p, "permissions", noun) {
				s, _ := name.(string)
				if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, s) }) {
					return errValue("accessPolicies")
				}
			}
		}
	}
	return nil
}
