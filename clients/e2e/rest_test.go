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
