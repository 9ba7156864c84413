package intercept_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/intercept"
)

func TestGuard(t *testing.T) {
	const token = "the-admin-token"
	guarded := intercept.Guard(token, "amlocal")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "reached")
	}))
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	with := func(name, value string) http.Header {
		h := bearer.Clone()
		h.Set(name, value)
		return h
	}
	for _, tc := range []struct {
		name, host, path string
		header           http.Header
		tls              bool
		want             int
	}{
		{"token", "127.0.0.1:4390", "/_amlocal/state", bearer, false, 200},
		{"token on localhost", "localhost:4390", "/_amlocal/state", bearer, false, 200},
		{"token on ::1", "[::1]:4390", "/_amlocal/state", bearer, false, 200},
		{"token on an allowed host", "amlocal:4390", "/_amlocal/state", bearer, false, 200},
		{"scheme in lower case", "127.0.0.1", "/_amlocal/state", http.Header{"Authorization": {"bearer " + token}}, false, 200},
		{"no token", "127.0.0.1:4390", "/_amlocal/state", nil, false, 401},
		{"wrong token", "127.0.0.1:4390", "/_amlocal/state", http.Header{"Authorization": {"Bearer the-admin-tokeN"}}, false, 401},
		{"empty token", "127.0.0.1:4390", "/_amlocal/state", http.Header{"Authorization": {"Bearer "}}, false, 401},
		{"wrong scheme", "127.0.0.1:4390", "/_amlocal/state", http.Header{"Authorization": {"Basic " + token}}, false, 401},
		{"token in the query", "127.0.0.1:4390", "/_amlocal/state?token=" + token, nil, false, 401},
		{"root certificate", "127.0.0.1:4390", "/_amlocal/ca.pem", nil, false, 200},
		{"health", "127.0.0.1:4390", "/_amlocal/healthz", nil, false, 200},
		{"below an open path", "127.0.0.1:4390", "/_amlocal/healthz/../state", nil, false, 401},
		{"open path with a slash", "127.0.0.1:4390", "/_amlocal/ca.pem/", nil, false, 401},
		{"double slash", "127.0.0.1:4390", "//_amlocal/state", nil, false, 401},
		{"rebound name", "rebound.example:4390", "/_amlocal/state", bearer, false, 403},
		{"rebound name, open path", "rebound.example", "/_amlocal/ca.pem", nil, false, 403},
		{"subdomain of localhost", "evil.localhost:4390", "/_amlocal/state", bearer, false, 403},
		{"unspecified address", "0.0.0.0:4390", "/_amlocal/healthz", nil, false, 403},
		{"no host", "", "/_amlocal/state", bearer, false, 403},
		{"another site's page", "127.0.0.1:4390", "/_amlocal/state", with("Origin", "https://evil.example"), false, 403},
		{"null origin", "127.0.0.1:4390", "/_amlocal/state", with("Origin", "null"), false, 403},
		{"another port's page", "127.0.0.1:4390", "/_amlocal/state", with("Origin", "http://127.0.0.1:3000"), false, 403},
		{"scheme of the origin", "127.0.0.1:4390", "/_amlocal/state", with("Origin", "https://127.0.0.1:4390"), false, 403},
		{"our own page", "127.0.0.1:4390", "/_amlocal/state", with("Origin", "http://127.0.0.1:4390"), false, 200},
		{"our own page over TLS", "127.0.0.1:4390", "/_amlocal/state", with("Origin", "https://127.0.0.1:4390"), true, 200},
		{"fetch from elsewhere", "127.0.0.1:4390", "/_amlocal/healthz", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false, 403},
		{"fetch from the same site", "127.0.0.1:4390", "/_amlocal/state", with("Sec-Fetch-Site", "same-site"), false, 403},
		{"typed address", "127.0.0.1:4390", "/_amlocal/state", with("Sec-Fetch-Site", "none"), false, 200},
		{"fetch from our page", "127.0.0.1:4390", "/_amlocal/state", with("Sec-Fetch-Site", "same-origin"), false, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := "http://127.0.0.1" + tc.path
			if tc.tls {
				target = "https://127.0.0.1" + tc.path
			}
			r := httptest.NewRequest("GET", target, nil)
			r.Host = tc.host
			r.Header = tc.header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, r)
			if w.Code != tc.want || (w.Body.String() == "reached") != (tc.want == 200) {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tc.want)
			}
			if strings.Contains(w.Body.String(), token) {
				t.Error("the answer holds the token")
			}
		})
	}
	open := intercept.Guard("")(http.NotFoundHandler())
	r := httptest.NewRequest("GET", "http://127.0.0.1/_amlocal/state", nil)
	r.Header.Set("Authorization", "Bearer ")
	w := httptest.NewRecorder()
	open.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("an empty admin token opens the API: %d", w.Code)
	}
}
