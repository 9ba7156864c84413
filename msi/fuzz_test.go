package msi_test

import (
	"net/http"
	"testing"
)

// FuzzQuery: whatever the query, the answer is JSON, a token only ever names an
// identity attached to the endpoint, and its audience is the resource asked for.
func FuzzQuery(f *testing.F) {
	w := newWorld(f)
	for _, seed := range []string{
		"resource=" + st, "resource=" + st + "&clientid=" + idB.AppID, "resource=" + st + "&clientid=clientid", "resource=%zz",
		"resource=" + st + "&clientid=" + idD.AppID, "resource=a&resource=b", ";", "&&&", "resource=" + st + "&object_id=" + idB.ObjectID + "&mi_res_id=" + rb,
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, query string, app bool) {
		r := get(e)
		r.URL.RawQuery = query
		header := "secret"
		if app {
			header = "X-IDENTITY-HEADER"
		}
		a := ask(w, r, header, secret)
		raw, _ := a.body["access_token"].(string)
		switch a.status {
		case http.StatusOK:
			claims := decode(t, raw)
			if claims["oid"] != idA.ObjectID && claims["oid"] != idB.ObjectID {
				t.Errorf("%q gave a token of %v", query, claims["oid"])
			}
			if claims["aud"] != a.body["resource"] {
				t.Errorf("%q: aud %v, resource %v", query, claims["aud"], a.body["resource"])
			}
		case http.StatusBadRequest:
			wantError(t, a, http.StatusBadRequest, "")
		default:
			t.Errorf("%q: %d %s", query, a.status, a.raw)
		}
	})
}
