package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

func TestPythonKeyVault(t *testing.T) {
	t.Parallel()
	covers.C(t, "azure-keyvault-secrets", "R-708")
	bin := python(t, "keyvault")
	got := run(t, labOf(t).command(t, filepath.Join(bin, "python"), script("keyvault", "vaultsecrets.py"), azure.SeedKeyVault, "py-secret"))
	got.want(t, map[string]any{
		"set":             []any{"py-secret", "one", "text/plain", map[string]string{"team": "a"}, true, "Recoverable+Purgeable", 90},
		"versions differ": true, "latest": "two", "first": []any{"one", true}, "versions": 2,
		"changed":       []any{"application/json", map[string]string{"team": "b"}, false},
		"disabled":      []any{"HttpResponseError", 403, "Forbidden", "SecretDisabled"},
		"enabled again": "two", "pages": []int{3, 8},
		"exists":  []any{"ResourceExistsError", 409, "Conflict", "SecretAlreadyExists"},
		"deleted": []any{"py-secret", true, 90},
		"gone":    []any{"ResourceNotFoundError", 404, "SecretNotFound", nil}, "name kept": []any{"ResourceExistsError", 409, "Conflict", "ObjectIsDeletedButRecoverable"},
		"deleted listed": []string{"py-secret"}, "shown deleted": "py-secret", "recovered": []any{"py-secret", "two"},
		"purged":   []any{"ResourceNotFoundError", 404, "SecretNotFound", nil},
		"restored": []any{"two", 2}, "bad name": []any{"HttpResponseError", 400, "BadParameter", nil},
		"too large":  []any{"HttpResponseError", 400, "BadParameter", nil},
		"no version": []any{"ResourceNotFoundError", 404, "SecretNotFound", nil},
	})
}

func TestJavaScriptKeyVault(t *testing.T) {
	t.Parallel()
	covers.C(t, azureJS, "R-708")
	files := filepath.Join(clientsDir(), "keyvault")
	var from []string
	for _, name := range []string{"package.json", "package-lock.json", "secrets.mjs"} {
		from = append(from, filepath.Join(files, name))
	}
	dir := install(t, "keyvault-js", lacksProgram("node", "npm"), from, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{
			exec.Command("cp", append(from, dir)...),
			exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--cache", filepath.Join(cacheDir(), "clients", "npm-cache")),
		}
	})
	cmd := labOf(t).command(t, "node", "secrets.mjs", azure.SeedKeyVault, "js-secret")
	cmd.Dir = dir // where its modules are
	run(t, cmd).want(t, map[string]any{
		"set":    []any{"js-secret", "one", "text/plain", map[string]string{"team": "a"}, "Recoverable+Purgeable"},
		"latest": "two", "first": "one", "versions": 2, "changed": []any{false, "application/json"},
		"disabled": "RestError 403 Forbidden", "page": 2, "listed": 5, "deleted": "js-secret",
		"gone": "RestError 404 SecretNotFound", "kept": "RestError 409 Conflict", "deletedListed": []string{"js-secret"},
		"recovered": "two", "purged": "RestError 404 SecretNotFound", "restored": "two", "badName": "RestError 400 BadParameter",
	})
}

func TestAzKeyVaultSecrets(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-714", "R-713", "R-907")
	got := run(t, azCommand(t, "keyvault.sh", "secrets", "az-secrets"))
	got.want(t, map[string]any{
		"created": []any{"Succeeded", true, "https://az-secrets.vault.azure.net/", 7},
		"set":     []string{"pass", "one", "a", "text/plain"}, "latest": "two", "byVersion": "one",
		"secrets": []string{"pass"}, "versions": 2, "attributes": []any{false, "2020-01-01T00:00:00+00:00"},
		"deleted": "pass", "recovered": "pass", "purged": nil,
	})
	wantFailures(t, got, map[string]failure{
		"ownerRefused": {1, "ForbiddenByRbac"},
		"disabled":     {1, "SecretDisabled"},
		"gone":         {3, "SecretNotFound"},
	})
}

func TestAzKeyVaultVaults(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-714")
	got := run(t, azCommand(t, "keyvault.sh", "vaults", "az-vault"))
	got.want(t, map[string]any{
		"created": []any{"Succeeded", true, "https://az-vault.vault.azure.net/", 7}, "listed": 1,
		"vaultDeleted": nil, "vaultsDeleted": []any{false}, "vaultRecovered": "Succeeded", "kept": "still there", "vaultPurged": nil,
	})
	wantFailures(t, got, map[string]failure{
		"again":     {1, "already exists"},
		"rolesGone": {1, "ForbiddenByRbac"},
	})
}

func TestAzKeyVaultPolicies(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-714")
	got := run(t, azCommand(t, "keyvault.sh", "policies", "az-policies"))
	got.want(t, map[string]any{
		"policyVault": false, "policySet": "one", "policyLess": []string{"list"}, "policyMore": []string{"get", "list"}, "policyGet": "one",
		"policyGone": 0, "toRoles": true,
	})
	wantFailures(t, got, map[string]failure{
		"policyRefused": {1, "does not have secrets get permission"},
		"policyList":    {1, "does not have secrets list permission"},
		"keys":          {1, "amlocal does not implement the keys"},
	})
}

// failure is how a command of az fails.
type failure struct {
	exit float64
	text string
}

func wantFailures(t *testing.T, got outcome, want map[string]failure) {
	t.Helper()
	for key, w := range want {
		f, _ := got[key].(map[string]any)
		if text, _ := f["error"].(string); f["exit"] != w.exit || !strings.Contains(text, w.text) {
			t.Errorf("%s is %v, want exit %v and %q", key, got[key], w.exit, w.text)
		}
	}
}
