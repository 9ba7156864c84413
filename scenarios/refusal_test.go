package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

const neighbour = "/subscriptions/" + azure.SeedSubscriptionID + "/resourceGroups/" + group + "/providers/Microsoft.Storage/storageAccounts/neighbourstorage"

// TestWrongRoles gives the identity every role that looks as if it helped.
func TestWrongRoles(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-206", "R-217", "R-908", "R-1001", "R-1002", "R-1003", "R-1033")
	f := flowOf(t, start(t, nil), "sai", "go")
	ctx := t.Context()
	_, err := f.cloud.containers.Create(ctx, group, f.scenario.account, "sibling-container", armstorage.BlobContainer{}, nil)
	must(t, err)
	containers := f.accountID + "/blobServices/default/containers/"
	refused := []struct{ name, role, scope string }{
		{"no role", "", ""},
		{"Owner", "Owner", f.accountID},
		{"Contributor", "Contributor", f.accountID},
		{"Reader", "Reader", f.accountID},
		{"another account", blobReader, neighbour},
		{"a container of that name in another account", blobReader, neighbour + "/blobServices/default/containers/" + containerName},
		{"a sibling container", blobReader, containers + "sibling-container"},
	}
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			if tt.role != "" {
				defer revoke(t, f, grant(t, f, tt.role, tt.scope))
			}
			d, err := f.definition("blue")
			must(t, err)
			code, message, log, _ := mustFail(t, f, d)
			if code != "ResourceNotReady" {
				t.Errorf("code %s", code)
			}
			contains(t, "the error", message, "403 Forbidden: "+mismatch)
			contains(t, "the log", log, mismatch)
		})
	}
	for _, tt := range []struct{ name, role, scope string }{
		{"on the container", blobReader, containers + containerName},
		{"on the account", "Storage Blob Data Owner", f.accountID},
		{"on the resource group", "Storage Blob Data Contributor", "/subscriptions/" + azure.SeedSubscriptionID + "/resourceGroups/" + group},
	} {
		t.Run("enough "+tt.name, func(t *testing.T) {
			defer revoke(t, f, grant(t, f, tt.role, tt.scope))
			must(t, f.deploy(ctx, "blue"))
			must(t, f.cloud.deleteDeployment(ctx, f.endpoint, "blue"))
		})
	}
}

// TestPlatformRoles takes from a user-assigned identity what the platform
// itself needs: the deployment fails before any user code, at its own stage.
func TestPlatformRoles(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-208", "R-209", "R-1031", "R-1032")
	f := flowOf(t, start(t, nil), "uai", "python") // its image is built by the workspace, so pulled from its registry
	grant(t, f, blobReader, f.accountID)
	deploy := func(t *testing.T) (message, initializer string) {
		t.Helper()
		d, err := f.definition("blue")
		must(t, err)
		code, message, server, initializer := mustFail(t, f, d)
		if code != "BadArgument" {
			t.Errorf("code %s: %s", code, message)
		}
		if strings.Contains(server, "Token acquired") {
			t.Errorf("user code ran:\n%s", server)
		}
		return message, initializer
	}
	t.Run("no AcrPull", func(t *testing.T) {
		message, initializer := deploy(t)
		contains(t, "the error", message, "AcrPull", azure.SeedRegistry, f.principal)
		contains(t, "storage-initializer", initializer, "not authorized to pull", azure.SeedRegistry)
	})
	t.Run("no role on the default datastore", func(t *testing.T) {
		ws, err := f.cloud.workspaces.Get(t.Context(), group, workspace, nil)
		must(t, err)
		grant(t, f, "AcrPull", *ws.Properties.ContainerRegistry)
		message, initializer := deploy(t)
		contains(t, "the error", message, blobReader, azure.SeedStorageAccount, f.principal, mismatch)
		contains(t, "storage-initializer", initializer, "could not be downloaded", mismatch)
	})
}

// TestClientIDs sends a wrong UAI_CLIENT_ID, or leaves the placeholder.
func TestClientIDs(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-506", "R-1005", "R-1006")
	f := flowOf(t, start(t, nil), "uai", "go")
	must(t, f.permit(t.Context()))
	for name, id := range map[string]string{"placeholder": "uai_client_id_place_holder", "a stranger": "00000000-0000-4000-8000-000000000009", "its object id": f.principal} {
		t.Run(name, func(t *testing.T) {
			d, err := f.definition("blue", "environment_variables.UAI_CLIENT_ID="+id)
			must(t, err)
			_, message, _, _ := mustFail(t, f, d)
			contains(t, "the error", message, "token refused: 400")
		})
	}
	must(t, f.deploy(t.Context(), "blue"))
}

// TestBrokenDefinitions end Failed before anything runs.
func TestBrokenDefinitions(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-1034", "R-1035", "R-607")
	f := flowOf(t, start(t, nil), "sai", "python")
	definition := func(set ...string) *deploymentFile {
		t.Helper()
		d, err := f.definition("blue", set...)
		must(t, err)
		return d
	}
	t.Run("missing script", func(t *testing.T) {
		code, message, log, _ := mustFail(t, f, definition("code_configuration.scoring_script=nowhere.py"))
		if code != "ResourceNotReady" {
			t.Errorf("code %s", code)
		}
		contains(t, "the error", message, "nowhere.py")
		contains(t, "the log of what never ran", log, "try again later")
	})
	t.Run("unknown image", func(t *testing.T) {
		f.scorer = "go"
		defer func() { f.scorer = "python" }()
		code, message, _, _ := mustFail(t, f, definition("environment.image=nobody/nothing:1"))
		if code != "BadArgument" {
			t.Errorf("code %s", code)
		}
		contains(t, "the error", message, "nobody/nothing:1")
	})
	t.Run("a registry that does not exist", func(t *testing.T) {
		f.scorer = "go"
		defer func() { f.scorer = "python" }()
		code, message, _, _ := mustFail(t, f, definition("environment.image=nowhere.azurecr.io/scorer:1"))
		if code != "BadArgument" {
			t.Errorf("code %s", code)
		}
		contains(t, "the error", message, "nowhere")
	})
	t.Run("a Python that is not there", func(t *testing.T) {
		conda := filepath.Join(t.TempDir(), "conda.yml")
		must(t, os.WriteFile(conda, []byte("dependencies:\n- python=3.7\n"), 0o600))
		code, message, _, _ := mustFail(t, f, definition("environment.conda_file="+conda))
		if code != "ImageBuildFailure" {
			t.Errorf("code %s: %s", code, message)
		}
		contains(t, "the error", message, "3.7")
	})
	t.Run("after a failure the name has to be deleted first", func(t *testing.T) {
		d := definition("code_configuration.scoring_script=nowhere.py")
		if _, err := f.cloud.deploy(t.Context(), f.endpoint, d); err == nil {
			t.Fatal("it succeeded")
		}
		_, err := f.cloud.deployments.BeginCreateOrUpdate(t.Context(), group, workspace, f.endpoint, d.Name, minimal(), nil)
		if code, message := serviceError(err); err == nil || code == "" {
			t.Errorf("%s: %s", code, message)
		}
		must(t, f.cloud.deleteDeployment(t.Context(), f.endpoint, d.Name))
	})
	t.Run("endpoint that is not there", func(t *testing.T) {
		if _, err := f.cloud.deploy(t.Context(), "nowhere", definition()); !notFound(err) {
			t.Errorf("%v", err)
		}
	})
}
