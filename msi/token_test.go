package msi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/msi"
	"github.com/amlocal/amlocal/store"
)

// e is MSI_ENDPOINT of the vectors.
const e = "http://amlocal.internal:8911" + msi.Path

const v2017 = "?api-version=2017-09-01"

func TestAzureMLTokens(t *testing.T) {
	covers.R(t, "R-504", "R-505", "R-506", "R-507", "R-510", "R-524", "R-1009")
	w := newWorld(t)
	for _, c := range []struct {
		name, target string
		headers      []string
		who          azure.Principal
		aud          string
	}{
		{"M01", e + v2017 + "&resource=" + st, []string{"secret", secret}, idA, st},
		{"M02", e + "?resource=" + st + "/", []string{"secret", secret, "Metadata", "true"}, idA, st + "/"},
		{"M03", e + "?clientid=" + idB.AppID + "&resource=" + st + "/", []string{"secret", secret, "Metadata", "true"}, idB, st + "/"},
		{"M04", e + v2017 + "&clientid=&resource=" + st, []string{"secret", secret}, idA, st},
		{"M05", e + v2017 + "&clientid=clientid&resource=" + st, []string{"secret", secret}, idA, st},
		{"M06", e + v2017 + "&clientid=" + idA.AppID + "&resource=" + st, []string{"secret", secret}, idA, st},
		{"M07", e + v2017 + "&resource=https%3A%2F%2Fstorage.azure.com", []string{"secret", secret}, idA, st},
		{"M08", e + v2017 + "&resource=" + st, []string{"SECRET", secret}, idA, st},
		{"M13 lenient", e + v2017 + "&client_id=" + idB.AppID + "&resource=" + st, []string{"secret", secret}, idB, st},
		{"M14", e + v2017 + "&object_id=" + idB.ObjectID + "&resource=" + st, []string{"secret", secret}, idB, st},
		{"M15 msi_res_id", e + v2017 + "&msi_res_id=" + rb + "&resource=" + st, []string{"secret", secret}, idB, st},
		{"M15 resource_id", e + v2017 + "&resource_id=" + strings.ToLower(rb) + "&resource=" + st, []string{"secret", secret}, idB, st},
		{"M16", e + "/" + v2017 + "&resource=" + st, []string{"secret", secret}, idA, st},
		{"M20", e + v2017 + "&resource=https://MyVault.vault.azure.net", []string{"secret", secret}, idA, "https://MyVault.vault.azure.net"},
		{"M21", e + v2017 + "&resource=e406a681-f3d4-42a8-90b6-c2b029497af1", []string{"secret", secret}, idA, "e406a681-f3d4-42a8-90b6-c2b029497af1"},
		{"A05", e + v2017 + "&clientid=" + strings.ToUpper(idB.AppID) + "&resource=" + st, []string{"secret", secret}, idB, st},
		{"alias", "http://localhost:46809/MSI/token" + v2017 + "&resource=" + st, []string{"secret", secret}, idA, st},
		{"alias, slash", "http://127.0.0.1:46808/MSI/auth/" + v2017 + "&resource=" + st, []string{"secret", secret}, idA, st},
		{"doubled slashes", "http://h:8911//v1//token/msi/xds" + v2017 + "&resource=" + st, []string{"secret", secret}, idA, st},
		{"unknown version and parameters", e + "?api-version=3000-01-01&x=y&resource=" + st, []string{"secret", secret, "Content-Type", "application/x-www-form-urlencoded"}, idA, st},
		{"the same selector twice", e + "?clientid=" + idB.AppID + "&clientid=" + idB.AppID + "&resource=" + st, []string{"secret", secret}, idB, st},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(w, get(c.target), c.headers...)
			w.wantToken(t, a, c.who, c.aud)
			if len(a.body) != 5 || a.body["expires_on"] != float64(epoch.Unix()+86400) || a.body["expires_in"] != 86399.0 {
				t.Errorf("want the five recorded fields, integers: %s", a.raw)
			}
		})
	}
}

func TestAzureMLRefusals(t *testing.T) {
	covers.R(t, "R-511", "R-1004", "R-1005", "R-1006", "R-1008")
	w := newWorld(t)
	const stranger = "abababab-0000-0000-0000-000000000000"
	for _, c := range []struct {
		name, target, secret string
		status               int
		says                 string
	}{
		{"M05b placeholder", e + v2017 + "&clientid=uai_client_id_place_holder&resource=" + st, secret, 400, "uai_client_id_place_holder"},
		{"M09 no secret", e + v2017 + "&resource=" + st, "", 401, "secret"},
		{"M10 wrong secret", e + v2017 + "&resource=" + st, "wrong", 401, "secret"},
		{"M11 no resource", e + v2017, secret, 400, "resource"},
		{"M11 empty resource", e + v2017 + "&resource=", secret, 400, "resource"},
		{"M12 stranger", e + v2017 + "&clientid=" + stranger + "&resource=" + st, secret, 400, stranger},
		{"another endpoint's identity", e + v2017 + "&clientid=" + idD.AppID + "&resource=" + st, secret, 400, idD.AppID},
		{"object id of a stranger", e + "?object_id=" + idB.AppID + "&resource=" + st, secret, 400, "object_id"},
		{"the endpoint's own ARM id", e + "?msi_res_id=" + idA.ResourceID + "&resource=" + st, secret, 400, "msi_res_id"},
		{"two selectors", e + "?clientid=" + idB.AppID + "&object_id=" + idB.ObjectID + "&resource=" + st, secret, 400, "clientid, object_id"},
		{"two values", e + "?clientid=" + idB.AppID + "&clientid=" + idA.AppID + "&resource=" + st, secret, 400, "clientid"},
		{"two resources", e + "?resource=" + st + "&resource=" + st + "/", secret, 400, "resource"},
		{"unknown resource", e + "?resource=https://nope.example", secret, 400, "AADSTS500011"},
		{"scope for resource", e + "?resource=" + st + "/.default", secret, 400, "AADSTS500011"},
		{"bad escape", e + "?resource=%zz", secret, 400, "parameters"},
		{"semicolon", e + "?resource=" + st + ";x", secret, 400, "parameters"},
		{"no such path", "http://h:8911/other", secret, 404, "/other"},
		{"dot segments", "http://h:8911/v1/x/../token/msi/xds?resource=" + st, secret, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := get("http://h/")
			r.URL.Path, r.URL.RawQuery, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(c.target, "http://h:8911"), "http://amlocal.internal:8911"), "?")
			headers := []string{"Metadata", "true"}
			if c.secret != "" {
				headers = append(headers, "secret", c.secret)
			}
			wantError(t, ask(w, r, headers...), c.status, c.says)
		})
	}
}

func TestAppServiceTokens(t *testing.T) {
	covers.R(t, "R-509", "R-524")
	w := newWorld(t)
	const base = e + "?api-version=2019-08-01&resource=" + st
	for _, c := range []struct {
		name, query string
		who         azure.Principal
	}{
		{"A01", "", idA},
		{"A02 client_id", "&client_id=" + idB.AppID, idB},
		{"A02 object_id", "&object_id=" + idB.ObjectID, idB},
		{"A02 principal_id", "&principal_id=" + idB.ObjectID, idB},
		{"A02 mi_res_id", "&mi_res_id=" + rb, idB},
		{"clientid, lenient", "&clientid=" + idB.AppID, idB},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(w, get(base+c.query), "X-IDENTITY-HEADER", secret)
			w.wantToken(t, a, c.who, st)
			if len(a.body) != 5 || a.body["expires_on"] != "1772452800" || a.body["client_id"] != c.who.AppID {
				t.Errorf("want the five documented fields, expires_on a string: %s", a.raw)
			}
		})
	}
	t.Run("A03", func(t *testing.T) {
		wantError(t, ask(w, get(base+"&client_id="+idB.AppID+"&mi_res_id="+rb), "X-IDENTITY-HEADER", secret), 400, "client_id, mi_res_id")
	})
	t.Run("A04", func(t *testing.T) {
		wantError(t, ask(w, get(base), "X-IDENTITY-HEADER", "wrong"), 401, "secret")
	})
	t.Run("a right secret beside a wrong header", func(t *testing.T) {
		wantError(t, ask(w, get(base), "X-IDENTITY-HEADER", "wrong", "secret", secret), 401, "secret")
	})
}

func TestStrict(t *testing.T) {
	w := newWorld(t, strict)
	for _, headers := range [][]string{{}, {"secret", "wrong"}} { // M09, M10
		a := ask(w, get(e+v2017+"&resource="+st), headers...)
		if a.status != 401 || a.raw != "Invalid secret token header: ." || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%d %q", a.status, a.raw)
		}
	}
	// M13
	wantError(t, ask(w, get(e+v2017+"&client_id="+idB.AppID+"&resource="+st), "secret", secret), 400, "clientid")
	for _, query := range []string{"&clientid=", "&msi_res_id=" + rb, "&resource_id=" + rb} {
		if strings.HasSuffix(query, "=") {
			query += idB.AppID
		}
		wantError(t, ask(w, get(e+"?resource="+st+query), "X-IDENTITY-HEADER", secret), 400, "not supported")
	}
	w.wantToken(t, ask(w, get(e+v2017+"&clientid="+idB.AppID+"&resource="+st), "secret", secret), idB, st)
}

func TestCloudShell(t *testing.T) {
	shell := func(r *http.Request) *http.Request { return r.WithContext(msi.WithOwner(r.Context(), owner)) }
	post := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, e, strings.NewReader("resource="+st))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	t.Run("M17 and M18 refused", func(t *testing.T) {
		covers.R(t, "R-1008")
		w := newWorld(t)
		wantError(t, ask(w, shell(post()), "Metadata", "true"), 401, "secret")
		wantError(t, ask(w, shell(get(e+"?resource="+st)), "Metadata", "true"), 401, "secret")
	})
	t.Run("M17 and M18 allowed", func(t *testing.T) {
		w := newWorld(t, cloudShell)
		w.wantToken(t, ask(w, shell(post()), "Metadata", "true"), idA, st)
		w.wantToken(t, ask(w, shell(get(e+"?resource="+st)), "Metadata", "true"), idA, st)
		wantError(t, ask(w, shell(get(e+"?client_id="+idB.AppID+"&resource="+st))), 400, "client_id")
	})
	t.Run("allowed, but nobody knows the sender", func(t *testing.T) {
		w := newWorld(t, cloudShell)
		wantError(t, ask(w, post(), "Metadata", "true"), 401, "secret")
	})
	t.Run("POST with a secret", func(t *testing.T) {
		w := newWorld(t, cloudShell)
		a := ask(w, post(), "secret", secret)
		wantError(t, a, 405, "GET")
		if a.header.Get("Allow") != "GET" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
		wantError(t, ask(w, httptest.NewRequest(http.MethodPut, e, nil), "secret", secret), 405, "GET")
	})
}

func TestDefaultIdentity(t *testing.T) {
	covers.R(t, "R-1005", "R-1007")
	for _, c := range []struct {
		name     string
		assigned msi.Assigned
		query    string
		who      *azure.Principal
		says     string
	}{
		{"M22 none", msi.Assigned{}, "", nil, "No managed identity"},
		{"none, one asked for", msi.Assigned{}, "&clientid=" + idB.AppID, nil, idB.AppID},
		{"one user-assigned", msi.Assigned{User: []azure.Principal{idB}}, "", &idB, ""},
		{"one user-assigned, literal word", msi.Assigned{User: []azure.Principal{idB}}, "&clientid=clientid", &idB, ""},
		{"several user-assigned", msi.Assigned{User: []azure.Principal{idB, idD}}, "", nil, idD.AppID},
		{"several, one named", msi.Assigned{User: []azure.Principal{idB, idD}}, "&clientid=" + idD.AppID, &idD, ""},
		{"system-assigned first", msi.Assigned{System: &idA, User: []azure.Principal{idB, idD}}, "", &idA, ""},
		{"user-assigned asked of a system-assigned endpoint", msi.Assigned{System: &idA}, "&clientid=" + idB.AppID, nil, idB.AppID},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.attached[owner] = c.assigned
			a := ask(w, get(e+"?resource="+st+c.query), "secret", secret)
			if c.who != nil {
				w.wantToken(t, a, *c.who, st)
				return
			}
			wantError(t, a, 400, c.says)
		})
	}
}

func TestSecretsBelongToOneDeployment(t *testing.T) {
	covers.R(t, "R-503", "R-1008")
	w := newWorld(t)
	r := get(e + "?resource=" + st)
	w.wantToken(t, ask(w, r, "secret", "s4"), idD, st)
	// The data path knows who sends: then the secret must be that one's.
	sent := r.WithContext(msi.WithOwner(r.Context(), owner))
	wantError(t, ask(w, sent, "secret", "s4"), 401, "secret")
	wantError(t, ask(w, sent, "X-IDENTITY-HEADER", "s4"), 401, "secret")
	w.wantToken(t, ask(w, sent, "X-IDENTITY-HEADER", secret), idA, st)
}

func TestRepeatedRequestsAgree(t *testing.T) { // M19
	covers.R(t, "R-508")
	w := newWorld(t)
	first := ask(w, get(e+v2017+"&resource="+st), "secret", secret)
	w.clock.Advance(90*time.Second + time.Millisecond)
	second := ask(w, get(e+v2017+"&resource="+st), "secret", secret)
	if first.body["access_token"] != second.body["access_token"] || first.body["expires_on"] != second.body["expires_on"] {
		t.Error("want the same token")
	}
	if second.body["expires_in"] != 86309.0 {
		t.Errorf("expires_in %v after 90 s", second.body["expires_in"])
	}
}

func TestDeletedIdentityGetsNoToken(t *testing.T) {
	covers.R(t, "R-1024")
	w := newWorld(t)
	r := func() *http.Request { return get(e + "?clientid=" + idB.AppID + "&resource=" + st) }
	w.wantToken(t, ask(w, r(), "secret", secret), idB, st)
	err := w.docs.Update(t.Context(), func(tx store.Tx) error { return w.entra.DeletePrincipal(tx, idB.ObjectID) })
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, ask(w, r(), "secret", secret), 400, idB.AppID) // the endpoint still lists it
}

type failing struct{ err error }

func (f failing) IdentitiesOf(context.Context, string) (msi.Assigned, error) {
	return msi.Assigned{}, f.err
}

func TestControlPlaneFailures(t *testing.T) {
	t.Run("a deployment that is gone is no 404", func(t *testing.T) {
		w := newWorld(t, func(d *msi.Deps) { d.Identities = failing{httpx.Errorf(404, "ResourceNotFound", "gone")} })
		wantError(t, ask(w, get(e+"?resource="+st), "secret", secret), 400, "No managed identity")
	})
	t.Run("anything else is a 500 that says nothing", func(t *testing.T) {
		w := newWorld(t, func(d *msi.Deps) { d.Identities = failing{errors.New("disk on fire")} })
		a := ask(w, get(e+"?resource="+st), "secret", secret)
		wantError(t, a, 500, "")
		if strings.Contains(a.raw, "fire") {
			t.Error(a.raw)
		}
		if entry := w.log.Recent(1, false)[0]; !strings.Contains(entry.Cause, "disk on fire") || entry.Instance != "ep/blue" {
			t.Errorf("%+v", entry)
		}
	})
}

func TestTheLogHoldsNoSecret(t *testing.T) {
	w := newWorld(t)
	const wrong = "a-wrong-secret-value"
	ask(w, get(e+"?resource="+st), "secret", wrong)
	ask(w, get(e+"?resource="+st), "X-IDENTITY-HEADER", wrong)
	for _, entry := range w.log.Recent(9, false) {
		if strings.Contains(entry.Cause+entry.Path+entry.Code+entry.Instance, wrong) {
			t.Errorf("%+v", entry)
		}
	}
}
