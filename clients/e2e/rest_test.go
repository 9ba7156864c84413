package e2e

import (
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestREST is the how-to's REST tab, with the documents' habits: raw line ends
// in a JSON string, traffic percentages as strings, and operations polled at
// properties.properties.AzureAsyncOperationUri.
func TestREST(t *testing.T) {
	t.Parallel()
	covers.C(t, "curl", "R-601", "R-801")
	if lacks := lacksProgram("bash", "curl", "jq"); lacks != "" {
		covers.NotRun(t, "curl client", lacks)
	}
	got := run(t, labOf(t).command(t, script("rest", "sai.sh"), "rest-sai", "restsaistorage"))
	got.want(t, map[string]any{"created": "Succeeded", "deployed": "Succeeded", "empty": "404", "unsigned": "401", "left": "404"})
	got.wantServed(t)
}

// TestRESTSecrets deploys with references to a connection and to a key vault,
// first without the role on the vault.
func TestRESTSecrets(t *testing.T) {
	t.Parallel()
	covers.C(t, "curl", "R-213", "R-702", "R-703", "R-705", "R-707", "R-708", "R-709", "R-711", "R-713", "R-1054")
	if lacks := lacksProgram("bash", "curl", "jq"); lacks != "" {
		covers.NotRun(t, "curl client", lacks)
	}
	got := run(t, labOf(t).command(t, script("rest", "connections.sh"), "rest-secrets", "restsecretstorage"))
	got.want(t, map[string]any{"plain": nil, "deployed": "Succeeded", "kept": "${{keyvault:" + got.text("secret") + "}}", "left": "404"})
	got.wantObject(t, "refused", map[string]any{"code": "SecretsInjectionError"})
	got.wantServed(t)
}
