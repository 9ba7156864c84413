package amlocal

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFetchAccess reaches an emulator by its address, as one in a container.
func TestFetchAccess(t *testing.T) {
	e := start(t, nil)
	own, dir := e.Access(), filepath.Join(t.TempDir(), "client")
	got, err := FetchAccess(t.Context(), own.URL(), own.AdminToken, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.URL() != own.URL() || got.OwnerSecret != own.OwnerSecret || got.StateDir != dir {
		t.Errorf("got %v of %v", got, own)
	}
	ca, err := os.ReadFile(own.CA)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(got.Bundle)
	if err != nil || !strings.HasPrefix(got.Bundle, dir) || !strings.Contains(string(bundle), string(ca)) {
		t.Errorf("the bundle %s does not hold the emulator's root: %v", got.Bundle, err)
	}
	// Whoever else uses this machine must not become the owner.
	for name, want := range map[string]os.FileMode{
		secretFile: 0o600, filepath.Join(azureConfigDir, "service_principal_entries.json"): 0o600, azureConfigDir: 0o700, "": 0o700,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: %v %v, want mode %o", name, info.Mode(), err, want)
		}
	}

	// Another emulator on the port: what the Azure CLI remembers is of no use.
	session := filepath.Join(dir, azureConfigDir, "session")
	if err := os.WriteFile(session, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FetchAccess(t.Context(), own.URL(), own.AdminToken, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(session); err != nil {
		t.Error("the CLI's own file was not kept")
	}
	if err := os.WriteFile(filepath.Join(dir, secretFile), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FetchAccess(t.Context(), own.URL(), own.AdminToken, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(session); err == nil {
		t.Error("the CLI's files of another emulator were kept")
	}
}

func TestFetchAccessRefused(t *testing.T) {
	e := start(t, nil)
	own := e.Access()
	for name, tt := range map[string]struct{ address, token, want string }{
		"no token":         {own.URL(), "", "set AMLOCAL_ADMIN_TOKEN"},
		"wrong token":      {own.URL(), "guess", "is not its admin token"},
		"the owner secret": {own.URL(), own.OwnerSecret, "is not its admin token"},
		"another machine":  {"http://192.0.2.1:4390", own.AdminToken, "127.0.0.1 only"},
		"a name":           {"http://emulator:4390", own.AdminToken, "127.0.0.1 only"},
		"https":            {"https://127.0.0.1:4390", own.AdminToken, "not an emulator's address"},
		"no port":          {"http://127.0.0.1", own.AdminToken, "no port"},
		"a path":           {own.URL() + "/x", own.AdminToken, "not an emulator's address"},
	} {
		dir := filepath.Join(t.TempDir(), "client")
		_, err := FetchAccess(t.Context(), tt.address, tt.token, dir)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), own.AdminToken) || strings.Contains(err.Error(), own.OwnerSecret)) {
			t.Errorf("%s: the error holds a secret", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: files were written", name)
		}
	}
}

// TestClientNeedsTheToken asks as somebody on the network would.
func TestClientNeedsTheToken(t *testing.T) {
	e := start(t, func(c *Config) { c.Listen = "0.0.0.0" })
	own := e.Access()
	for _, tt := range []struct {
		host, token string
		want        int
	}{
		{"", own.AdminToken, 200}, {"", "", 401}, {"", own.OwnerSecret, 401},
		{"emulator:4390", own.AdminToken, 421}, {"rebound.example", own.AdminToken, 421},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, own.URL()+"/_amlocal/client", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Host = tt.host; tt.token != "" {
			r.Header.Set("Authorization", "Bearer "+tt.token)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != tt.want || strings.Contains(string(body), own.OwnerSecret) != (tt.want == 200) {
			t.Errorf("host %q: %d, %v, want %d", tt.host, resp.StatusCode, err, tt.want)
		}
		if tt.want == 200 && resp.Header.Get("Cache-Control") != "no-store" {
			t.Error("an answer with a secret may be kept")
		}
	}
}
