package amlocal

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

// TestShellIdentity: a shell gets tokens of its identities and of no others,
// by IMDS and by a compute instance's endpoint.
func TestShellIdentity(t *testing.T) {
	covers.R(t, "R-315", "R-319", "R-320", "R-1024")
	l := newLab(t, nil)
	c, err := l.e.ownerClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	var clients [3]string
	for i, name := range []string{"mine", "second", "other"} {
		id := groupID("") + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name
		var made struct {
			Properties struct{ ClientID, PrincipalID string }
		}
		if err := c.put(t.Context(), id, map[string]any{"location": azure.SeedLocation}, &made); err != nil {
			t.Fatal(err)
		}
		ids[name], clients[i] = made.Properties.PrincipalID, made.Properties.ClientID
	}
	var one, two ShellIdentity
	l.adminDo(t, http.MethodPost, "shell", map[string]any{"identities": []string{"mine"}}, http.StatusCreated, &one)
	l.adminDo(t, http.MethodPost, "shell", map[string]any{"identities": []string{"mine", "second", "mine"}}, http.StatusCreated, &two)
	if one.ClientID != clients[0] || two.ClientID != "" {
		t.Errorf("default identities %q and %q", one.ClientID, two.ClientID)
	}
	for _, bad := range [][]string{{}, {azure.SeedOwnerObjectID}, {"nobody"}, {"mine", azure.SeedOwnerName}} {
		if _, err := l.e.ShellIdentity(t.Context(), bad...); !errors.Is(err, ErrPrincipal) && !errors.Is(err, ErrNoPrincipal) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if status, _ := l.admin(t, http.MethodPost, "shell", map[string]any{"identities": []string{"mine"}}, "x"); status != 401 {
		t.Errorf("without the admin token: %d", status)
	}

	ask := func(secret, target string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		transport := &http.Transport{DisableKeepAlives: true}
		if r.URL.Host == "169.254.169.254" {
			proxy, err := url.Parse(l.e.Access().URL())
			if err != nil {
				t.Fatal(err)
			}
			if secret != "" {
				proxy.User = url.UserPassword("shell", secret)
			}
			transport.Proxy = http.ProxyURL(proxy)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
	imds := func(secret, more string) (int, string) {
		return ask(secret, "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com"+more, "Metadata", "true")
	}
	compute := func(secret, more string) (int, string) {
		return ask("", l.e.Access().URL()+"/MSI/auth?api-version=2018-02-01&resource=https://management.azure.com"+more, "Metadata", "true", "Secret", secret)
	}
	forged := strings.Replace(one.Secret, ids["mine"], ids["other"], 1)
	for _, c := range []struct {
		name   string
		get    func(secret, more string) (int, string)
		secret string
		more   string
		status int
		has    string
	}{
		{"default", imds, one.Secret, "", 200, clients[0]},
		{"by client", imds, two.Secret, "&client_id=" + clients[1], 200, clients[1]},
		{"by object", imds, two.Secret, "&object_id=" + ids["second"], 200, clients[1]},
		{"none said of two", imds, two.Secret, "", 400, "invalid_request"},
		{"another's", imds, one.Secret, "&client_id=" + clients[2], 400, "Identity not found"},
		{"no shell", imds, "", "", 404, "env --identity"},
		{"forged", imds, forged, "", 404, "env --identity"},
		{"signature alone", imds, one.Secret[strings.IndexByte(one.Secret, '.'):], "", 404, "env --identity"},
		{"compute instance", compute, one.Secret, "&clientid=" + clients[0], 200, "access_token"},
		{"compute instance's default", compute, one.Secret, "", 200, "access_token"},
		{"compute instance, another's", compute, one.Secret, "&clientid=" + clients[2], 400, "invalid_request"},
		{"compute instance, forged", compute, forged, "", 401, "not this instance's"},
	} {
		if status, body := c.get(c.secret, c.more); status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}

	if _, err := l.e.ownerClient(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "https://management.azure.com"+groupID("")+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine?api-version=2023-01-31", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if _, err := exchange(l.e.arm, r); err != nil {
		t.Fatal(err)
	}
	if status, body := imds(one.Secret, ""); status != 400 || !strings.Contains(body, "Identity not found") {
		t.Errorf("after the identity was deleted: %d %s", status, body)
	}
	if status, body := imds(two.Secret, ""); status != 200 || !strings.Contains(body, clients[1]) {
		t.Errorf("the one that is left: %d %s", status, body)
	}

	// An endpoint may have any name, and is no shell for it.
	r, err = http.NewRequestWithContext(httpx.WithInstance(t.Context(), "shell/"+ids["second"]), http.MethodGet,
		"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata", "true")
	w := httptest.NewRecorder()
	if l.e.metadata().ServeHTTP(w, r); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "outside deployments") {
		t.Errorf("an endpoint called shell: %d %s", w.Code, w.Body)
	}
}
