package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/azure"
)

// The world of these tests: one account with one blob, and what stands for the
// two images.
const (
	boxAccount = "e2ebox"
	boxScope   = groupID + "/providers/Microsoft.Storage/storageAccounts/" + boxAccount
	helloText  = "hello from the box"
)

func (s *site) world() string {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	text := fmt.Sprintf("accounts:\n  - name: %s\n    containers:\n      - name: box\n        blobs: [{name: hello.txt, text: %s}]\n"+
		"images:\n  e2e/goscorer:1: [%s, -port, \"8080\"]\n  e2e/instance:1: [%s]\n", boxAccount, helloText, scorer, self)
	path := filepath.Join(s.home, "world.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// image registers an environment that brings its own server.
func (o *owner) image(t *testing.T, name string) string {
	t.Helper()
	route := func(path string) *armmachinelearning.Route {
		return &armmachinelearning.Route{Path: to.Ptr(path), Port: to.Ptr[int32](8080)}
	}
	made, err := o.envs.CreateOrUpdate(t.Context(), group, workspace, name, "1", armmachinelearning.EnvironmentVersion{
		Properties: &armmachinelearning.EnvironmentVersionProperties{Image: to.Ptr("e2e/" + name + ":1"), InferenceConfig: &armmachinelearning.InferenceContainerProperties{
			ScoringRoute: route("/score"), LivenessRoute: route("/health/live"), ReadinessRoute: route("/health/ready")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

// model registers the sample model from the default datastore.
func (o *owner) model(t *testing.T) string {
	t.Helper()
	coefficients, err := os.ReadFile("../scenarios/content/endpoints/online/model-1/model/coefficients.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.keyed(t, azure.SeedStorageAccount).UploadBuffer(t.Context(), azure.SeedContainer, "models/model/coefficients.json", coefficients, nil); err != nil {
		t.Fatal(err)
	}
	made, err := o.models.CreateOrUpdate(t.Context(), group, workspace, "regression", "1", armmachinelearning.ModelVersion{
		Properties: &armmachinelearning.ModelVersionProperties{ModelURI: to.Ptr("azureml://datastores/" + azure.SeedDatastore + "/paths/models/model")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

// dropAssets deletes what a deployment was made of, as far as it is there: in
// Azure the deployment goes on.
func (o *owner) dropAssets(t *testing.T, environment string) {
	t.Helper()
	if _, err := o.envs.Delete(t.Context(), group, workspace, environment, "1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := o.models.Delete(t.Context(), group, workspace, "regression", "1", nil); err != nil {
		t.Fatal(err)
	}
}

// deploy makes the deployment blue; model may be "".
func (o *owner) deploy(ctx context.Context, endpoint, environment, model string, env map[string]*string) error {
	probe := &armmachinelearning.ProbeSettings{InitialDelay: to.Ptr("PT0.01S"), Period: to.Ptr("PT0.05S"), FailureThreshold: to.Ptr[int32](400)}
	m := &armmachinelearning.ManagedOnlineDeployment{
		EndpointComputeType: to.Ptr(armmachinelearning.EndpointComputeTypeManaged), EnvironmentID: &environment, EnvironmentVariables: env,
		InstanceType: to.Ptr("Standard_DS3_v2"), ReadinessProbe: probe, LivenessProbe: probe,
	}
	if model != "" {
		m.Model = &model
	}
	poller, err := o.deployments.BeginCreateOrUpdate(ctx, group, workspace, endpoint, "blue", armmachinelearning.OnlineDeployment{
		Location: to.Ptr(azure.SeedLocation), Properties: m, SKU: &armmachinelearning.SKU{Name: to.Ptr("Default"), Capacity: to.Ptr[int32](1)}}, nil)
	_, err = finish(ctx, poller, err)
	return err
}

func (o *owner) key(t *testing.T, endpoint string) string {
	t.Helper()
	keys, err := o.endpoints.ListKeys(t.Context(), group, workspace, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *keys.PrimaryKey
}

func (o *owner) logs(t *testing.T, endpoint string) string {
	t.Helper()
	got, err := o.deployments.GetLogs(t.Context(), group, workspace, endpoint, "blue", armmachinelearning.DeploymentLogsRequest{
		ContainerType: to.Ptr(armmachinelearning.ContainerTypeInferenceServer), Tail: to.Ptr[int32](500)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *got.Content
}

// logsOnce is the log once it says something, or after a minute: what a server
// prints comes behind its answers.
func (o *owner) logsOnce(t *testing.T, endpoint string, says func(log string) bool) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if log := o.logs(t, endpoint); says(log) || time.Now().After(end) {
			return log
		}
	}
}

// score posts to blue through the endpoint's public address.
func (s *site) score(endpoint, key string) (status int, body string) {
	s.t.Helper()
	const rows = `{"data": [[1,2,3,4,5,6,7,8,9,10], [10,9,8,7,6,5,4,3,2,1]]}`
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "https://"+endpoint+"."+azure.SeedLocation+".inference.ml.azure.com/score", strings.NewReader(rows))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("azureml-model-deployment", "blue")
	resp, err := s.http.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// scoreSoon scores once the deployment is up again.
func (s *site) scoreSoon(endpoint, key string) string {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		status, body := s.score(endpoint, key)
		if status == http.StatusOK {
			return body
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("endpoint %s does not serve again: %d %s", endpoint, status, body)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
