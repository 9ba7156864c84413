package entra

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

const login = "https://login.microsoftonline.com/"

func form(pairs ...string) url.Values {
	v := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {appC}, "client_secret": {"pw"},
		"scope": {storageURI + "/.default"},
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		} else {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func TestTokenV2(t *testing.T) {
	covers.R(t, "R-524")
	w := newWorld(t)
	for _, c := range []struct{ name, target, scope, aud string }{
		{"E04", tid + "/oauth2/v2.0/token", storageURI + "/.default", storageURI},
		{"E05 Go's scopes", tid + "/oauth2/v2.0/token", storageURI + "/.default openid offline_access profile", storageURI},
		{"E06 double slash", tid + "/oauth2/v2.0/token", storageURI + "//.default", storageURI + "/"},
		{"E15 query", tid + "/oauth2/v2.0/token?client-request-id=x", storageURI + "/.default", storageURI},
		{"domain", domain + "/oauth2/v2.0/token", "https://management.core.windows.net//.default", "https://management.core.windows.net/"},
		{"tenant case", strings.ToUpper(tid) + "/oauth2/v2.0/token", armURI + "/.default", armURI},
		{"one account", tid + "/oauth2/v2.0/token", "https://Acct.blob.core.windows.net/.default", "https://Acct.blob.core.windows.net"},
		{"guid", tid + "/oauth2/v2.0/token", "e406a681-f3d4-42a8-90b6-c2b029497af1/.default", "e406a681-f3d4-42a8-90b6-c2b029497af1"},
		{"ml", tid + "/oauth2/v2.0/token", "https://ml.azure.com/.default", "https://ml.azure.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.post(t, login+c.target, form("scope", c.scope, "client_info", "1", "x-client-sku", "MSAL.js"))
			if a.status != 200 || a.body["token_type"] != "Bearer" || a.body["expires_in"] != 3599.0 || a.body["ext_expires_in"] != 3599.0 {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store, no-cache" {
				t.Errorf("Cache-Control %q", got)
			}
			raw := a.body["access_token"].(string)
			want := map[string]any{
				"aud": c.aud, "iss": "https://sts.windows.net/" + tid + "/", "idp": "https://sts.windows.net/" + tid + "/",
				"appid": appC, "appidacr": "1", "oid": principalC.ObjectID, "sub": principalC.ObjectID, "tid": tid,
				"idtyp": "app", "ver": "1.0",
				"iat": float64(epoch.Unix() - 300), "nbf": float64(epoch.Unix() - 300), "exp": float64(epoch.Unix() + 3600),
			}
			got := part(t, raw, 1)
			if got["uti"] == "" || got["rh"] == "" {
				t.Errorf("claims lack uti or rh: %v", got)
			}
			delete(got, "uti")
			delete(got, "rh")
			if len(got) != len(want) {
				t.Errorf("claims %v, want exactly %v", got, want)
			}
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s = %v, want %v", k, got[k], v)
				}
			}
			header := part(t, raw, 0)
			if header["alg"] != "RS256" || header["typ"] != "JWT" || header["kid"] == "" || header["kid"] != header["x5t"] {
				t.Errorf("header %v", header)
			}
			if _, err := w.Verify(t.Context(), raw, []string{c.aud}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTokenV1(t *testing.T) {
	w := newWorld(t)
	a := w.post(t, login+tid+"/oauth2/token", form("scope", "", "resource", armURI+"/"))
	for k, v := range map[string]any{
		"token_type": "Bearer", "expires_in": "3599", "ext_expires_in": "3599", "resource": armURI + "/",
		"expires_on": "1772370000", "not_before": "1772366100",
	} {
		if a.body[k] != v {
			t.Errorf("%s = %v, want %v", k, a.body[k], v)
		}
	}
	if aud := part(t, a.body["access_token"].(string), 1)["aud"]; aud != armURI+"/" {
		t.Errorf("aud %v", aud)
	}
}

func TestTokenErrors(t *testing.T) {
	w := newWorld(t)
	w.update(t, func(tx store.Tx) error { return w.AddSecret(tx, appC, "old", epoch.Add(-time.Second)) })
	assertion := func(claims string) string {
		return strings.TrimRight(b64(`{"alg":"RS256"}`), "=") + "." + strings.TrimRight(b64(claims), "=") + ".c2ln"
	}
	const v2 = tid + "/oauth2/v2.0/token"
	for _, c := range []struct {
		name, target string
		form         url.Values
		status       int
		code         string
		number       float64
	}{
		{"E07 wrong secret", v2, form("client_secret", "nope"), 401, "invalid_client", 7000215},
		{"expired secret", v2, form("client_secret", "old"), 401, "invalid_client", 7000222},
		{"E08 unknown app", v2, form("client_id", "99999999-9999-9999-9999-999999999999"), 400, "unauthorized_client", 700016},
		{"managed identity has no secret", v2, form("client_id", systemA.AppID), 400, "unauthorized_client", 700016},
		{"E09 unknown tenant", "unknown-tid/oauth2/v2.0/token", form(), 400, "invalid_request", 90002},
		{"E09 before the form", "unknown-tid/oauth2/v2.0/token", url.Values{}, 400, "invalid_request", 90002},
		{"common", "common/oauth2/v2.0/token", form(), 400, "invalid_request", 90019},
		{"E10 unknown resource", v2, form("scope", "https://nope.example/.default"), 400, "invalid_resource", 500011},
		{"E11 no scope", v2, form("scope", ""), 400, "invalid_request", 900144},
		{"no client_id", v2, form("client_id", ""), 400, "invalid_request", 900144},
		{"no grant", v2, form("grant_type", ""), 400, "invalid_request", 900144},
		{"empty body", v2, url.Values{}, 400, "invalid_request", 900144},
		{"no credential", v2, form("client_secret", ""), 401, "invalid_client", 7000216},
		{"scope without default", v2, form("scope", storageURI+"/user_impersonation"), 400, "invalid_scope", 1002012},
		{"oidc scopes only", v2, form("scope", "openid profile"), 400, "invalid_scope", 1002012},
		{"bare default", v2, form("scope", "/.default"), 400, "invalid_scope", 1002012},
		{"two resources", v2, form("scope", storageURI+"/.default "+armURI+"/.default"), 400, "invalid_scope", 28000},
		{"unknown grant", v2, form("grant_type", "magic"), 400, "unsupported_grant_type", 70003},
		{"password grant without a user", v2, form("grant_type", "password"), 400, "invalid_request", 900144},
		{"application that does not prove itself", v2, form("grant_type", "password", "client_secret", ""), 401, "invalid_client", 7000218},
		{"public client as itself", v2, form("client_id", cliAppID, "client_secret", ""), 401, "invalid_client", 7000216},
		{"public client with a secret", v2, form("client_id", cliAppID), 401, "invalid_client", 700025},
		{"v1 no resource", tid + "/oauth2/token", form(), 400, "invalid_request", 900144},
		{"twice", v2, url.Values{"grant_type": {"client_credentials"}, "client_id": {appC, "x"}}, 400, "invalid_request", 9002313},
		{"certificate", v2, form("client_secret", "", "client_assertion_type", jwtBearer, "client_assertion", assertion(`{"iss":"`+appC+`","sub":"`+appC+`"}`)), 401, "invalid_client", 700027},
		{"federated", v2, form("client_secret", "", "client_assertion_type", jwtBearer, "client_assertion", assertion(`{"iss":"https://kube","sub":"sa"}`)), 401, "invalid_client", 70021},
		{"assertion malformed", v2, form("client_secret", "", "client_assertion_type", jwtBearer, "client_assertion", "x"), 401, "invalid_client", 50027},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.post(t, login+c.target, c.form)
			codes, _ := a.body["error_codes"].([]any)
			if a.status != c.status || a.body["error"] != c.code || len(codes) != 1 || codes[0] != c.number {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			if _, leaked := a.body["access_token"]; leaked {
				t.Error("an error with a token")
			}
			description := a.body["error_description"].(string)
			number := strings.TrimPrefix(strings.SplitN(description, ":", 2)[0], "AADSTS")
			if a.body["error_uri"] != "https://login.microsoftonline.com/error?code="+number {
				t.Errorf("error_uri %v, description %q", a.body["error_uri"], description)
			}
			for _, line := range []string{"\r\nTrace ID: ", "\r\nCorrelation ID: ", "\r\nTimestamp: 2026-03-01 12:00:00Z"} {
				if !strings.Contains(description, line) {
					t.Errorf("description lacks %q", line)
				}
			}
			for _, key := range []string{"trace_id", "correlation_id", "timestamp"} {
				if a.body[key] == "" || a.body[key] == nil {
					t.Errorf("no %s", key)
				}
			}
		})
	}
}

func TestTokenEndpointManners(t *testing.T) {
	w := newWorld(t)
	t.Run("GET", func(t *testing.T) {
		a := w.get(t, login+tid+"/oauth2/v2.0/token")
		if a.status != 400 || a.body["error_codes"].([]any)[0] != 900561.0 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("not imitated", func(t *testing.T) {
		if a := w.get(t, login+tid+"/saml2"); a.status != 404 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("Basic credentials", func(t *testing.T) {
		f := form("client_id", "", "client_secret", "")
		r := httptest.NewRequest(http.MethodPost, login+tid+"/oauth2/v2.0/token", strings.NewReader(f.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(appC, "pw")
		if a := w.do(t, r); a.status != 200 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("correlation id is the client's", func(t *testing.T) {
		const id = "abcdefab-0000-4000-8000-000000000001"
		r := httptest.NewRequest(http.MethodPost, login+tid+"/oauth2/v2.0/token", strings.NewReader(form("client_secret", "no").Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("client-request-id", id)
		if a := w.do(t, r); a.body["correlation_id"] != id {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("body too large", func(t *testing.T) {
		if a := w.post(t, login+tid+"/oauth2/v2.0/token", form("scope", strings.Repeat("x", maxForm))); a.status != 413 {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("the log holds no secret", func(t *testing.T) {
		const secret = "hunter2-very-secret"
		w.post(t, login+tid+"/oauth2/v2.0/token", form("client_secret", secret))
		for _, e := range w.log.Recent(64, false) {
			if strings.Contains(e.Cause+e.Path+e.Code, secret) {
				t.Errorf("%+v", e)
			}
		}
	})
}

func TestSecrets(t *testing.T) {
	w := newWorld(t)
	ask := func(secret string) int {
		return w.post(t, login+tid+"/oauth2/v2.0/token", form("client_secret", secret)).status
	}
	w.update(t, func(tx store.Tx) error { return w.AddSecret(tx, strings.ToUpper(appC), "second", epoch.Add(time.Hour)) })
	if ask("pw") != 200 || ask("second") != 200 {
		t.Error("two secrets, both must do")
	}
	w.clock.Advance(time.Hour)
	if ask("pw") != 200 || ask("second") != 401 {
		t.Error("only the expired one must fail")
	}
	w.update(t, func(tx store.Tx) error { return w.SetSecret(tx, appC, "new") })
	if ask("pw") != 401 || ask("new") != 200 {
		t.Error("SetSecret must replace")
	}
	w.view(t, func(tx store.ReadTx) {
		for _, value := range tx.Scan(secretsBucket, nil, nil) {
			if strings.Contains(string(value), "new") || strings.Contains(string(value), b64("new")) {
				t.Errorf("the secret is stored in clear: %s", value)
			}
		}
	})
	if err := w.docs.Update(t.Context(), func(tx store.Tx) error { return w.SetSecret(tx, systemA.AppID, "x") }); err == nil {
		t.Error("a managed identity was given a secret")
	}
	w.update(t, func(tx store.Tx) error { return w.DeletePrincipal(tx, principalC.ObjectID) })
	w.update(t, func(tx store.Tx) error { return w.PutPrincipal(tx, principalC) })
	if ask("new") != 401 {
		t.Error("secrets must go with their principal")
	}
}
