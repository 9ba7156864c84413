package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestDocumentedFlow looks at every station of the how-to what a client sees
// there.
func TestDocumentedFlow(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-115", "R-116", "R-117", "R-119", "R-120", "R-124", "R-126", "R-157", "R-158", "R-201", "R-202", "R-205",
		"R-210", "R-211", "R-212", "R-214", "R-217", "R-601", "R-604", "R-605", "R-606", "R-609")
	s := start(t, nil)
	ctx, c := t.Context(), s.cloud
	f := flowOf(t, s, "sai", "go")

	t.Run("storage", func(t *testing.T) {
		account, err := c.accounts.GetProperties(ctx, group, f.scenario.account, nil)
		must(t, err)
		if *account.ID != f.accountID || *account.Properties.PrimaryEndpoints.Blob != "https://saidemostorage.blob.core.windows.net/" {
			t.Errorf("account %s, %s", *account.ID, *account.Properties.PrimaryEndpoints.Blob)
		}
		key, err := c.accountKey(ctx, f.scenario.account)
		must(t, err)
		client, err := azblob.NewClientWithSharedKeyCredential(f.accountBlob, key, &azblob.ClientOptions{ClientOptions: c.options()})
		must(t, err)
		_, err = client.CreateContainer(ctx, "made-with-the-key", nil)
		must(t, err)
		if _, err := c.containers.Get(ctx, group, f.scenario.account, "made-with-the-key", nil); err != nil {
			t.Errorf("a container made with the key is not there for the control plane: %v", err)
		}
		got := make([]byte, 200)
		n, err := client.DownloadBuffer(ctx, containerName, fileName, got, nil)
		must(t, err)
		if strings.TrimSpace(string(got[:n])) != f.text {
			t.Errorf("the blob reads back as %q", got[:n])
		}
	})

	t.Run("endpoint without deployment", func(t *testing.T) {
		e, err := c.endpoints.Get(ctx, group, workspace, f.endpoint, nil)
		must(t, err)
		p := e.Properties
		if *p.ProvisioningState != ml.EndpointProvisioningStateSucceeded || *p.AuthMode != ml.EndpointAuthModeKey || len(p.Traffic) != 0 ||
			*p.ScoringURI != "https://my-sai-endpoint.eastus.inference.ml.azure.com/score" {
			t.Errorf("endpoint %s, auth %s, traffic %v, %s", *p.ProvisioningState, *p.AuthMode, p.Traffic, *p.ScoringURI)
		}
		if *e.Identity.Type != ml.ManagedServiceIdentityTypeSystemAssigned || uuid.Validate(*e.Identity.PrincipalID) != nil || *e.Identity.TenantID == "" {
			t.Errorf("identity %s %s", *e.Identity.Type, *e.Identity.PrincipalID)
		}
		if status, answer, err := c.score(ctx, f.endpoint, "", []byte("{}")); err != nil || status != 404 {
			t.Errorf("scored %d %s %v; an endpoint without deployments answers 404", status, answer, err)
		}
		for pager := c.identities.NewListByResourceGroupPager(group, nil); pager.More(); {
			page, err := pager.NextPage(ctx)
			must(t, err)
			if len(page.Value) != 0 {
				t.Errorf("a system-assigned identity is no resource, but %s is listed", *page.Value[0].ID)
			}
		}
	})

	t.Run("automatic roles", func(t *testing.T) {
		roles, err := c.held(ctx, f.principal)
		must(t, err)
		if !slices.Equal(roles, systemAssigned) {
			t.Errorf("the identity holds %q", roles)
		}
	})

	assignment := grant(t, f, blobReader, f.accountID)
	must(t, f.deploy(ctx, "blue"))
	must(t, c.allTraffic(ctx, f.endpoint, "blue"))

	t.Run("deployment", func(t *testing.T) {
		d, err := c.deployments.Get(ctx, group, workspace, f.endpoint, "blue", nil)
		must(t, err)
		p := d.Properties.(*ml.ManagedOnlineDeployment)
		want := map[string]string{"STORAGE_ACCOUNT_NAME": f.scenario.account, "STORAGE_CONTAINER_NAME": containerName, "FILE_NAME": fileName}
		for name, value := range want {
			if got := p.EnvironmentVariables[name]; got == nil || *got != value {
				t.Errorf("%s is %v, want %s", name, got, value)
			}
		}
		if len(p.EnvironmentVariables) != len(want) || *p.InstanceType != "Standard_DS3_v2" || *d.SKU.Capacity != 1 {
			t.Errorf("%d variables, %s × %d", len(p.EnvironmentVariables), *p.InstanceType, *d.SKU.Capacity)
		}
		for _, id := range []*string{p.Model, p.EnvironmentID} {
			if !strings.Contains(*id, "/resourceGroups/") || !strings.Contains(*id, "/versions/") {
				t.Errorf("asset id %s", *id)
			}
		}
		initializer, err := c.logs(ctx, f.endpoint, "blue", ml.ContainerTypeStorageInitializer)
		must(t, err)
		contains(t, "storage-initializer", initializer, "Downloaded model", f.principal)
	})

	t.Run("environment is registered", func(t *testing.T) {
		pager := c.environments.NewListPager(group, workspace, "CliV2AnonymousEnvironment", nil)
		page, err := pager.NextPage(ctx)
		must(t, err)
		if len(page.Value) != 1 || *page.Value[0].Properties.Image != scorerImage {
			t.Errorf("%d environments", len(page.Value))
		}
	})

	t.Run("model is registered", func(t *testing.T) {
		model, err := readFolder(filepath.Join(s.files, contentRoot, "model-1", "model"))
		must(t, err)
		got, err := c.models.Get(ctx, group, workspace, model.hash, "1", nil)
		must(t, err)
		if !strings.HasSuffix(*got.Properties.ModelURI, "/paths/LocalUpload/"+model.hash+"/model") {
			t.Errorf("model at %s", *got.Properties.ModelURI)
		}
	})

	t.Run("traffic", func(t *testing.T) {
		e, err := c.endpoints.Get(ctx, group, workspace, f.endpoint, nil)
		must(t, err)
		if got := e.Properties.Traffic; len(got) != 1 || *got["blue"] != 100 {
			t.Errorf("traffic %v", got)
		}
		if *e.Identity.PrincipalID != f.principal {
			t.Errorf("the identity changed to %s by a traffic update", *e.Identity.PrincipalID)
		}
	})

	t.Run("recreated", func(t *testing.T) {
		covers.C(t, goSDK, "R-801", "R-802", "R-804", "R-807")
		must(t, c.deleteEndpoint(ctx, f.endpoint))
		for _, name := range []string{"blue", "green"} {
			if state, err := c.provisioningState(ctx, f.endpoint, name); err != nil || state != "" {
				t.Errorf("%s is %q (%v) after its endpoint was deleted", name, state, err)
			}
		}
		if left := s.emulator.Status().Deployments; len(left) != 0 {
			t.Errorf("still running: %+v", left)
		}
		if got, err := readFolder(filepath.Join(s.files, contentRoot, "model-1", "model")); err != nil {
			t.Error(err)
		} else if _, err := c.models.Get(ctx, group, workspace, got.hash, "1", nil); err != nil {
			t.Errorf("the model went with the endpoint: %v", err)
		}
		definition, err := loadEndpoint(f.file(f.scenario.endpointFile))
		must(t, err)
		again, err := c.createEndpoint(ctx, definition)
		must(t, err)
		old := f.principal
		f.principal = *again.Identity.PrincipalID
		if f.principal == old {
			t.Fatal("a new endpoint has the old one's principal")
		}
		d, err := f.definition("blue")
		must(t, err)
		_, message, _, _ := mustFail(t, f, d)
		contains(t, "the old assignment does not apply", message, mismatch)
		revoke(t, f, assignment)
	})
}

// TestCodeIsUploadedOnce finds a code asset by its content, under whatever
// name it is asked for.
func TestCodeIsUploadedOnce(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-123")
	c := start(t, nil).cloud
	dir := filepath.Join(t.TempDir(), "src")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "score.py"), []byte("pass\n"), 0o600))
	one, err := c.registerCode(t.Context(), dir)
	must(t, err)
	two, err := c.registerCode(t.Context(), dir)
	must(t, err)
	if one != two {
		t.Errorf("the same folder became %s and %s", one, two)
	}
	must(t, os.WriteFile(filepath.Join(dir, "score.py"), []byte("pass # changed\n"), 0o600))
	if three, err := c.registerCode(t.Context(), dir); err != nil || three == one {
		t.Errorf("a changed folder became %s (%v)", three, err)
	}
	// A model twice: nothing is uploaded again, the version stays.
	a, err := c.registerModel(t.Context(), &deploymentFile{Model: modelRef{modelFile: modelFile{Path: dir}}})
	must(t, err)
	if b, err := c.registerModel(t.Context(), &deploymentFile{Model: modelRef{modelFile: modelFile{Path: dir}}}); err != nil || a != b {
		t.Errorf("the same model became %s and %s (%v)", a, b, err)
	}
}

// TestAssignmentTwice is refused by a code of its own.
func TestAssignmentTwice(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-1042")
	f := flowOf(t, start(t, nil), "sai", "go")
	grant(t, f, blobReader, f.accountID)
	_, err := f.cloud.assignments.Create(t.Context(), f.accountID, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &f.principal, RoleDefinitionID: to.Ptr(
			"/subscriptions/a0a0a0a0-0000-4000-8000-000000000002/providers/Microsoft.Authorization/roleDefinitions/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1")},
	}, nil)
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != 409 || re.ErrorCode != "RoleAssignmentExists" {
		t.Errorf("%v", err)
	}
}
