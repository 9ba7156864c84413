package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestAzTemplate: what az sends of a template is not JSON, and is understood.
func TestAzTemplate(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-304")
	got := run(t, azCommand(t, "template.sh", "aztemplated", "azregistry"))
	got.want(t, map[string]any{
		"checked": "Succeeded", "deployed": []string{"Succeeded", "https://aztemplated.blob.core.windows.net/"},
		"listed": []string{"from-file"}, "steps": 3, "role": []string{"Storage Blob Data Reader"},
		"registry": []string{"azregistry.azurecr.io", "Succeeded"}, "found": "azregistry", "taken": false, "deleted": nil,
	})
	for key, text := range map[string]string{
		"wrong": "AccountNameInvalid", "forgotten": "DeploymentNotFound", "admin": "not emulated",
	} {
		failure, _ := got[key].(map[string]any)
		if said, _ := failure["error"].(string); !strings.Contains(said, text) {
			t.Errorf("%s is %v, want an error with %q", key, got[key], text)
		}
	}
}

// TestPythonWorkspace: azure-ai-ml makes a workspace by a template of its own.
func TestPythonWorkspace(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-105")
	bin := python(t, "python")
	got := run(t, labOf(t).command(t, filepath.Join(bin, "python"), script("python", "workspace.py"), "py-workspace", "py-workspace-ep"))
	got.want(t, map[string]any{
		"name": "py-workspace", "display": "Mine", "tags": map[string]string{"made": "here"}, "retagged": "twice",
		"storage": "storageAccounts", "vault": "vaults", "insights": "components", "registry": nil,
		"store": []any{"workspaceblobstore", true}, "endpoint": "Succeeded", "left": false,
	})
}
