package amlocal

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/azure"
)

func (s *session) endpoints(t *testing.T) *armmachinelearning.OnlineEndpointsClient {
	t.Helper()
	return must(armmachinelearning.NewOnlineEndpointsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

func (s *session) deployments(t *testing.T) *armmachinelearning.OnlineDeploymentsClient {
	t.Helper()
	return must(armmachinelearning.NewOnlineDeploymentsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

// wish is an endpoint of one kind: a nil change is system-assigned with keys.
func wish(change func(*armmachinelearning.OnlineEndpoint)) armmachinelearning.OnlineEndpoint {
	e := armmachinelearning.OnlineEndpoint{
		Location:   to.Ptr(azure.SeedLocation),
		Identity:   &armmachinelearning.ManagedServiceIdentity{Type: to.Ptr(armmachinelearning.ManagedServiceIdentityTypeSystemAssigned)},
		Properties: &armmachinelearning.OnlineEndpointProperties{AuthMode: to.Ptr(armmachinelearning.EndpointAuthModeKey)},
	}
	if change != nil {
		change(&e)
	}
	return e
}

// asUser makes a wish for user-assigned identities.
func asUser(ids ...string) func(*armmachinelearning.OnlineEndpoint) {
	return func(e *armmachinelearning.OnlineEndpoint) {
		e.Identity = &armmachinelearning.ManagedServiceIdentity{Type: to.Ptr(armmachinelearning.ManagedServiceIdentityTypeUserAssigned),
			UserAssignedIdentities: map[string]*armmachinelearning.UserAssignedIdentity{}}
		for _, id := range ids {
			e.Identity.UserAssignedIdentities[id] = &armmachinelearning.UserAssignedIdentity{}
		}
	}
}

func (s *session) tryEndpoint(ctx context.Context, t *testing.T, name string, body armmachinelearning.OnlineEndpoint) (armmachinelearning.OnlineEndpoint, error) {
	t.Helper()
	poller, err := s.endpoints(t).BeginCreateOrUpdate(ctx, groupName, wsName, name, body, nil)
	made, err := finish(ctx, poller, err)
	return made.OnlineEndpoint, err
}

func (s *session) endpoint(t *testing.T, name string, body armmachinelearning.OnlineEndpoint) armmachinelearning.OnlineEndpoint {
	t.Helper()
	made, err := s.tryEndpoint(t.Context(), t, name, body)
	if err != nil {
		t.Fatalf("endpoint %s: %v", name, err)
	}
	if got := *made.Properties.ProvisioningState; got != armmachinelearning.EndpointProvisioningStateSucceeded {
		t.Fatalf("endpoint %s ended %s", name, got)
	}
	return made
}

func (s *session) deleteEndpoint(t *testing.T, name string) error {
	t.Helper()
	poller, err := s.endpoints(t).BeginDelete(t.Context(), groupName, wsName, name, nil)
	_, err = finish(t.Context(), poller, err)
	return err
}

func (s *session) deleteDeployment(t *testing.T, endpoint, name string) error {
	t.Helper()
	poller, err := s.deployments(t).BeginDelete(t.Context(), groupName, wsName, endpoint, name, nil)
	_, err = finish(t.Context(), poller, err)
	return err
}

// image registers an environment that brings its own server on port 8080.
func (s *session) image(t *testing.T, name, image string) string {
	t.Helper()
	envs := must(armmachinelearning.NewEnvironmentVersionsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
	route := func(path string) *armmachinelearning.Route {
		return &armmachinelearning.Route{Path: to.Ptr(path), Port: to.Ptr[int32](8080)}
	}
	made, err := envs.CreateOrUpdate(t.Context(), groupName, wsName, name, "1", armmachinelearning.EnvironmentVersion{
		Properties: &armmachinelearning.EnvironmentVersionProperties{Image: &image, InferenceConfig: &armmachinelearning.InferenceContainerProperties{
			ScoringRoute: route("/score"), LivenessRoute: route("/health/live"), ReadinessRoute: route("/health/ready")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

// scorerModel uploads the sample model to the default datastore and registers
// it.
func (s *session) scorerModel(t *testing.T) string {
	t.Helper()
	coefficients, err := os.ReadFile("scenarios/content/endpoints/online/model-1/model/coefficients.json")
	if err != nil {
		t.Fatal(err)
	}
	const blob = "models/model/coefficients.json"
	if _, err := s.keyed(t, azure.SeedStorageAccount).UploadBuffer(t.Context(), azure.SeedContainer, blob, coefficients, nil); err != nil {
		t.Fatal(err)
	}
	models := must(armmachinelearning.NewModelVersionsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
	made, err := models.CreateOrUpdate(t.Context(), groupName, wsName, "regression", "1", armmachinelearning.ModelVersion{
		Properties: &armmachinelearning.ModelVersionProperties{ModelURI: to.Ptr("azureml://datastores/" + azure.SeedDatastore + "/paths/models/model")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

// deployment is a managed deployment of an environment with probes that do not
// dawdle.
func deployment(environment string, change func(*armmachinelearning.ManagedOnlineDeployment)) armmachinelearning.OnlineDeployment {
	probe := &armmachinelearning.ProbeSettings{InitialDelay: to.Ptr("PT0.01S"), Period: to.Ptr("PT0.05S"), FailureThreshold: to.Ptr[int32](400)}
	m := &armmachinelearning.ManagedOnlineDeployment{
		EndpointComputeType: to.Ptr(armmachinelearning.EndpointComputeTypeManaged), EnvironmentID: &environment,
		InstanceType: to.Ptr("Standard_DS3_v2"), ReadinessProbe: probe, LivenessProbe: probe,
		RequestSettings:      &armmachinelearning.OnlineRequestSettings{RequestTimeout: to.Ptr("PT30S"), MaxConcurrentRequestsPerInstance: to.Ptr[int32](8)},
		EnvironmentVariables: map[string]*string{},
	}
	if change != nil {
		change(m)
	}
	return armmachinelearning.OnlineDeployment{Location: to.Ptr(azure.SeedLocation), Properties: m,
		SKU: &armmachinelearning.SKU{Name: to.Ptr("Default"), Capacity: to.Ptr[int32](1)}}
}

// instance is a deployment of this test binary.
func (s *session) instance(t *testing.T) armmachinelearning.OnlineDeployment {
	t.Helper()
	return deployment(s.image(t, "instance", "amlocal/instance:1"), func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.EnvironmentVariables[instanceEnv] = to.Ptr("1")
	})
}

// scorer is a deployment of the Go scorer that reads accountOne/box/hello.txt.
func (s *session) scorer(t *testing.T) armmachinelearning.OnlineDeployment {
	t.Helper()
	model := s.scorerModel(t)
	return deployment(s.image(t, "goscorer", "amlocal/goscorer:1"), func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.Model = &model
		m.EnvironmentVariables = map[string]*string{"STORAGE_ACCOUNT_NAME": to.Ptr(accountOne), "STORAGE_CONTAINER_NAME": to.Ptr("box"), "FILE_NAME": to.Ptr("hello.txt")}
	})
}

func (s *session) tryDeploy(t *testing.T, endpoint, name string, body armmachinelearning.OnlineDeployment) error {
	t.Helper()
	poller, err := s.deployments(t).BeginCreateOrUpdate(t.Context(), groupName, wsName, endpoint, name, body, nil)
	_, err = finish(t.Context(), poller, err)
	return err
}

func (s *session) deploy(t *testing.T, endpoint, name string, body armmachinelearning.OnlineDeployment) {
	t.Helper()
	if err := s.tryDeploy(t, endpoint, name, body); err != nil {
		t.Fatalf("deployment %s/%s: %v", endpoint, name, err)
	}
}

// stateOf is a deployment's provisioning state, "" when it is not there.
func (s *session) stateOf(t *testing.T, endpoint, name string) string {
	t.Helper()
	got, err := s.deployments(t).Get(t.Context(), groupName, wsName, endpoint, name, nil)
	if err != nil {
		wantError(t, err, http.StatusNotFound, "ResourceNotFound")
		return ""
	}
	return string(*got.Properties.GetOnlineDeploymentProperties().ProvisioningState)
}

func (s *session) logs(t *testing.T, endpoint, name string, kind armmachinelearning.ContainerType) string {
	t.Helper()
	got, err := s.deployments(t).GetLogs(t.Context(), groupName, wsName, endpoint, name, armmachinelearning.DeploymentLogsRequest{ContainerType: &kind, Tail: to.Ptr[int32](500)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *got.Content
}

// said is the server's log once it has all the texts, or after a minute: what a
// server prints comes behind its answers.
func (s *session) said(t *testing.T, endpoint, name string, texts ...string) (log string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		log = s.logs(t, endpoint, name, armmachinelearning.ContainerTypeInferenceServer)
		lacks := func(text string) bool { return !strings.Contains(log, text) }
		if !slices.ContainsFunc(texts, lacks) || time.Now().After(end) {
			return log
		}
	}
}

func (s *session) keys(t *testing.T, endpoint string) armmachinelearning.EndpointAuthKeys {
	t.Helper()
	got, err := s.endpoints(t).ListKeys(t.Context(), groupName, wsName, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got.EndpointAuthKeys
}

// traffic sets an endpoint's shares with a full PUT of what was read, as the
// SDK samples do.
func (s *session) traffic(t *testing.T, endpoint string, shares map[string]int32) error {
	t.Helper()
	got, err := s.endpoints(t).Get(t.Context(), groupName, wsName, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	got.Properties.Traffic = map[string]*int32{}
	for name, share := range shares {
		got.Properties.Traffic[name] = to.Ptr(share)
	}
	_, err = s.tryEndpoint(t.Context(), t, endpoint, got.OnlineEndpoint)
	return err
}

// answer is a scoring answer.
type answer struct {
	status int
	body   string
	header http.Header
}

// score posts to an endpoint's public address; credential "" sends none.
func (l *lab) score(t *testing.T, endpoint, deployment, credential, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+endpoint+"."+azure.SeedLocation+".inference.ml.azure.com/score", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	if deployment != "" {
		r.Header.Set("azureml-model-deployment", deployment)
	}
	return l.do(t, r)
}

func (l *lab) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := l.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(raw), resp.Header}
}

// ask puts a question to the instance of one deployment.
func (l *lab) ask(t *testing.T, endpoint, deployment string, q question) findings {
	t.Helper()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	a := l.score(t, endpoint, deployment, *l.owner.keys(t, endpoint).PrimaryKey, string(body))
	var f findings
	if err := json.Unmarshal([]byte(a.body), &f); a.status != http.StatusOK || err != nil {
		t.Fatalf("the instance of %s/%s: %d %s", endpoint, deployment, a.status, a.body)
	}
	return f
}
