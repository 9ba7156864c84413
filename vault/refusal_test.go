package vault

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

// TestChallenge: what the SDKs' first request is answered with.
func TestChallenge(t *testing.T) {
	w := officer(t)
	const challenge = `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`
	edit := func(name string, value any) string {
		return w.token(alice, func(c map[string]any) { c[name] = value })
	}
	for name, tt := range map[string]struct{ token, says string }{
		"none":               {"", "AKV10000: Request is missing a Bearer or PoP token."},
		"management":         {edit("aud", "https://management.azure.com/"), "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com/."},
		"the vault's own":    {edit("aud", "https://roles.vault.azure.net"), "AKV10022: Invalid audience."},
		"another tenant":     {edit("iss", "https://sts.windows.net/other/"), "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/" + tenant + "/, found https://sts.windows.net/other/."},
		"forged":             {edit("sig", "bad"), "AKV10046: Unable to resolve the key used for signature validation."},
		"expired":            {edit("exp", w.clock.Now().Unix()), "TokenExpired"},
		"no token":           {"x", "Error validating token."},
		"a principal's gone": {edit("oid", "gone"), "Error validating token."},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.send(tt.token, http.MethodGet, byRoles, "/secrets/x", "")
			if a.status != http.StatusUnauthorized || a.body.Error.Code != "Unauthorized" || !strings.HasPrefix(a.body.Error.Message, tt.says) && !strings.Contains(a.body.Error.Message, tt.says) {
				t.Errorf("%d %s", a.status, a.raw)
			}
			if got := a.header.Get("WWW-Authenticate"); got != challenge {
				t.Errorf("challenge %s", got)
			}
		})
	}
	for _, aud := range audiences {
		if a := w.send(edit("aud", aud), http.MethodGet, byRoles, "/secrets", ""); a.status != http.StatusOK {
			t.Errorf("audience %s: %s", aud, a.raw)
		}
	}
	t.Run("a vault of another tenant", func(t *testing.T) {
		w.vaults[byRoles].TenantID = "22222222-0000-0000-0000-000000000000"
		defer func() { w.vaults[byRoles].TenantID = tenant }()
		a := w.do(alice, http.MethodGet, byRoles, "/secrets", "")
		if a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), "/22222222-") || !strings.Contains(a.body.Error.Message, "AKV10032") {
			t.Errorf("%d %v %s", a.status, a.header, a.raw)
		}
	})
	a := w.want(http.StatusNotFound, alice, http.MethodGet, byRoles, "/secrets/x", "")
	for name, want := range map[string]string{"x-ms-keyvault-region": "eastus", "Cache-Control": "no-cache", httpx.WhyHeader: ""} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestEveryActionIsItsOwn: each operation asks for its own data action, or its
// own permission, and for nothing else.
func TestEveryActionIsItsOwn(t *testing.T) {
	covers.R(t, "R-907")
	for _, vault := range []string{byRoles, byRule} {
		w := officer(t)
		w.set(vault, "there", "x")
		for _, tt := range []struct{ method, path, body, action, permission string }{
			{http.MethodGet, "/secrets/there", "", "getSecret/action", "get"},
			{http.MethodPut, "/secrets/there", `{"value":"y"}`, "setSecret/action", "set"},
			{http.MethodPatch, "/secrets/there", `{}`, "update/action", "set"},
			{http.MethodGet, "/secrets", "", "readMetadata/action", "list"},
			{http.MethodGet, "/secrets/there/versions", "", "readMetadata/action", "list"},
			{http.MethodPost, "/secrets/there/backup", "", "backup/action", "backup"},
			{http.MethodPost, "/secrets/restore", `{"value":"x"}`, "restore/action", "restore"},
			{http.MethodDelete, "/secrets/there", "", "delete", "delete"},
			{http.MethodGet, "/deletedsecrets", "", "readMetadata/action", "list"},
			{http.MethodGet, "/deletedsecrets/there", "", "readMetadata/action", "get"},
			{http.MethodPost, "/deletedsecrets/there/recover", "", "recover/action", "recover"},
			{http.MethodDelete, "/deletedsecrets/there", "", "purge/action", "purge"},
		} {
			a := w.do(bob, tt.method, vault, tt.path, tt.body)
			id := a.header.Get(httpx.WhyHeader)
			entry, ok := w.audit.Find(id)
			if a.status != http.StatusForbidden || a.body.Error.Code != "Forbidden" || !ok || !entry.Denied() {
				t.Errorf("%s %s in %s: %d %s (why %q)", tt.method, tt.path, vault, a.status, a.raw, id)
				continue
			}
			d := entry.Decisions[0]
			scope := vaultID + vault
			if strings.Contains(tt.path, "there") {
				scope += "/secrets/there"
			}
			if d.Check.Action != secretNoun+tt.action || !d.Check.Data || d.Check.Scope != scope {
				t.Errorf("%s %s asks %+v", tt.method, tt.path, d.Check)
			}
			if vault == byRoles {
				for _, part := range []string{
					"Caller is not authorized to perform action on resource.\r\nIf role assignments", "\r\nCaller: appid=" + bob.AppID + ";oid=" + bob.ObjectID + ";iss=" + issuer + "\r\nAction: '" + secretNoun + tt.action + "'\r\nResource: '/subscriptions/s/resourcegroups/rg/providers/microsoft.keyvault/vaults/roles",
					"'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n", "\r\nVault: roles;location=eastus\r\n",
				} {
					if !strings.Contains(a.body.Error.Message, part) {
						t.Errorf("%s %s: %q lacks %q", tt.method, tt.path, a.body.Error.Message, part)
					}
				}
				if a.body.Error.Inner.Code != "ForbiddenByRbac" {
					t.Error(a.raw)
				}
				continue
			}
			if want := "does not have secrets " + tt.permission + " permission on key vault 'policies;location=eastus'"; !strings.Contains(a.body.Error.Message, want) || a.body.Error.Inner.Code != "AccessDenied" {
				t.Error(a.raw)
			}
			if len(d.Fixes) != 1 || !strings.Contains(d.Fixes[0].Command, "--secret-permissions "+tt.permission) {
				t.Errorf("it proposes %+v", d.Fixes)
			}
			// The one permission suffices.
			w.vaults[byRule].Policies = append(w.vaults[byRule].Policies, Policy{TenantID: tenant, ObjectID: bob.ObjectID, Secrets: []string{strings.ToUpper(tt.permission)}})
			if a := w.do(bob, tt.method, vault, tt.path, tt.body); a.status == http.StatusForbidden {
				t.Errorf("%s %s with the permission %s: %s", tt.method, tt.path, tt.permission, a.raw)
			}
			w.vaults[byRule].Policies = w.vaults[byRule].Policies[:1]
		}
	}
}

func TestPoliciesAndRolesDoNotMix(t *testing.T) {
	w := officer(t)
	w.set(byRoles, "there", "x")
	w.set(byRule, "there", "x")
	// A role at a vault with policies, a policy in a vault with roles.
	w.grant(bob, "Key Vault Administrator", vaultID+byRule)
	w.vaults[byRoles].Policies = []Policy{{TenantID: tenant, ObjectID: bob.ObjectID, Secrets: []string{"all"}}}
	// "all" is not purging.
	w.set(byRule, "gone", "x")
	w.want(http.StatusOK, alice, http.MethodDelete, byRule, "/secrets/gone", "")
	w.want(http.StatusForbidden, alice, http.MethodDelete, byRule, "/deletedsecrets/gone", "")
	for _, vault := range []string{byRoles, byRule} {
		w.want(http.StatusForbidden, bob, http.MethodGet, vault, "/secrets/there", "")
	}
	// A policy of another tenant counts for nothing, one of a group for its members.
	const group = "66666666-6666-6666-6666-666666666666"
	w.vaults[byRule].Policies = []Policy{{TenantID: "other", ObjectID: bob.ObjectID, Secrets: []string{"get"}}, {TenantID: tenant, ObjectID: group, Secrets: []string{"get"}}}
	w.want(http.StatusForbidden, bob, http.MethodGet, byRule, "/secrets/there", "")
	w.index.SetMembers(group, []string{bob.ObjectID})
	w.want(http.StatusOK, bob, http.MethodGet, byRule, "/secrets/there", "")
	// A role at one secret opens that one.
	w.set(byRoles, "other", "x")
	w.grant(bob, "Key Vault Secrets User", vaultID+byRoles+"/secrets/THERE")
	w.want(http.StatusOK, bob, http.MethodGet, byRoles, "/secrets/there", "")
	w.want(http.StatusForbidden, bob, http.MethodGet, byRoles, "/secrets/other", "")
	w.want(http.StatusForbidden, bob, http.MethodGet, byRoles, "/secrets", "")
}

func TestBadRequests(t *testing.T) {
	w := officer(t)
	w.set(byRoles, "there", "x")
	tags := strings.TrimSuffix(strings.Repeat(`"a%":"",`, 16), ",")
	for i := range 16 {
		tags = strings.Replace(tags, "%", string(rune('a'+i)), 1)
	}
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		code, says         string
	}{
		"no version":        {http.MethodGet, "/secrets/there?a=b", "", 400, "BadParameter", "api-version"},
		"unknown version":   {http.MethodGet, "/secrets/there?api-version=2015-06-01", "", 400, "BadParameter", "2015-06-01"},
		"name":              {http.MethodGet, "/secrets/not_a_name", "", 400, "BadParameter", "The request URI contains an invalid name: not_a_name"},
		"encoded slash":     {http.MethodGet, "/secrets/a%2Fb", "", 400, "BadParameter", "invalid name: a/b"},
		"long name":         {http.MethodPut, "/secrets/" + strings.Repeat("a", 128), `{"value":"x"}`, 400, "BadParameter", "invalid name"},
		"bad version":       {http.MethodGet, "/secrets/there/v_1", "", 400, "BadParameter", "invalid name: v_1"},
		"no value":          {http.MethodPut, "/secrets/there", `{}`, 400, "BadParameter", "value"},
		"null value":        {http.MethodPut, "/secrets/there", `{"value":null}`, 400, "BadParameter", "value"},
		"a number":          {http.MethodPut, "/secrets/there", `{"value":5}`, 400, "BadParameter", "JSON"},
		"no JSON":           {http.MethodPut, "/secrets/there", `value=hidden`, 400, "BadParameter", "JSON"},
		"no time":           {http.MethodPut, "/secrets/there", `{"value":"x","attributes":{"exp":"soon"}}`, 400, "BadParameter", "JSON"},
		"too large":         {http.MethodPut, "/secrets/there", `{"value":"` + strings.Repeat("x", maxValue+1) + `"}`, 400, "BadParameter", "25600"},
		"too many tags":     {http.MethodPut, "/secrets/there", `{"value":"x","tags":{` + tags + `}}`, 400, "BadParameter", "tags"},
		"long content type": {http.MethodPatch, "/secrets/there", `{"contentType":"` + strings.Repeat("x", 256) + `"}`, 400, "BadParameter", "content type"},
		"page size":         {http.MethodGet, "/secrets?api-version=7.4&maxresults=26", "", 400, "BadParameter", "maxresults"},
		"page":              {http.MethodGet, "/secrets?api-version=7.4&$skiptoken=eA", "", 400, "BadParameter", "skiptoken"},
		"backup":            {http.MethodPost, "/secrets/restore", `{"value":"AAAA"}`, 400, "BadParameter", "Backup blob"},
		"method":            {http.MethodPut, "/secrets", `{}`, 405, "MethodNotAllowed", ""},
		"keys":              {http.MethodGet, "/keys/a", "", 501, "NotImplemented", "the keys of a key vault"},
		"certificates":      {http.MethodPost, "/certificates/a/create", "{}", 501, "NotImplemented", "certificates"},
		"nothing to patch":  {http.MethodPatch, "/secrets/nothing", `{}`, 404, "SecretNotFound", "nothing"},
		"nothing deleted":   {http.MethodDelete, "/deletedsecrets/there", "", 404, "SecretNotFound", "Deleted Secret not found: there"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do(alice, tt.method, byRoles, tt.path, tt.body)
			if a.status != tt.status || a.body.Error.Code != tt.code || !strings.Contains(a.body.Error.Message, tt.says) || strings.Contains(a.raw, "hidden") {
				t.Errorf("%d %s", a.status, a.raw)
			}
		})
	}
	for _, version := range []string{"2016-10-01", "7.0", "7.4", "7.6", "7.6-preview.2", "2025-06-01-preview", "2025-07-01"} {
		if a := w.do(alice, http.MethodGet, byRoles, "/secrets/there?api-version="+version, ""); a.status != http.StatusOK {
			t.Errorf("%s: %s", version, a.raw)
		}
	}
	w.vaults[byRoles].Walled = true
	if a := w.do(alice, http.MethodGet, byRoles, "/secrets/there", ""); a.status != http.StatusForbidden || a.body.Error.Inner.Code != "ForbiddenByFirewall" {
		t.Error(a.raw)
	}
	if value, err := w.svc.Read(t.Context(), alice, byRoles, "there", ""); err == nil {
		t.Errorf("read %q through the firewall", value)
	}
	w.vaults[byRoles].Closed = true
	if a := w.do(alice, http.MethodGet, byRoles, "/secrets/there", ""); a.status != http.StatusForbidden || a.body.Error.Inner.Code != "ForbiddenByConnection" {
		t.Error(a.raw)
	}
}

func TestAttributes(t *testing.T) {
	w := officer(t)
	version := w.set(byRoles, "s", "x")
	w.clock.Advance(time.Minute)
	a := w.want(http.StatusOK, alice, http.MethodPatch, byRoles, "/secrets/s/"+version, `{"attributes":{"exp":1577836800,"nbf":4102444800},"tags":{"a":"b"},"contentType":"text/plain"}`)
	if at := a.body.Attributes; a.body.Value != nil || *at.Expires != 1577836800 || *at.NotBefore != 4102444800 || at.Updated != at.Created+60 || !*at.Enabled || a.body.Tags["a"] != "b" {
		t.Error(a.raw)
	}
	// Expired and not yet valid, and given all the same; a patch keeps the rest.
	if got := w.want(http.StatusOK, alice, http.MethodGet, byRoles, "/secrets/s", ""); got.value() != "x" || got.body.ContentType != "text/plain" || *got.body.Attributes.Expires != 1577836800 {
		t.Error(got.raw)
	}
	w.want(http.StatusOK, alice, http.MethodPatch, byRoles, "/secrets/s", `{"attributes":{"enabled":false}}`)
	if got := w.do(alice, http.MethodGet, byRoles, "/secrets/s", ""); got.status != http.StatusForbidden || got.body.Error.Message != "Operation get is not allowed on a disabled secret." || got.body.Error.Inner.Code != "SecretDisabled" {
		t.Error(got.raw)
	}
	// A newer version is enabled whatever the older is.
	w.set(byRoles, "s", "y")
	w.want(http.StatusOK, alice, http.MethodGet, byRoles, "/secrets/s", "")
	w.want(http.StatusForbidden, alice, http.MethodGet, byRoles, "/secrets/s/"+version, "")
}
