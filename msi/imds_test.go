package msi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/msi"
)

const (
	imdsHost = "http://169.254.169.254"
	imdsPath = "/metadata/identity/oauth2/token"
)

// from marks a request as the data path does.
func from(r *http.Request, owner string) *http.Request {
	return r.WithContext(msi.WithOwner(r.Context(), owner))
}

func TestIMDSTokens(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, path, query string
		who               azure.Principal
	}{
		{"I01", imdsPath, "?api-version=2018-02-01&resource=" + st, idA},
		{"I05", imdsPath + "/", "?api-version=2018-02-01&resource=" + st, idA},
		{"I06 //", "/" + imdsPath, "?api-version=2018-02-01&resource=" + st, idA},
		{"I06 ///", "//" + imdsPath + "/", "?api-version=2018-02-01&resource=" + st, idA},
		{"I07 client_id", imdsPath, "?api-version=2018-02-01&resource=" + st + "&client_id=" + idB.AppID, idB},
		{"I07 object_id", imdsPath, "?api-version=2018-02-01&resource=" + st + "&object_id=" + idB.ObjectID, idB},
		{"I07 msi_res_id", imdsPath, "?api-version=2018-02-01&resource=" + st + "&msi_res_id=" + rb, idB},
		{"I07 mi_res_id", imdsPath, "?api-version=2018-02-01&resource=" + st + "&mi_res_id=" + rb, idB},
		{"I07 resource_id", imdsPath, "?api-version=2018-02-01&resource=" + st + "&resource_id=" + rb, idB},
		{"I09", imdsPath, "?api-version=2019-08-01&resource=" + st, idA},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := from(get(imdsHost+"/"+c.query), owner)
			r.URL.Path = c.path
			a := ask(w.IMDS(), r, "Metadata", "true")
			w.wantToken(t, a, c.who, st)
			for name, want := range map[string]any{
				"client_id": c.who.AppID, "expires_in": "86399", "ext_expires_in": "86399",
				"expires_on": "1772452800", "not_before": "1772366100",
			} {
				if a.body[name] != want {
					t.Errorf("%s = %v, want %v", name, a.body[name], want)
				}
			}
		})
	}
}

func TestIMDSRefusals(t *testing.T) {
	w := newWorld(t)
	const full = imdsHost + imdsPath + "?api-version=2018-02-01&resource=" + st
	for _, c := range []struct {
		name, target, metadata, owner, code, says string
	}{
		{"I02", full, "", owner, "bad_request_102", "metadata header"},
		{"I03 True", full, "True", owner, "bad_request_102", "metadata header"},
		{"I03 1", full, "1", owner, "bad_request_102", "metadata header"},
		{"I04", imdsHost + imdsPath, "", owner, "bad_request_102", "metadata header"},
		{"no api-version", imdsHost + imdsPath + "?resource=" + st, "true", owner, "bad_request_101", "api-version"},
		{"no resource", imdsHost + imdsPath + "?api-version=2018-02-01", "true", owner, "bad_request_101", "resource"},
		{"I08", full + "&client_id=" + idD.AppID, "true", owner, "invalid_request", "Identity not found"},
		{"I11", imdsHost + imdsPath + "?api-version=2018-02-01&resource=https://nope.example", "true", owner, "invalid_resource", "AADSTS500011"},
		{"not an instance", full, "true", "", "invalid_request", "Identity not found"},
		{"no identity", full, "true", "/nobody", "invalid_request", "Identity not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := get(c.target)
			if c.owner != "" {
				r = from(r, c.owner)
			}
			if c.metadata != "" {
				r.Header.Set("Metadata", c.metadata)
			}
			a := ask(w.IMDS(), r)
			description, _ := a.body["error_description"].(string)
			if a.status != 400 || len(a.body) != 2 || a.body["error"] != c.code || !strings.Contains(description, c.says) {
				t.Errorf("%d %s", a.status, a.raw)
			}
		})
	}
	t.Run("I10", func(t *testing.T) {
		w.attached[owner] = msi.Assigned{User: []azure.Principal{idB}}
		w.wantToken(t, ask(w.IMDS(), from(get(full), owner), "Metadata", "true"), idB, st)
		w.attached[owner] = msi.Assigned{User: []azure.Principal{idB, idD}}
		if a := ask(w.IMDS(), from(get(full), owner), "Metadata", "true"); a.status != 400 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("other paths", func(t *testing.T) {
		if a := ask(w.IMDS(), from(get(imdsHost+"/metadata/instance"), owner), "Metadata", "true"); a.status != 404 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
}
