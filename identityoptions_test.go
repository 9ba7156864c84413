package amlocal

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/msi"
)

// TestIdentityOptions: what nobody outside Azure knows has a name.
func TestIdentityOptions(t *testing.T) {
	covers.R(t, "R-1008", "R-1024")
	for _, c := range []struct {
		name                                     string
		config                                   Config
		wrongSecret, clientID, noSecret, deleted int
		text                                     bool
	}{
		{"as by default", Config{}, 401, 200, 401, 200, false},
		{"the others", Config{IdentityAnswers: "strict", CloudShell: true, DeletedTokens: "refused"}, 401, 400, 200, 401, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, func(config *Config) {
				config.IdentityAnswers, config.CloudShell, config.DeletedTokens = c.config.IdentityAnswers, c.config.CloudShell, c.config.DeletedTokens
			})
			uai := l.owner.uai(t, "options")
			shell, err := l.e.ShellIdentity(t.Context(), *uai.Properties.PrincipalID)
			if err != nil {
				t.Fatal(err)
			}
			ask := func(method, query string, change func(*http.Request) *http.Request) *httptest.ResponseRecorder {
				r := httptest.NewRequest(method, "http://127.0.0.1/v1/token/msi/xds?resource=https://management.azure.com"+query, nil)
				rec := httptest.NewRecorder()
				l.e.msi.ServeHTTP(rec, change(r))
				return rec
			}
			with := func(secret string) func(*http.Request) *http.Request {
				return func(r *http.Request) *http.Request { r.Header.Set("secret", secret); return r }
			}
			from := func(r *http.Request) *http.Request {
				return r.WithContext(msi.WithOwner(r.Context(), shellOwner+*uai.Properties.PrincipalID))
			}
			if got := ask(http.MethodGet, "", with("wrong")); got.Code != c.wrongSecret || strings.HasPrefix(got.Header().Get("Content-Type"), "text/plain") != c.text {
				t.Errorf("wrong secret: %d %s", got.Code, got.Body)
			}
			if got := ask(http.MethodGet, "&client_id="+*uai.Properties.ClientID, with(shell.Secret)); got.Code != c.clientID {
				t.Errorf("client_id in the flavour of Azure ML: %d %s", got.Code, got.Body)
			}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				if got := ask(method, "", from); got.Code != c.noSecret {
					t.Errorf("%s without a secret, sender known: %d %s", method, got.Code, got.Body)
				}
				if got := ask(method, "", func(r *http.Request) *http.Request { return r }); got.Code != 401 {
					t.Errorf("%s without a secret, sender unknown: %d %s", method, got.Code, got.Body)
				}
			}

			token, err := l.e.Token(t.Context(), *uai.Properties.PrincipalID, "https://management.azure.com")
			if err != nil {
				t.Fatal(err)
			}
			list := func() int {
				r := httptest.NewRequest(http.MethodGet, "https://management.azure.com/subscriptions?api-version=2022-12-01", nil)
				r.Header.Set("Authorization", "Bearer "+token.Raw)
				rec := httptest.NewRecorder()
				l.e.arm.ServeHTTP(rec, r)
				return rec.Code
			}
			if status := list(); status != 200 {
				t.Errorf("while the identity is there: %d", status)
			}
			if _, err := l.owner.identities(t).Delete(t.Context(), azure.SeedResourceGroup, "options", nil); err != nil {
				t.Fatal(err)
			}
			if status := list(); status != c.deleted {
				t.Errorf("after it was deleted: %d", status)
			}
		})
	}
	for _, bad := range []Config{{IdentityAnswers: "x"}, {DeletedTokens: "x"}} {
		bad.Ephemeral = true
		if _, err := New(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "the settings are") {
			t.Errorf("%v", err)
		}
	}
}
