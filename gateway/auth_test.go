package gateway_test

import (
	"net/http"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/gateway"
	"github.com/amlocal/amlocal/internal/covers"
)

func TestCredentials(t *testing.T) {
	covers.R(t, "R-403", "R-404", "R-405", "R-413", "R-417", "R-1028", "R-1029", "R-1030")
	for _, tc := range []struct {
		name, header string
		mode         gateway.AuthMode
		want         int
		body         string // of a refusal
		scheme       azure.Scheme
		caller       string
	}{
		{"primary key", "Bearer " + primary, gateway.Key, 200, "", azure.EndpointKey, ""},
		{"secondary key", "Bearer " + secondary, gateway.Key, 200, "", azure.EndpointKey, ""},
		{"scheme in lower case", "bearer " + primary, gateway.Key, 200, "", azure.EndpointKey, ""},
		{"wrong key", "Bearer " + primary + "x", gateway.Key, 401, "key_auth_access_denied", "", ""},
		{"no header", "", gateway.Key, 401, "key_auth_bad_header_forbidden", "", ""},
		{"key without scheme", primary, gateway.Key, 401, "key_auth_bad_header_forbidden", "", ""},
		{"empty key", "Bearer ", gateway.Key, 401, "key_auth_bad_header_forbidden", "", ""},
		{"basic", "Basic " + primary, gateway.Key, 401, "key_auth_bad_header_forbidden", "", ""},
		{"two words", "Bearer " + primary + " x", gateway.Key, 401, "key_auth_bad_header_forbidden", "", ""},
		{"entra token in key mode", "Bearer scorer@https://ml.azure.com", gateway.Key, 401, "key_auth_access_denied", "", ""},
		{"endpoint token in key mode", "Bearer aml-token", gateway.Key, 401, "key_auth_access_denied", "", ""},

		{"endpoint token", "Bearer aml-token", gateway.AMLToken, 200, "", "AMLToken", ""},
		{"key in token mode", "Bearer " + primary, gateway.AMLToken, 401, "The access token is not valid for this endpoint.", "", ""},
		{"no token", "", gateway.AMLToken, 401, "The Authorization header must be 'Bearer' and one access token.", "", ""},

		{"entra token", "Bearer scorer@https://ml.azure.com", gateway.AADToken, 200, "", azure.Bearer, "scorer-oid"},
		{"audience with slash", "Bearer scorer@https://ml.azure.com/", gateway.AADToken, 200, "", azure.Bearer, "scorer-oid"},
		{"no score action", "Bearer stranger@https://ml.azure.com", gateway.AADToken, 401, "The identity of the access token may not score at this endpoint.", azure.Bearer, "stranger-oid"},
		{"management audience", "Bearer scorer@https://management.azure.com/", gateway.AADToken, 401, "The access token is not valid for this endpoint.", "", ""},
		{"key in entra mode", "Bearer " + primary, gateway.AADToken, 401, "The access token is not valid for this endpoint.", "", ""},
		{"no entra token", "", gateway.AADToken, 401, "The Authorization header must be 'Bearer' and one access token.", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.AuthMode = tc.mode }, http.HandlerFunc(scorer))
			r := w.request("POST", "/score", "scored")
			r.Header.Del("Authorization")
			if tc.header != "" {
				r.Header.Set("Authorization", tc.header)
			}
			got := w.send(r)
			want := tc.body
			if tc.want == 200 {
				want = "scored"
			}
			if got.StatusCode != tc.want || got.body != want {
				t.Errorf("%d %q, want %d %q", got.StatusCode, got.body, tc.want, want)
			}
			entry := w.audit.Recent(1, false)[0]
			if entry.Caller.Scheme != tc.scheme || entry.Caller.Principal.ObjectID != tc.caller || entry.Status != tc.want {
				t.Errorf("audit: %+v", entry)
			}
			if denied := tc.name == "no score action"; entry.Denied() != denied {
				t.Errorf("audit says denied=%t", entry.Denied())
			}
		})
	}
}

func TestUnsetKeysOpenNothing(t *testing.T) {
	covers.R(t, "R-1030")
	w := start(t, func(w *world, _ *gateway.Deps) { w.endpoint.Keys = [2]string{} }, http.HandlerFunc(scorer))
	for _, header := range []string{"Bearer ", "Bearer  ", "Bearer \t", "Bearer x"} {
		r := w.request("POST", "/score", "")
		r.Header.Set("Authorization", header)
		if got := w.send(r); got.StatusCode != 401 {
			t.Errorf("%q: %d", header, got.StatusCode)
		}
	}
	w = start(t, func(w *world, d *gateway.Deps) { w.endpoint.AuthMode, d.AMLTokens = gateway.AMLToken, nil }, http.HandlerFunc(scorer))
	r := w.request("POST", "/score", "")
	r.Header.Set("Authorization", "Bearer aml-token")
	if got := w.send(r); got.StatusCode != 401 {
		t.Errorf("without token service: %d", got.StatusCode)
	}
	r = w.request("POST", "/score", "")
	r.Header.Add("Authorization", "Bearer "+primary)
	if got := w.send(r); got.StatusCode != 401 {
		t.Errorf("two headers: %d", got.StatusCode)
	}
}

func TestDeniedStatusIsASetting(t *testing.T) {
	covers.R(t, "R-1028")
	w := start(t, func(w *world, d *gateway.Deps) { w.endpoint.AuthMode, d.DeniedStatus = gateway.AADToken, 403 }, http.HandlerFunc(scorer))
	r := w.request("POST", "/score", "")
	r.Header.Set("Authorization", "Bearer stranger@https://ml.azure.com")
	if got := w.send(r); got.StatusCode != 403 {
		t.Errorf("%d", got.StatusCode)
	}
	if denial, ok := w.audit.LastDenial(); !ok || denial.Caller.Principal.Name != "stranger" {
		t.Errorf("audit: %+v", denial)
	}
}

func TestPreflightIsACallLikeAnyOther(t *testing.T) {
	covers.R(t, "R-618")
	w := start(t, nil, http.HandlerFunc(scorer))
	r := w.request("OPTIONS", "/score", "")
	r.Header.Del("Authorization")
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	got := w.send(r)
	if got.StatusCode != 401 {
		t.Errorf("preflight: %d", got.StatusCode)
	}
	r = w.request("POST", "/score", "")
	r.Header.Set("Origin", "https://app.example")
	for _, h := range []http.Header{got.Header, w.send(r).Header} {
		for name := range h {
			if len(name) > 14 && name[:14] == "Access-Control" {
				t.Errorf("the front door adds %s", name)
			}
		}
	}
}
