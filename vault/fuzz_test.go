package vault

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzTarget: whatever a path holds, a name that passes is one, and the path the
// router sees has no empty segment.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/secrets/a", "//Secrets/a/", "/secrets/a%2Fb/c", "/deletedsecrets/a/recover", "/secrets/restore", "/secrets/%zz", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest(http.MethodGet, "https://v.vault.azure.net/", nil)
		r.URL.Path = "/" + path
		routed, target := parseTarget(r)
		if target.badName == "" && (target.name != "" && !validName(target.name) || target.version != "" && !validName(target.version)) {
			t.Errorf("%q gives %+v", path, target)
		}
		if strings.Contains(routed.URL.EscapedPath(), "//") {
			t.Errorf("%q is routed as %s", path, routed.URL.EscapedPath())
		}
	})
}

// FuzzPeek: a refused token's claims are quoted, never trusted, and never a
// reason to fall over.
func FuzzPeek(f *testing.F) {
	for _, seed := range []string{"", "a.b.c", "e30.eyJhdWQiOiJ4IiwiaXNzIjoieSJ9.c2ln", "...", "e30.bnVsbA.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if aud, iss := peek(raw); strings.Count(raw, ".") != 2 && aud+iss != "" {
			t.Errorf("%q gives %q %q", raw, aud, iss)
		}
	})
}

// FuzzBackup: no blob but our own opens.
func FuzzBackup(f *testing.F) {
	w := officer(f)
	w.set(byRoles, "name", "x")
	good := w.want(http.StatusOK, alice, http.MethodPost, byRoles, "/secrets/name/backup", "").value()
	for _, seed := range []string{good, good + "A", good[:20], "", "AAAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if blob, ok := w.svc.open(value); ok && blob.Name != "name" {
			t.Errorf("%q opens as %+v", value, blob)
		}
	})
}
