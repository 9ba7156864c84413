package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// createEndpoint sends an endpoint's definition and waits for it.
func (c *cloud) createEndpoint(ctx context.Context, e *endpointFile) (*ml.OnlineEndpoint, error) {
	body, err := e.wire()
	if err != nil {
		return nil, err
	}
	poller, err := c.endpoints.BeginCreateOrUpdate(ctx, group, workspace, e.Name, body, nil)
	if err != nil {
		return nil, err
	}
	if _, err := poller.PollUntilDone(ctx, poll()); err != nil {
		return nil, err
	}
	got, err := c.endpoints.Get(ctx, group, workspace, e.Name, nil)
	return &got.OnlineEndpoint, err
}

// allTraffic sends everything to one deployment: the endpoint is read and
// written back whole, as the clients do.
func (c *cloud) allTraffic(ctx context.Context, endpoint, deployment string) error {
	got, err := c.endpoints.Get(ctx, group, workspace, endpoint, nil)
	if err != nil {
		return err
	}
	got.Properties.Traffic = map[string]*int32{deployment: to.Ptr[int32](100)}
	return c.putEndpoint(ctx, endpoint, got.OnlineEndpoint)
}

// deploy uploads a definition's assets, creates the deployment and waits.
func (c *cloud) deploy(ctx context.Context, endpoint string, d *deploymentFile) (*ml.OnlineDeployment, error) {
	if _, err := c.endpoints.Get(ctx, group, workspace, endpoint, nil); err != nil {
		return nil, err // nothing is uploaded for an endpoint that is not there
	}
	body, properties := d.wire()
	if d.Code != nil {
		id, registered := resourceRef(d.Code.Path)
		if !registered {
			var err error
			if id, err = c.registerCode(ctx, d.at(d.Code.Path)); err != nil {
				return nil, fmt.Errorf("code: %w", err)
			}
		}
		properties.CodeConfiguration = &ml.CodeConfiguration{CodeID: &id, ScoringScript: &d.Code.Script}
	}
	environment, err := c.registerEnvironment(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	properties.EnvironmentID = &environment
	if d.Model.Ref != "" || d.Model.Path != "" {
		model, err := c.registerModel(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		properties.Model = &model
	}
	poller, err := c.deployments.BeginCreateOrUpdate(ctx, group, workspace, endpoint, d.Name, body, nil)
	if err != nil {
		return nil, err
	}
	if _, err := poller.PollUntilDone(ctx, poll()); err != nil {
		return nil, err
	}
	got, err := c.deployments.Get(ctx, group, workspace, endpoint, d.Name, nil)
	return &got.OnlineDeployment, err
}

// provisioningState is a deployment's, "" while there is none.
func (c *cloud) provisioningState(ctx context.Context, endpoint, deployment string) (ml.DeploymentProvisioningState, error) {
	got, err := c.deployments.Get(ctx, group, workspace, endpoint, deployment, nil)
	if notFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return *got.Properties.GetOnlineDeploymentProperties().ProvisioningState, nil
}

func (c *cloud) deleteDeployment(ctx context.Context, endpoint, deployment string) error {
	poller, err := c.deployments.BeginDelete(ctx, group, workspace, endpoint, deployment, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, poll())
	return err
}

func (c *cloud) deleteEndpoint(ctx context.Context, endpoint string) error {
	poller, err := c.endpoints.BeginDelete(ctx, group, workspace, endpoint, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, poll())
	return err
}

// logs reads a deployment's log; container "" is the one clients read by
// default, the inference server's.
func (c *cloud) logs(ctx context.Context, endpoint, deployment string, container ml.ContainerType) (string, error) {
	request := ml.DeploymentLogsRequest{Tail: to.Ptr[int32](1000)}
	if container != "" {
		request.ContainerType = &container
	}
	got, err := c.deployments.GetLogs(ctx, group, workspace, endpoint, deployment, request, nil)
	if err != nil {
		return "", err
	}
	return *got.Content, nil
}

// score asks an endpoint with its key; deployment "" leaves the choice to the
// traffic rules.
func (c *cloud) score(ctx context.Context, endpoint, deployment string, request []byte) (status int, answer string, err error) {
	got, err := c.endpoints.Get(ctx, group, workspace, endpoint, nil)
	if err != nil {
		return 0, "", err
	}
	keys, err := c.endpoints.ListKeys(ctx, group, workspace, endpoint, nil)
	if err != nil {
		return 0, "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, *got.Properties.ScoringURI, bytes.NewReader(request))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+*keys.PrimaryKey)
	if deployment != "" {
		r.Header.Set("azureml-model-deployment", deployment)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

// serviceError is the code and message of an error a service answered, also of
// an operation that ended with one.
func serviceError(err error) (code, message string) {
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		return "", err.Error()
	}
	code, message = re.ErrorCode, err.Error()
	if re.RawResponse == nil {
		return code, message
	}
	raw, readErr := runtime.Payload(re.RawResponse)
	if readErr != nil {
		return code, message
	}
	var body struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(raw, &body) == nil && body.Error.Message != "" {
		return body.Error.Code, body.Error.Message
	}
	return code, message
}
