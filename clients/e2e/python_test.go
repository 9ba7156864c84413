package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

const azureAIML = "azure-ai-ml"

// script is a Python script of a client folder, with its environment's Python.
func script(client, name string) string { return filepath.Join(clientsDir(), client, name) }

func TestPythonSystemAssigned(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-151", "R-152", "R-154", "R-155", "R-156", "R-157", "R-158", "R-159", "R-160", "R-161", "R-162", "R-163",
		"R-164", "R-165", "R-166", "R-605", "R-606", "R-801", "R-1001")
	bin := python(t, "python")
	got := run(t, labOf(t).command(t, filepath.Join(bin, "python"), script("python", "sai.py"), "py-sai", "pysaistorage"))
	got.want(t, map[string]any{
		"state": "Succeeded", "identity": "system_assigned", "failed": "Failed", "principalType": "ServicePrincipal",
		"deployed": "Succeeded", "status": "Succeeded", "traffic": map[string]int{"blue": 100}, "left": false,
	})
	got.wantText(t, "refused", "HttpResponseError", "AuthorizationPermissionMismatch", "score_managedidentity.py")
	got.wantText(t, "initLog", "model", "code")
	got.wantServed(t)
	for _, d := range labOf(t).emulator.Status().Deployments {
		if strings.HasPrefix(d.Name, "py-sai/") {
			t.Errorf("%s outlived its endpoint", d.Name)
		}
	}
}

func TestPythonUserAssigned(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-153", "R-172", "R-173", "R-174", "R-175", "R-176", "R-177", "R-178", "R-806", "R-808")
	bin := python(t, "python")
	got := run(t, labOf(t).command(t, filepath.Join(bin, "python"), script("python", "uai.py"), "py-uai", "pyuaistorage", "py-identity"))
	got.want(t, map[string]any{
		"state": "Succeeded", "identity": "user_assigned", "deployed": "Succeeded",
		"traffic": map[string]int{"blue": 100}, "left": false,
	})
	if n, _ := got["assigned"].([]any); len(n) != 3 {
		t.Errorf("the identity has the assignments %v, want three", got["assigned"])
	}
	got.wantServed(t)
}

// TestPythonConnections makes a connection of every class the library has, reads
// them back without and with their secrets, and deploys with references to one.
func TestPythonConnections(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-213", "R-218", "R-702", "R-703", "R-705", "R-706", "R-711", "R-1055")
	bin := python(t, "python")
	got := run(t, labOf(t).command(t, filepath.Join(bin, "python"), script("python", "connections.py"), "py-connected", "pyconnectstorage"))
	got.want(t, map[string]any{
		"made": 11, "key": nil, "filled": "the-aoai-key", "api_version": "2024-02-01", "updated": "again", "missing": "ResourceNotFound",
		"custom": "custom", "custom_metadata": map[string]string{"ACCOUNT": "pyconnectstorage"},
		"listed": []string{"py-aoai", "py-custom", "py-feed", "py-feed-open", "py-git", "py-keys", "py-registry", "py-s3", "py-sas", "py-serverless", "py-sql"},
		"all":    true, "of_git": []string{"py-git"},
		"assigned": []string{"AcrPull", "Azure Machine Learning Workspace Connection Secrets Reader", "AzureML Metrics Writer (preview)", "Storage Blob Data Reader", "Storage Blob Data Reader"},
		"deployed": "Succeeded", "file": "${{azureml://connections/py-keys/credentials/FILE}}", "left": []string{},
	})
	got.wantText(t, "refused", "SecretsInjectionError", "no credential 'NOTHING'")
	got.wantServed(t)
}
