package amlocal

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

const azsecretsSDK = "azsecrets"

func vaultURL(name string) string { return "https://" + name + ".vault.azure.net" }

// secrets is the real client of a vault's secrets.
func (s *session) secrets(t *testing.T, vault string) *azsecrets.Client {
	t.Helper()
	return must(azsecrets.NewClient(vaultURL(vault), s.cred, &azsecrets.ClientOptions{ClientOptions: s.lab.client()}))(t)
}

// officer lets the owner write the seeded vault's secrets, which being the
// owner does not.
func (s *session) officer(t *testing.T) {
	t.Helper()
	s.grant(t, azure.SeedOwnerObjectID, "Key Vault Secrets Officer", seedVault)
}

func (s *session) setSecret(t *testing.T, vault, name, value string) (version string) {
	t.Helper()
	made, err := s.secrets(t, vault).SetSecret(t.Context(), name, azsecrets.SetSecretParameters{Value: to.Ptr(value)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID.Version()
}

// notFoundIsFine passes the service's answer to whoever may ask.
func notFoundIsFine(err error) error {
	var re *azcore.ResponseError
	if errors.As(err, &re) && re.StatusCode == http.StatusNotFound {
		return nil
	}
	return err
}

// wantRefusal wants a status and these parts of the text.
func wantRefusal(t *testing.T, err error, status int, parts ...string) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != status {
		t.Errorf("%v, want %d", err, status)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %q", err, part)
		}
	}
}

// TestSecrets is a broad script of the Go client.
func TestSecrets(t *testing.T) {
	covers.C(t, azsecretsSDK, "R-708", "R-907")
	l := newLab(t, nil)
	c := l.owner.secrets(t, azure.SeedKeyVault)
	// The owner of the subscription has no data action.
	_, err := c.GetSecret(t.Context(), "db", "", nil)
	wantRefusal(t, err, 403, "ForbiddenByRbac", "Microsoft.KeyVault/vaults/secrets/getSecret/action", "appid="+azure.SeedOwnerAppID, "Vault: "+azure.SeedKeyVault)
	l.owner.officer(t)
	first := l.owner.setSecret(t, azure.SeedKeyVault, "db", "kept-secret-one")
	second := l.owner.setSecret(t, azure.SeedKeyVault, "db", "kept-secret-two")
	for version, want := range map[string]string{"": "kept-secret-two", first: "kept-secret-one", second: "kept-secret-two"} {
		if got, err := c.GetSecret(t.Context(), "db", version, nil); err != nil || *got.Value != want {
			t.Errorf("version %q: %v", version, err)
		}
	}
	versions := 0
	for pages := c.NewListSecretPropertiesVersionsPager("db", nil); pages.More(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		versions += len(page.Value)
	}
	if versions != 2 {
		t.Errorf("%d versions", versions)
	}
	if _, err := c.UpdateSecretProperties(t.Context(), "db", second, azsecrets.UpdateSecretPropertiesParameters{
		ContentType: to.Ptr("text/plain"), SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)}}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetSecret(t.Context(), "db", "", nil)
	wantRefusal(t, err, 403, "SecretDisabled")
	backup, err := c.BackupSecret(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	if deleted, err := c.DeleteSecret(t.Context(), "db", nil); err != nil || deleted.ScheduledPurgeDate == nil {
		t.Fatal(deleted, err)
	}
	_, err = c.SetSecret(t.Context(), "db", azsecrets.SetSecretParameters{Value: to.Ptr("x")}, nil)
	wantRefusal(t, err, 409, "ObjectIsDeletedButRecoverable")
	if _, err := c.RecoverDeletedSecret(t.Context(), "db", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteSecret(t.Context(), "db", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PurgeDeletedSecret(t.Context(), "db", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RestoreSecret(t.Context(), azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetSecret(t.Context(), "db", first, nil); err != nil || *got.Value != "kept-secret-one" {
		t.Error(got.Value, err)
	}
	_, err = l.owner.secrets(t, "no-such-vault").GetSecret(t.Context(), "db", "", nil)
	if err == nil || !strings.Contains(err.Error(), "no-such-vault") {
		t.Errorf("a vault that is not there: %v", err)
	}
	l.nowhere(t, "kept-secret")
}

// TestScriptFetchesSecret: the pattern name@https://<vault>.vault.azure.net in a
// variable, resolved by the scoring code as its endpoint's identity.
func TestScriptFetchesSecret(t *testing.T) {
	covers.C(t, azsecretsSDK, "R-525", "R-713", "R-907")
	l := newLab(t, nil)
	l.owner.officer(t)
	l.owner.setSecret(t, azure.SeedKeyVault, "api-key", "fetched-by-the-script")
	uai := l.owner.uai(t, "mine")
	system := *l.owner.endpoint(t, "sai", wish(nil)).Identity.PrincipalID
	l.owner.endpoint(t, "uai", wish(asUser(*uai.ID)))
	variables := map[string]string{"MY_KV_SECRET": "api-key@" + vaultURL(azure.SeedKeyVault)}
	for _, tt := range []struct {
		endpoint, principal string
		q                   question
	}{
		{"sai", system, question{Do: "secret", Account: "MY_KV_SECRET"}},
		{"uai", *uai.Properties.PrincipalID, question{Do: "secret", Account: "MY_KV_SECRET", ClientID: *uai.Properties.ClientID}},
	} {
		t.Run(tt.endpoint, func(t *testing.T) {
			l.owner.deploy(t, tt.endpoint, "blue", l.owner.asking(t, variables))
			// Actions are not data actions: the owner of the vault reads nothing.
			l.owner.grant(t, tt.principal, "Owner", seedVault)
			got := l.ask(t, tt.endpoint, "blue", tt.q)
			if got.Status != 403 || got.Code != "Forbidden" || got.Text != "" || !strings.Contains(got.Error, "ForbiddenByRbac") || !strings.Contains(got.Error, "oid="+tt.principal) {
				t.Errorf("without a role: %+v", got)
			}
			denial, ok := l.e.LastDenial()
			if !ok || denial.Instance != tt.endpoint+"/blue" || denial.Caller.Principal.ObjectID != tt.principal || denial.Plane != "vault" {
				t.Errorf("the audit has %+v", denial)
			} else if line := l.line(t, denial.RequestID); !strings.Contains(line, `"Key Vault Secrets User"`) {
				t.Errorf("why proposes %s", line)
			} else {
				l.owner.runLine(t, line)
			}
			if got := l.ask(t, tt.endpoint, "blue", tt.q); got.Text != "fetched-by-the-script" {
				t.Errorf("with the role: %+v", got)
			}
		})
	}
	l.unseen(t, "fetched-by-the-script")
	l.nowhere(t, "fetched-by-the-script")
}

// TestWorldVaults: vaults and secrets of a world file, and the group that takes
// its vaults along.
func TestWorldVaults(t *testing.T) {
	l := newLab(t, withWorld(t, `
vaults:
  - {name: by-roles, secrets: [{name: api-key, value: from-the-world}]}
  - {name: by-policy, rbac: false, secrets: [{name: api-key, value: from-the-world}]}
  - {name: `+azure.SeedKeyVault+`, secrets: [{name: api-key, value: from-the-world}]}
assignments:
  - {principal: `+azure.SeedOwnerObjectID+`, role: Key Vault Secrets User, scope: "vault:by-roles"}
  - {principal: `+azure.SeedOwnerObjectID+`, role: Key Vault Secrets User, scope: "vault:`+azure.SeedKeyVault+`"}
`))
	for _, vault := range []string{"by-roles", azure.SeedKeyVault} {
		if got, err := l.owner.secrets(t, vault).GetSecret(t.Context(), "api-key", "", nil); err != nil || *got.Value != "from-the-world" {
			t.Errorf("%s: %v", vault, err)
		}
	}
	_, err := l.owner.secrets(t, "by-policy").GetSecret(t.Context(), "api-key", "", nil)
	wantRefusal(t, err, 403, "does not have secrets get permission", "AccessDenied")
	denial, ok := l.e.LastDenial()
	if !ok || len(denial.Decisions) != 1 || len(denial.Decisions[0].Fixes) != 1 || !strings.HasPrefix(denial.Decisions[0].Fixes[0].Command, "az keyvault set-policy ") {
		t.Errorf("why knows %+v", denial)
	}
	l.nowhere(t, "from-the-world")
}

// TestVaultTokens: tokens that are not for vaults, or nobody's, and tokens sent
// in the clear.
func TestVaultTokens(t *testing.T) {
	l := newLab(t, nil)
	l.owner.officer(t)
	l.owner.setSecret(t, azure.SeedKeyVault, "any", "x")
	good := l.owner.token(t, forVault)
	for name, tt := range map[string]struct{ token, says string }{
		"management":        {l.owner.token(t, forManagement), "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com."},
		"storage":           {l.owner.token(t, forStorage), "AKV10022"},
		"signature altered": {good[:len(good)-10] + strings.Repeat("A", 10), "AKV10046"},
		"none":              {"", "AKV10000"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, vaultURL(azure.SeedKeyVault)+"/secrets/any?api-version=7.4", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.token != "" {
				r.Header.Set("Authorization", "Bearer "+tt.token)
			}
			a := l.do(t, r)
			if a.status != http.StatusUnauthorized || !strings.Contains(a.body, tt.says) || !strings.Contains(a.header.Get("WWW-Authenticate"), `authorization="https://login.microsoftonline.com/`+azure.SeedTenantID+`", resource="https://vault.azure.net"`) {
				t.Errorf("%d %s %v", a.status, a.body, a.header)
			}
		})
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(vaultURL(azure.SeedKeyVault), "https", "http", 1)+"/secrets/any?api-version=7.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+good)
	if a := l.do(t, r); a.status != http.StatusForbidden {
		t.Errorf("in the clear: %d %s", a.status, a.body)
	}
}
