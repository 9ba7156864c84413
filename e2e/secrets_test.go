package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

const (
	secretsReader = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5" // Azure Machine Learning Workspace Connection Secrets Reader
	injected      = "a-value-that-was-injected"
)

// TestInjectedValueOutlivesAKill: after `kill -9` an instance has its secret
// again, or still, with the connection gone; and the value was in clear nowhere,
// neither in a file nor in what the program prints.
func TestInjectedValueOutlivesAKill(t *testing.T) {
	covers.C(t, sdk, "R-705", "R-709", "R-711")
	for _, sandbox := range []string{"auto", "off"} {
		t.Run("sandbox "+sandbox, func(t *testing.T) {
			s := newSite(t)
			emulator := s.start("--world", s.world(), "--sandbox", sandbox)
			out, err := s.run("status")
			if err != nil {
				t.Fatalf("status: %v\n%s", err, out)
			}
			boxed := strings.Contains(out, "sandboxed child processes")
			o := s.owner()
			connections := must(armmachinelearning.NewWorkspaceConnectionsClient(azure.SeedSubscriptionID, o.cred, &azarm.ClientOptions{ClientOptions: o.options}))(t)
			_, err = connections.Create(t.Context(), group, workspace, "mine", armmachinelearning.WorkspaceConnectionPropertiesV2BasicResource{
				Properties: &armmachinelearning.APIKeyAuthWorkspaceConnectionProperties{
					AuthType: to.Ptr(armmachinelearning.ConnectionAuthTypeAPIKey), Category: to.Ptr(armmachinelearning.ConnectionCategoryOpenAI), Target: to.Ptr("https://x.example/"),
					Credentials: &armmachinelearning.WorkspaceConnectionAPIKey{Key: to.Ptr(injected)}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			made, err := o.endpoint(t.Context(), "secretive")
			if err != nil {
				t.Fatal(err)
			}
			if err := o.grant(t.Context(), uuid.NewString(), *made.Identity.PrincipalID, secretsReader, groupID+"/providers/Microsoft.MachineLearningServices/workspaces/"+workspace); err != nil {
				t.Fatal(err)
			}
			environment := o.image(t, "instance")
			variables := map[string]*string{instanceEnv: to.Ptr("1"), "API_KEY": to.Ptr("${{azureml://connections/mine/credentials/key}}")}
			if err := o.deploy(t.Context(), "secretive", environment, "", variables); err != nil {
				t.Fatal(err)
			}
			key := o.key(t, "secretive")
			if got := s.look(t, "secretive", key); got.variable("API_KEY") != injected {
				t.Fatalf("API_KEY=%s", got.variable("API_KEY"))
			}
			if _, err := connections.Delete(t.Context(), group, workspace, "mine", nil); err != nil {
				t.Fatal(err)
			}
			mine := 0
			if boxed {
				mine = s.agent(t, "secretive")
			}
			s.tellsNot(t, emulator)
			emulator.kill()
			s.tellsNot(t, emulator)

			emulator = s.begin("--sandbox", sandbox)
			s.settle(emulator)
			if got := s.look(t, "secretive", key); got.variable("API_KEY") != injected {
				t.Errorf("after the kill API_KEY=%s", got.variable("API_KEY"))
			}
			if boxed && s.agent(t, "secretive") != mine {
				t.Error("the instance did not go on: what it is compared by has changed")
			}
			s.tellsNot(t, emulator)
			emulator.stop()
			s.tellsNot(t, emulator)
		})
	}
}

// tellsNot looks for the injected value in every file below the site's home, in
// what the emulator printed, and in the answers of the commands that tell about
// deployments.
func (s *site) tellsNot(t *testing.T, emulator *running) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(s.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // sockets, and what ends meanwhile
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		files++
		if strings.Contains(string(raw), injected) {
			t.Errorf("%s holds the value", path)
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files were searched: %v", files, err)
	}
	for _, args := range [][]string{{"status"}, {"why"}, {"logs", "secretive/blue"}, {"logs", "secretive/blue", "--container", "storage-initializer"}, {"access", "report"}} {
		if out, _ := s.run(args...); strings.Contains(out, injected) { // some fail while nothing runs
			t.Errorf("amlocal %v tells the value", args)
		}
	}
	if emulator.ProcessState != nil && strings.Contains(emulator.log.String(), injected) {
		t.Error("the emulator printed the value")
	}
}
