package entra

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

var alice = azure.Principal{ObjectID: "99999999-0000-0000-0000-00000000000a", TenantID: tid, Type: azure.User, Name: "alice@" + domain}

func newUsers(t testing.TB, change ...func(*Deps)) world {
	w := newWorld(t, change...)
	w.update(t, func(tx store.Tx) error {
		if err := w.PutPrincipal(tx, alice); err != nil {
			return err
		}
		return w.SetUserPassword(tx, alice.ObjectID, "open sesame")
	})
	return w
}

// public is a form of the Azure CLI's.
func public(grant string, pairs ...string) url.Values {
	return form(append([]string{
		"client_id", cliAppID, "client_secret", "", "grant_type", grant, "client_info", "1",
		"scope", "https://management.core.windows.net//.default openid offline_access profile",
	}, pairs...)...)
}

const commonToken = login + "organizations/oauth2/v2.0/token"

func TestPasswordGrant(t *testing.T) {
	covers.R(t, "R-315", "R-316")
	w := newUsers(t)
	a := w.post(t, commonToken, public("password", "username", strings.ToUpper(alice.Name), "password", "open sesame"))
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	for k, v := range map[string]any{
		"token_type": "Bearer", "expires_in": 3599.0, "foci": "1",
		"scope": "https://management.core.windows.net//user_impersonation https://management.core.windows.net//.default",
	} {
		if a.body[k] != v {
			t.Errorf("%s = %v, want %v", k, a.body[k], v)
		}
	}
	access := part(t, a.body["access_token"].(string), 1)
	for k, v := range map[string]any{
		"aud": "https://management.core.windows.net/", "iss": "https://sts.windows.net/" + tid + "/", "oid": alice.ObjectID, "idtyp": "user", "ver": "1.0",
		"appid": cliAppID, "appidacr": "0", "scp": "user_impersonation", "upn": alice.Name, "unique_name": alice.Name, "tid": tid,
	} {
		if access[k] != v {
			t.Errorf("access token: %s = %v, want %v", k, access[k], v)
		}
	}
	id := part(t, a.body["id_token"].(string), 1)
	for k, v := range map[string]any{
		"aud": cliAppID, "iss": "https://login.microsoftonline.com/" + tid + "/v2.0", "oid": alice.ObjectID, "tid": tid, "ver": "2.0",
		"preferred_username": alice.Name, "sub": access["sub"],
	} {
		if id[k] != v {
			t.Errorf("id token: %s = %v, want %v", k, id[k], v)
		}
	}
	if id["sub"] == alice.ObjectID || id["upn"] != nil || id["appid"] != nil || id["scp"] != nil {
		t.Errorf("id token %v", id)
	}
	info, err := base64.RawURLEncoding.DecodeString(a.body["client_info"].(string))
	if err != nil || string(info) != `{"uid":"`+alice.ObjectID+`","utid":"`+tid+`"}` {
		t.Errorf("client_info %s %v", info, err)
	}
	if claims, err := w.Verify(t.Context(), a.body["access_token"].(string), []string{"https://management.core.windows.net/"}); err != nil || claims.Principal != alice {
		t.Errorf("%+v %v", claims, err)
	}

	v1 := w.post(t, login+"common/oauth2/token", public("password", "scope", "", "resource", armURI, "username", alice.Name, "password", "open sesame"))
	if v1.status != 200 || v1.body["refresh_token"] == nil || v1.body["scope"] != "user_impersonation" || v1.body["expires_in"] != "3599" {
		t.Fatalf("%d %s", v1.status, v1.raw)
	}
	if id := part(t, v1.body["id_token"].(string), 1); id["ver"] != "1.0" || id["upn"] != alice.Name || id["iss"] != "https://sts.windows.net/"+tid+"/" {
		t.Errorf("v1 id token %v", id)
	}

	for _, c := range []struct {
		name   string
		form   url.Values
		code   string
		number float64
	}{
		{"wrong password", public("password", "username", alice.Name, "password", "open"), "invalid_grant", 50126},
		{"unknown user", public("password", "username", "bob@"+domain, "password", "x"), "invalid_grant", 50034},
		{"a group", public("password", "username", groupG.Name, "password", "x"), "invalid_grant", 50034},
		{"no password", public("password", "username", alice.Name), "invalid_request", 900144},
		{"unknown client", public("password", "client_id", "99999999-9999-9999-9999-999999999999", "username", alice.Name, "password", "open sesame"), "unauthorized_client", 700016},
		{"unknown resource", public("password", "scope", "https://nope.example/.default", "username", alice.Name, "password", "open sesame"), "invalid_resource", 500011},
		{"two resources", public("password", "scope", "https://a/.default https://b/.default"), "invalid_scope", 28000},
		{"scope that is none", public("password", "scope", "/.default"), "invalid_scope", 70011},
	} {
		if a := w.post(t, commonToken, c.form); a.body["error"] != c.code || a.number() != c.number {
			t.Errorf("%s: %d %s", c.name, a.status, a.raw)
		}
	}
	right := []string{"username", alice.Name, "password", "open sesame"}
	if a := w.post(t, login+"common/oauth2/v2.0/token", public("password", right...)); a.body["error"] != "invalid_request" || a.number() != 9001023 {
		t.Errorf("over /common: %d %s", a.status, a.raw)
	}
	for _, field := range []string{"client_secret", "client_assertion"} {
		a := w.post(t, commonToken, public("password", append([]string{field, "something"}, right...)...))
		if a.status != 401 || a.body["error"] != "invalid_client" || a.number() != 700025 {
			t.Errorf("a public client with a %s: %d %s", field, a.status, a.raw)
		}
	}
	if a := w.post(t, commonToken, public("password", append([]string{"scope", armURI + "/nonsense"}, right...)...)); a.status != 400 || a.number() != 650053 {
		t.Errorf("a permission that does not exist: %d %s", a.status, a.raw)
	}
	if a := w.post(t, commonToken, public("password", "scope", "", "username", alice.Name, "password", "open sesame")); part(t, a.body["access_token"].(string), 1)["aud"] != graphURI {
		t.Errorf("without a scope: %s", a.raw)
	}
}

func TestUserRealm(t *testing.T) {
	w := newUsers(t)
	for target, want := range map[string]string{
		"common/userrealm/" + alice.Name + "?api-version=1.0":                   "Managed",
		"common/UserRealm/" + url.PathEscape(alice.Name) + "?api-version=1.0":   "Managed",
		"common/userrealm/nobody@" + strings.ToUpper(domain):                    "Managed",
		"common/userrealm/someone@elsewhere.example":                            "Unknown",
		"organizations/userrealm/" + url.PathEscape("a/b@elsewhere.example"):    "Unknown",
		tid + "/userrealm/" + strings.ReplaceAll(alice.Name, "@", "%40") + "?x": "Managed",
	} {
		if a := w.get(t, login+target); a.status != 200 || a.body["account_type"] != want || a.body["cloud_instance_name"] != "microsoftonline.com" {
			t.Errorf("%s: %d %s", target, a.status, a.raw)
		}
	}
}

func TestRefreshGrant(t *testing.T) {
	covers.R(t, "R-315")
	w := newUsers(t)
	signIn := func() string {
		t.Helper()
		a := w.post(t, commonToken, public("password", "username", alice.Name, "password", "open sesame"))
		token, _ := a.body["refresh_token"].(string)
		if token == "" {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		return token
	}
	refresh := func(token string, pairs ...string) answer {
		return w.post(t, v2Token, public("refresh_token", append([]string{"refresh_token", token}, pairs...)...))
	}
	first := signIn()
	a := refresh(first, "scope", storageURI+"/.default")
	second, _ := a.body["refresh_token"].(string)
	if a.status != 200 || second == "" || second == first || part(t, a.body["access_token"].(string), 1)["aud"] != storageURI {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if a := refresh(first, "scope", ""); a.status != 200 || part(t, a.body["access_token"].(string), 1)["aud"] != "https://management.core.windows.net/" {
		t.Errorf("the token before it, and its own resource: %d %s", a.status, a.raw)
	}
	if a := refresh(second, "client_id", "1950a258-227b-4e31-a9cf-717495945fc2"); a.status != 200 {
		t.Errorf("another client of the family: %d %s", a.status, a.raw)
	}
	if a := refresh(first, "client_id", appC, "client_secret", "pw"); a.number() != 70000 || a.body["error"] != "invalid_grant" {
		t.Errorf("a stranger: %d %s", a.status, a.raw)
	}
	for _, bad := range []string{"x", refreshPrefix, refreshPrefix + "AAAA", second[:len(second)-4] + "AAAA", refreshPrefix + "%%"} {
		if a := refresh(bad); a.number() != 9002313 || a.body["error"] != "invalid_grant" {
			t.Errorf("%q: %d %s", bad, a.status, a.raw)
		}
	}
	// An application with a secret, for its users.
	own := w.post(t, v2Token, public("password", "client_id", appC, "client_secret", "pw", "username", alice.Name, "password", "open sesame"))
	if own.status != 200 || own.body["foci"] != nil || part(t, own.body["access_token"].(string), 1)["appidacr"] != "1" {
		t.Fatalf("%d %s", own.status, own.raw)
	}
	if a := refresh(own.body["refresh_token"].(string)); a.number() != 70000 {
		t.Errorf("another's token by a client of the family: %d %s", a.status, a.raw)
	}

	w.clock.Advance(refreshLife)
	if a := refresh(second); a.status != 200 {
		t.Errorf("at its last moment: %d %s", a.status, a.raw)
	}
	w.clock.Advance(time.Second)
	if a := refresh(second); a.number() != 700082 || !strings.Contains(a.raw, "2026-03-01T12:00:00Z") {
		t.Errorf("after 90 days: %d %s", a.status, a.raw)
	}
	third := signIn()
	w.clock.Advance(time.Second)
	w.update(t, func(tx store.Tx) error { return w.SetUserPassword(tx, alice.ObjectID, "new") })
	if a := refresh(third); a.number() != 50173 {
		t.Errorf("after a new password: %d %s", a.status, a.raw)
	}
	w.update(t, func(tx store.Tx) error { return w.SetUserPassword(tx, alice.ObjectID, "open sesame") })
	fourth := signIn()
	w.update(t, func(tx store.Tx) error { return w.DeletePrincipal(tx, alice.ObjectID) })
	if a := refresh(fourth); a.number() != 500341 {
		t.Errorf("after the user is gone: %d %s", a.status, a.raw)
	}
}

// A refresh token outlives the process, with its folder; not the folder.
func TestRefreshTokenSurvivesARestart(t *testing.T) {
	w := newUsers(t)
	token := w.post(t, commonToken, public("password", "username", alice.Name, "password", "open sesame")).body["refresh_token"].(string)
	again := newUsers(t)
	if a := again.post(t, v2Token, public("refresh_token", "refresh_token", token)); a.status != 200 {
		t.Errorf("%d %s", a.status, a.raw)
	}
	other := newUsers(t, ownKeys)
	if a := other.post(t, v2Token, public("refresh_token", "refresh_token", token)); a.number() != 9002313 {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

func TestDeviceCodeGrant(t *testing.T) {
	covers.R(t, "R-315")
	w := newUsers(t, func(d *Deps) { d.DevicePage = func() string { return "http://127.0.0.1:1/page" } })
	begin := func() (device, user string) {
		t.Helper()
		a := w.post(t, login+"organizations/oauth2/v2.0/devicecode", public("", "grant_type", ""))
		device, _ = a.body["device_code"].(string)
		user, _ = a.body["user_code"].(string)
		if a.status != 200 || len(user) != 9 || device == "" || a.body["verification_uri"] != "http://127.0.0.1:1/page" || a.body["expires_in"] != 900.0 || a.body["interval"] != 5.0 ||
			!strings.Contains(a.body["message"].(string), user) {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		return device, user
	}
	poll := func(device string, pairs ...string) answer {
		return w.post(t, commonToken, public(grantDevice, append([]string{"device_code", device, "code", device}, pairs...)...))
	}
	want := func(a answer, code string, number float64) {
		t.Helper()
		if a.status != 400 || a.body["error"] != code || a.number() != number {
			t.Errorf("%d %s, want %s", a.status, a.raw, code)
		}
	}
	device, code := begin()
	want(poll(device), "authorization_pending", 70016)
	if name, err := w.DeviceClient(strings.ToLower(code)); err != nil || name != "Microsoft Azure CLI" {
		t.Errorf("%q %v", name, err)
	}
	if err := w.ApproveDevice(code, principalC); err == nil {
		t.Error("an application was signed in")
	}
	if err := w.ApproveDevice(code, alice); err != nil {
		t.Fatal(err)
	}
	want(poll(device, "client_id", "1950a258-227b-4e31-a9cf-717495945fc2"), "bad_verification_code", 70018)
	a := poll(device)
	if a.status != 200 || a.body["refresh_token"] == nil || part(t, a.body["access_token"].(string), 1)["oid"] != alice.ObjectID {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	want(poll(device), "bad_verification_code", 70018) // once
	if err := w.ApproveDevice(code, alice); err == nil {
		t.Error("a code was used twice")
	}

	device, code = begin()
	if err := w.DeclineDevice(code); err != nil {
		t.Fatal(err)
	}
	want(poll(device), "authorization_declined", 65004)
	device, code = begin()
	w.clock.Advance(deviceLife)
	if err := w.ApproveDevice(code, alice); err == nil {
		t.Error("an expired code was approved")
	}
	want(poll(device), "expired_token", 70020)
	want(w.post(t, login+tid+"/oauth2/v2.0/devicecode", public("", "grant_type", "", "scope", "https://nope.example/.default")), "invalid_resource", 500011)
	if a := w.post(t, login+tid+"/oauth2/devicecode", public("", "grant_type", "", "scope", "", "resource", armURI)); a.body["verification_url"] == nil {
		t.Errorf("v1: %d %s", a.status, a.raw)
	}

	device, code = begin()
	if err := w.ApproveDevice(code, alice); err != nil {
		t.Fatal(err)
	}
	w.update(t, func(tx store.Tx) error { return w.DeletePrincipal(tx, alice.ObjectID) })
	want(poll(device), "invalid_grant", 500341)
}

func TestDeviceCodeCredential(t *testing.T) {
	covers.C(t, goSDK, "R-315")
	w := newUsers(t)
	options := &azidentity.DeviceCodeCredentialOptions{TenantID: tid, UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error {
		return w.ApproveDevice(m.UserCode, alice)
	}}
	options.Transport = newToServer(t, w)
	cred, err := azidentity.NewDeviceCodeCredential(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range []string{armURI + "/.default", storageURI + "/.default"} { // the second by refresh token
		token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		if err != nil {
			t.Fatal(err)
		}
		if claims, err := w.Verify(t.Context(), token.Token, []string{strings.TrimSuffix(scope, "/.default")}); err != nil || claims.Principal != alice {
			t.Errorf("%+v %v", claims, err)
		}
	}
}

func TestUsernamePasswordCredential(t *testing.T) {
	covers.C(t, goSDK, "R-315")
	w := newUsers(t)
	get := func(name, password string) error {
		options := &azidentity.UsernamePasswordCredentialOptions{} //nolint:staticcheck // deprecated, and in use
		options.Transport = newToServer(t, w)
		cred, err := azidentity.NewUsernamePasswordCredential(tid, cliAppID, name, password, options)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{armURI + "/.default"}})
		return err
	}
	if err := get(alice.Name, "open sesame"); err != nil {
		t.Error(err)
	}
	if err := get(alice.Name, "close"); err == nil || !strings.Contains(err.Error(), "AADSTS50126") {
		t.Errorf("%v, want AADSTS50126", err)
	}
}

// The authorization code grant as a browser and a client with PKCE do it.
func TestAuthorizationCodeGrant(t *testing.T) {
	covers.R(t, "R-315")
	w := newUsers(t)
	const redirect, verifier = "http://localhost:8400/back", "a-verifier-that-is-long-enough-for-the-rule-of-43"
	sum := sha256.Sum256([]byte(verifier))
	query := func(pairs ...string) url.Values {
		q := url.Values{
			"client_id": {cliAppID}, "response_type": {"code"}, "redirect_uri": {redirect}, "state": {"st&te"}, "nonce": {"n1"},
			"scope": {armURI + "/.default openid offline_access profile"}, "code_challenge_method": {"S256"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "login_hint": {`"><b>`},
		}
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return q
	}
	visit := func(method string, q url.Values, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, login+"organizations/oauth2/v2.0/authorize?"+q.Encode(), strings.NewReader(body))
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		return rec
	}
	page := visit(http.MethodGet, query(), "")
	if page.Code != 200 || !strings.Contains(page.Body.String(), "Microsoft Azure CLI") || strings.Contains(page.Body.String(), "<b>") || page.Header().Get("Content-Security-Policy") == "" {
		t.Fatalf("%d %s", page.Code, page.Body)
	}
	if again := visit(http.MethodPost, query(), "login="+url.QueryEscape(alice.Name)+"&passwd=wrong"); again.Code != 200 || !strings.Contains(again.Body.String(), "AADSTS50126") {
		t.Errorf("%d %s", again.Code, again.Body)
	}
	right := "login=" + url.QueryEscape(alice.Name) + "&passwd=open+sesame"
	code := func(pairs ...string) string {
		t.Helper()
		back := visit(http.MethodPost, query(pairs...), right)
		to, err := url.Parse(back.Header().Get("Location"))
		if back.Code != 302 || err != nil || !strings.HasPrefix(to.String(), redirect+"?") || to.Query().Get("state") != "st&te" {
			t.Fatalf("%d %v %s", back.Code, back.Header(), back.Body)
		}
		return to.Query().Get("code")
	}
	redeem := func(code string, pairs ...string) answer {
		return w.post(t, commonToken, public("authorization_code", append([]string{"code", code, "redirect_uri", redirect, "code_verifier", verifier}, pairs...)...))
	}
	one := code()
	for name, a := range map[string]answer{
		"501481": redeem(one, "code_verifier", "another"), "500112": redeem(one, "redirect_uri", "http://localhost:1/"), "70000": redeem("x"),
	} {
		if a.status != 400 || a.body["error"] != "invalid_grant" || !strings.Contains(a.raw, "AADSTS"+name+":") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	a := redeem(one)
	if a.status != 200 || part(t, a.body["id_token"].(string), 1)["nonce"] != "n1" || part(t, a.body["access_token"].(string), 1)["oid"] != alice.ObjectID {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if a := redeem(one); a.number() != 54005 {
		t.Errorf("twice: %d %s", a.status, a.raw)
	}
	late := code()
	w.clock.Advance(codeLife)
	if a := redeem(late); a.number() != 70008 {
		t.Errorf("late: %d %s", a.status, a.raw)
	}
	if post := visit(http.MethodPost, query("response_mode", "form_post"), right); post.Code != 200 || !strings.Contains(post.Body.String(), `action="`+redirect+`"`) || !strings.Contains(post.Body.String(), `value="st&amp;te"`) {
		t.Errorf("form_post: %d %s", post.Code, post.Body)
	}
	for _, c := range []struct {
		name   string
		q      url.Values
		number float64
	}{
		{"elsewhere", query("redirect_uri", "https://evil.example/"), 50011},
		{"elsewhere, with a familiar name", query("redirect_uri", "http://localhost:1@evil.example/"), 50011},
		{"unknown client", query("client_id", appC), 700016},
		{"token at once", query("response_type", "token"), 700051},
		{"unknown resource", query("scope", "https://nope.example/.default"), 500011},
	} {
		rec := visit(http.MethodPost, c.q, right)
		a := answer{status: rec.Code, raw: rec.Body.String()}
		if err := json.Unmarshal(rec.Body.Bytes(), &a.body); err != nil || rec.Code != 400 || a.number() != c.number {
			t.Errorf("%s: %d %s", c.name, rec.Code, rec.Body)
		}
	}
}
