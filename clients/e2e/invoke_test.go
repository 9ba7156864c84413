package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// TestPythonInvokeNeedsRights: azure-ai-ml fetches the credential itself, so
// invoking fails before anything is scored.
func TestPythonInvokeNeedsRights(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-318", "R-401", "R-411", "R-1027")
	bin, l := python(t, "python"), labOf(t)
	reader, err := l.emulator.AddPrincipal(t.Context(), amlocal.NewPrincipal{Type: "sp", Name: "py-invoker"})
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, l.command(t, filepath.Join(bin, "python"), script("python", "invoke.py"),
		reader.ClientID, reader.Secret, reader.ObjectID, azure.SeedTenantID, "py-invoke-key", "py-invoke-token"))
	got.want(t, map[string]any{"key shown": "key", "aml_token shown": "aml_token"})
	got.wantText(t, "key invoked", "AuthorizationFailed", "onlineEndpoints/listKeys/action")
	got.wantText(t, "key credentials", "AuthorizationFailed", "onlineEndpoints/listKeys/action")
	got.wantText(t, "aml_token invoked", "AuthorizationFailed", "onlineEndpoints/token/action")
	got.wantText(t, "aml_token credentials", "AuthorizationFailed", "onlineEndpoints/token/action")
	for _, entry := range l.emulator.Requests(2000) {
		if strings.HasPrefix(entry.Host, "py-invoke-") {
			t.Errorf("%s %s reached the scoring front", entry.Method, entry.Host)
		}
	}
}
