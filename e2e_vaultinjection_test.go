package amlocal

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

// secret sets a secret and answers its reference.
func (s *session) secret(t *testing.T, vault, name, value string) (reference string) {
	t.Helper()
	a := s.vault(t, http.MethodPut, "https://"+vault+".vault.azure.net/secrets/"+name, `{"value":`+quoted(t, value)+`}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return "${{keyvault:" + made.ID + "}}"
}

func (s *session) vault(t *testing.T, method, url, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url+"?api-version=7.4", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token(t, forVault))
	r.Header.Set("Content-Type", "application/json")
	return s.lab.do(t, r)
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestVaultInjection: a version of a secret reaches the instance for both kinds
// of identity with the role on the vault; each failure has the one code.
func TestVaultInjection(t *testing.T) {
	covers.C(t, sdk, "R-109", "R-701", "R-708", "R-709", "R-710", "R-711", "R-713", "R-1054", "R-1055")
	l := newLab(t, nil)
	const vault = azure.SeedKeyVault
	l.owner.grant(t, l.owner.oid, "Key Vault Secrets Officer", seedVault)
	first := l.owner.secret(t, vault, "pass", "vault-secret-one")
	second := l.owner.secret(t, vault, "pass", "vault-secret-two\nwith a second line, \"quotes\" and ü")
	uai := l.owner.uai(t, "mine")
	l.owner.endpoint(t, "by-uai", wish(asUser(*uai.ID)))
	sai := l.owner.endpoint(t, "by-sai", wish(enforcing("enabled"))) // which gives nothing at a vault
	principals := map[string]string{"by-uai": *uai.Properties.PrincipalID, "by-sai": *sai.Identity.PrincipalID}

	// The creator needs no permission on the vault.
	creator := l.principal("creator")
	l.owner.grant(t, creator.oid, "AzureML Data Scientist", seedWorkspace)
	fails := func(t *testing.T, endpoint, reference string, texts ...string) {
		t.Helper()
		err := creator.tryDeploy(t, endpoint, "blue", l.owner.asking(t, map[string]string{"PASS": reference}))
		wantCode(t, err, "SecretsInjectionError", append(texts, "PASS", principals[endpoint])...)
		if err := creator.deleteDeployment(t, endpoint, "blue"); err != nil {
			t.Fatal(err)
		}
	}
	for endpoint, oid := range principals {
		t.Run(endpoint, func(t *testing.T) {
			for role, scope := range map[string]string{"": "", "Key Vault Contributor": seedVault, "Key Vault Reader": seedVault, "Owner": seedGroup, csr: seedWorkspace} {
				if role == "" || endpoint == "by-sai" && role == csr {
					fails(t, endpoint, first, "Key Vault Secrets User", vault)
					continue
				}
				assignment := l.owner.grant(t, oid, role, scope)
				fails(t, endpoint, first, "Key Vault Secrets User", vault)
				l.owner.revoke(t, assignment)
			}
			lines := l.mended(t, func() (string, error) {
				err := creator.tryDeploy(t, endpoint, "blue", l.owner.asking(t, map[string]string{"PASS": first, "NEXT": second}))
				if err == nil {
					return "", nil
				}
				if err := creator.deleteDeployment(t, endpoint, "blue"); err != nil {
					t.Fatal(err)
				}
				denial, ok := l.e.LastDenial()
				if !ok || denial.Caller.Principal.ObjectID != oid || denial.Instance != endpoint+"/blue" {
					t.Fatalf("the last refusal is %+v", denial)
				}
				return denial.RequestID, err
			})
			if len(lines) != 1 || !strings.Contains(lines[0], `"Key Vault Secrets User"`) {
				t.Errorf("it took %q", lines)
			}
			a := l.score(t, endpoint, "blue", *l.owner.keys(t, endpoint).PrimaryKey, envQuestion)
			for _, part := range []string{"PASS=vault-secret-one", `NEXT=vault-secret-two\nwith a second line, \"quotes\" and ü`} {
				if !strings.Contains(a.body, part) {
					t.Errorf("the instance lacks %q: %s", part, a.body)
				}
			}
			got, err := l.owner.deployments(t).Get(t.Context(), groupName, wsName, endpoint, "blue", nil)
			if err != nil || *got.Properties.GetOnlineDeploymentProperties().EnvironmentVariables["PASS"] != first {
				t.Errorf("show: %v", err)
			}
			if err := creator.deleteDeployment(t, endpoint, "blue"); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("what is not there", func(t *testing.T) {
		version := first[strings.LastIndexByte(first, '/')+1 : len(first)-2]
		url := "https://" + vault + ".vault.azure.net/secrets/"
		l.owner.grant(t, principals["by-sai"], "Key Vault Secrets User", seedVault)
		fails(t, "by-sai", "${{keyvault:https://no-such-vault.vault.azure.net/secrets/pass/"+version+"}}", "no-such-vault")
		fails(t, "by-sai", "${{keyvault:"+url+"pass/00000000000000000000000000000000}}", "404 SecretNotFound")
		fails(t, "by-sai", "${{keyvault:"+url+"nothing/"+version+"}}", "404 SecretNotFound")
		if a := l.owner.vault(t, http.MethodPatch, url+"pass/"+version, `{"attributes":{"enabled":false}}`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		fails(t, "by-sai", first, "403 Forbidden")
		if err := l.owner.tryDeploy(t, "by-sai", "blue", l.owner.asking(t, map[string]string{"PASS": first})); err == nil || strings.Contains(err.Error(), "Assign it the role") {
			t.Errorf("a disabled version: %v", err)
		}
		if err := l.owner.deleteDeployment(t, "by-sai", "blue"); err != nil {
			t.Fatal(err)
		}
		if a := l.owner.vault(t, http.MethodDelete, url+"pass", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		fails(t, "by-sai", second, "404 SecretNotFound")
	})
	t.Run("access policies", func(t *testing.T) {
		id := azure.MustParseResourceID(seedGroup + "/providers/Microsoft.KeyVault/vaults/by-policies")
		err := l.e.store.Update(t.Context(), func(tx store.Tx) error {
			return l.e.keyvault.SeedVault(tx, id, azure.SeedLocation, false, seedAuthor)
		})
		if err != nil {
			t.Fatal(err)
		}
		fails(t, "by-sai", strings.Replace(first, vault, "by-policies", 1), "access policies")
	})
	l.unseen(t, "vault-secret-one", "vault-secret-two")
}
