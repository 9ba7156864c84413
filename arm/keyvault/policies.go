package keyvault

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// putPolicies is PUT vaults/{name}/accessPolicies/{add, replace or remove}:
// policies are matched by tenant, object and application.
func (p *Provider) putPolicies(w http.ResponseWriter, r *arm.Request) error {
	doc, err := r.Document()
	if err != nil {
		return err
	}
	operation := strings.ToLower(r.Name)
	if operation != "add" && operation != "replace" && operation != "remove" {
		return errPolicyOperation(r.Name)
	}
	if v, _ := doc.Get("properties", "accessPolicies"); v == nil {
		return errValue("accessPolicies")
	}
	if err := checkPolicies(doc); err != nil {
		return err
	}
	vault, ok := r.ID.Parent()
	if !ok {
		return errPolicyOperation(r.Name)
	}
	rec, err := p.change(r, vault, func(rec *arm.Record) error {
		merged := policies(rec.Document)
		for _, given := range policies(doc) {
			merged = merge(merged, given, operation)
		}
		if len(merged) > maxPolicies {
			return errValue("accessPolicies")
		}
		items := make([]any, len(merged))
		for i, m := range merged {
			items[i] = m
		}
		rec.Document.Set(items, "properties", "accessPolicies")
		return nil
	})
	if err != nil {
		return err
	}
	return arm.Reply(w, http.StatusOK, arm.Document{
		"id": vault.String() + "/accessPolicies/", "type": policyType, "location": rec.Document["location"],
		"properties": map[string]any{"accessPolicies": list(rec.Document, "properties", "accessPolicies")},
	})
}

// merge applies one policy to a vault's: add joins permissions, replace takes
// their place, remove takes them away, and the policy with the last of them.
func merge(have []map[string]any, given map[string]any, operation string) []map[string]any {
	for i, old := range have {
		if !samePolicy(old, given) {
			continue
		}
		out := append([]map[string]any{}, have...)
		if operation == "replace" {
			out[i] = given
			return out
		}
		combined := arm.Document(old).Clone()
		left := 0
		for noun := range permissions {
			joined := combine(list(combined, "permissions", noun), list(given, "permissions", noun), operation)
			if joined != nil {
				combined.Set(joined, "permissions", noun)
			}
			left += len(joined)
		}
		if left == 0 {
			return append(out[:i], out[i+1:]...)
		}
		out[i] = combined
		return out
	}
	if operation == "remove" {
		return have
	}
	return append(have, given)
}

func samePolicy(a, b arm.Document) bool {
	for _, name := range []string{"tenantId", "objectId", "applicationId"} {
		if !strings.EqualFold(a.String(name), b.String(name)) {
			return false
		}
	}
	return true
}

// combine joins or subtracts permissions; nil for none.
func combine(have, given []any, operation string) []any {
	var out []any
	for _, name := range have {
		if operation == "add" || !holds(given, name) {
			out = append(out, name)
		}
	}
	if operation == "add" {
		for _, name := range given {
			if !holds(out, name) {
				out = append(out, name)
			}
		}
	} else if out == nil && have != nil {
		out = []any{}
	}
	return out
}

func holds(names []any, name any) bool {
	want, _ := name.(string)
	for _, n := range names {
		if s, _ := n.(string); strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}
