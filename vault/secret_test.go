package vault

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

// officer is a world in which alice may do everything in both vaults.
func officer(t testing.TB) *world {
	w := newWorld(t)
	w.grant(alice, "Key Vault Secrets Officer", vaultID+byRoles)
	w.vaults[byRule].Policies = []Policy{{TenantID: tenant, ObjectID: alice.ObjectID, Secrets: []string{"all"}}}
	return w
}

func TestSetAndGet(t *testing.T) {
	covers.R(t, "R-708")
	w := officer(t)
	for _, vault := range []string{byRoles, byRule} {
		first := w.set(vault, "Pass-Word", "one")
		w.clock.Advance(time.Minute)
		second := w.set(vault, "pass-word", "two")
		for path, want := range map[string]string{
			"/secrets/pass-word": "two", "/secrets/PASS-WORD/": "two", "//Secrets/pass-word/" + first: "one",
			"/secrets/pass-word/" + strings.ToUpper(second): "two",
		} {
			a := w.want(http.StatusOK, alice, http.MethodGet, vault, path, "")
			if a.value() != want || !strings.HasPrefix(a.body.ID, "https://"+vault+".vault.azure.net/secrets/Pass-Word/") {
				t.Errorf("%s: %s", path, a.raw)
			}
			if at := a.body.Attributes; at.Enabled == nil || !*at.Enabled || at.RecoveryLevel != "Recoverable+Purgeable" || at.RecoverableDays != 90 || at.Created == 0 {
				t.Errorf("%s: attributes %s", path, a.raw)
			}
		}
		gone := w.do(alice, http.MethodGet, vault, "/secrets/pass-word/"+strings.Repeat("0", 32), "")
		if gone.status != http.StatusNotFound || gone.body.Error.Code != "SecretNotFound" || !strings.Contains(gone.body.Error.Message, "A secret with (name/id) pass-word/000") {
			t.Error(gone.raw)
		}
	}
}

func TestRead(t *testing.T) {
	w := officer(t)
	first := w.set(byRoles, "token", "one")
	w.set(byRoles, "token", "two")
	w.set(byRoles, "off", "x")
	w.want(http.StatusOK, alice, http.MethodPatch, byRoles, "/secrets/off", `{"attributes":{"enabled":false}}`)
	w.set(byRoles, "deleted", "x")
	w.want(http.StatusOK, alice, http.MethodDelete, byRoles, "/secrets/deleted", "")
	w.set(byRule, "token", "policy")

	for _, tt := range []struct{ vault, name, version, want string }{
		{byRoles, "token", "", "two"}, {byRoles, "token", first, "one"}, {strings.ToUpper(byRule), "TOKEN", "", "policy"},
	} {
		if got, err := w.svc.Read(t.Context(), alice, tt.vault, tt.name, tt.version); err != nil || got != tt.want {
			t.Errorf("%v: %q %v", tt, got, err)
		}
	}
	last := w.audit.Recent(1, false)[0]
	if last.Plane != "vault" || last.Operation != "vault.GetSecret" || last.Caller.Principal != alice || len(last.Decisions) != 1 {
		t.Errorf("audit %+v", last)
	}
	for _, tt := range []struct {
		who                  azure.Principal
		vault, name, version string
		reason               Reason
		status               int
	}{
		{alice, "nothing", "token", "", NoVault, 404},
		{alice, byRoles, "nothing", "", NotFound, 404},
		{alice, byRoles, "token", "0123", NotFound, 404},
		{alice, byRoles, "a_b", "", BadName, 400},
		{alice, byRoles, "a", "b/c", BadName, 400},
		{alice, byRoles, "off", "", Disabled, 403},
		{alice, byRoles, "deleted", "", Deleted, 404},
		{bob, byRoles, "token", "", Forbidden, 403},
		{bob, byRoles, "nothing", "", Forbidden, 403},
		{bob, byRule, "token", "", Forbidden, 403},
	} {
		value, err := w.svc.Read(t.Context(), tt.who, tt.vault, tt.name, tt.version)
		var re *ReadError
		var he *httpx.Error
		if value != "" || !errors.As(err, &re) || re.Reason != tt.reason || !errors.As(err, &he) || he.Status != tt.status {
			t.Errorf("%v: %q %v", tt, value, err)
			continue
		}
		entry, ok := w.audit.Find(re.RequestID)
		if !ok || entry.Status != tt.status || entry.Caller.Principal != tt.who || entry.Denied() != (tt.reason == Forbidden) {
			t.Errorf("%v: audit %+v", tt, entry)
		}
		if tt.reason == Forbidden && len(re.Decision.Fixes) == 0 {
			t.Errorf("%v: no fix in %+v", tt, re.Decision)
		}
	}
}
