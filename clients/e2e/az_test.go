package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

const azureCLI = "azure-cli"

// azCommand is a script of clients/az: az on PATH, signed in by nothing but
// the variables and files of `amlocal env`.
func azCommand(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if lacks := lacksProgram("bash", "jq"); lacks != "" {
		covers.NotRun(t, "azure-cli client", lacks)
	}
	az, aml := python(t, "az"), python(t, "python")
	cmd := labOf(t).command(t, script("az", name), args...)
	for i, kv := range cmd.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			cmd.Env[i] = "PATH=" + az + string(filepath.ListSeparator) + path
		}
	}
	cmd.Env = append(cmd.Env, "AML_PYTHON="+filepath.Join(aml, "python"))
	return cmd
}

func TestAzSystemAssigned(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-101", "R-103", "R-104", "R-106", "R-113", "R-114", "R-115", "R-116", "R-117", "R-121", "R-122")
	covers.C(t, azureAIML, "R-111", "R-112", "R-118", "R-119", "R-120", "R-123", "R-124", "R-126", "R-127", "R-128", "R-129")
	got := run(t, azCommand(t, "howto.sh", "sai", "az-sai", "azsaistorage", "none"))
	got.want(t, map[string]any{"container": true, "left": []string{}})
	got.wantObject(t, "endpoint", map[string]any{"name": "az-sai", "auth_mode": "key", "provisioning_state": "Succeeded", "traffic": map[string]int{}})
	got.wantObject(t, "deployment", map[string]any{
		"name": "blue", "provisioning_state": "Succeeded", "instance_count": 1, "instance_type": "Standard_DS3_v2",
		"environment_variables": map[string]string{
			"STORAGE_ACCOUNT_NAME": "azsaistorage", "STORAGE_CONTAINER_NAME": "hello-world-container", "FILE_NAME": "hello.txt",
		},
	})
	got.wantServed(t)
}

func TestAzUserAssigned(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-131", "R-132", "R-133", "R-134", "R-135", "R-140")
	covers.C(t, azureAIML, "R-136", "R-137", "R-138", "R-139")
	got := run(t, azCommand(t, "howto.sh", "uai", "az-uai", "azuaistorage", "az-identity"))
	got.want(t, map[string]any{"container": true, "left": []string{}})
	if roles, _ := got["roles"].([]any); len(roles) != 3 {
		t.Errorf("the identity's roles are %v, want three", got["roles"])
	}
	got.wantObject(t, "deployment", map[string]any{"name": "blue", "provisioning_state": "Succeeded"})
	got.wantServed(t)
}

func TestAzCommands(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-101", "R-116", "R-117", "R-132", "R-135", "R-805", "R-1003")
	got := run(t, azCommand(t, "commands.sh", "azcommands", "az-named", "az-robot"))
	got.want(t, map[string]any{
		"account": []string{"amlocal", "servicePrincipal"}, "group": "eastus",
		"created": "Succeeded", "keys": []string{"key1", "key2"}, "container": true, "again": false,
		"uploaded": true, "listed": []string{"up.txt"}, "downloaded": "some text\n",
		"loginListed": []string{"up.txt"}, "loginUploaded": true,
		"definition": []string{"2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"},
		"byAssignee": "ServicePrincipal", "byObject": "ServicePrincipal", "twice": "ServicePrincipal",
		"assignments": []string{"Reader", "Storage Blob Data Reader"}, "removed": nil, "kept": []string{"Storage Blob Data Reader"},
		"kind": []string{"ManagedIdentity"}, "otherLogin": []string{"amlocal"}, "otherReads": "azcommands",
		"rest": []string{"amlocal-rg"}, "resources": []string{"az-named"}, "provider": "Registered", "token": "Bearer", "appGone": []string{},
	})
	for key, want := range map[string]struct {
		exit float64
		text string
	}{
		"loginRefused": {1, "Storage Blob Data Reader"},
		"notFound":     {3, "BlobNotFound"},
		"nobody":       {1, "nobody@example.com"},
		"notMe":        {1, "/me request is only valid with delegated authentication flow."},
		"wrongSecret":  {1, "AADSTS7000215"},
		"otherKeys":    {1, "AuthorizationFailed"},
		"otherGraph":   {1, "Insufficient privileges to complete the operation."},
		"gone":         {3, "ResourceNotFound"},
	} {
		failure, _ := got[key].(map[string]any)
		if text, _ := failure["error"].(string); failure["exit"] != want.exit || !strings.Contains(text, want.text) {
			t.Errorf("%s is %v, want exit %v and %q", key, got[key], want.exit, want.text)
		}
	}
}

// TestAzConnections runs the commands of docs/secrets.md.
func TestAzConnections(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-702", "R-703")
	got := run(t, azCommand(t, "connections.sh", "az-keys"))
	for _, answer := range []string{"made", "shown"} {
		got.wantObject(t, answer, map[string]any{"name": "az-keys", "type": "Microsoft.MachineLearningServices/workspaces/connections"})
		properties, _ := got[answer].(map[string]any)["properties"].(map[string]any)
		outcome(properties).want(t, map[string]any{"authType": "CustomKeys", "credentials": nil, "metadata": map[string]string{"API_BASE": "https://example.com"}})
	}
	got.want(t, map[string]any{"listed": []string{"CustomKeys"}, "secrets": map[string]string{"API_KEY": "the-az-key"}, "changed": "the-next-key"})
	got.wantText(t, "refused", "ValidationError", "credentials.key")
	got.wantText(t, "left", "ResourceNotFound")
}
