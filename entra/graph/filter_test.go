package graph

import "testing"

// FuzzFilter: whatever is asked, the filter is understood or refused, and what
// it keeps was there.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"", "displayName eq 'a'", "startswith(displayName,'a') and appId eq 'b'", "servicePrincipalNames/any(c:c eq 'x')",
		"displayName eq ''''", "(displayName eq 'a')", "((", "' and '", "a/any(b:c eq 'd')",
	} {
		f.Add(seed)
	}
	objects := []object{{"displayName": "a", "appId": "b", "servicePrincipalNames": []string{"x"}, "accountEnabled": true}}
	f.Fuzz(func(t *testing.T, filter string) {
		if found, err := where("servicePrincipals", filter, objects); err == nil && len(found) > len(objects) {
			t.Errorf("%q: %v", filter, found)
		}
	})
}
