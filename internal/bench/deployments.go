package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/scenarios"
)

// deployed is how long deployments of one kind took from their PUT to their
// first score, and what of it the scoring script's own imports and init were.
type deployed struct {
	What      string
	Took, Own []time.Duration
}

// script imports what the how-to's does and notes how long that took.
const script = `import time
began = time.time()
import azure.identity, azure.storage.blob, joblib, numpy, requests, sklearn.linear_model
imported = time.time() - began

def init():
    print(f"own work: {imported:.3f} s")

def run(data):
    return data
`

const goDeployment = `name: blue
endpoint_name: bench
instance_type: Standard_DS3_v2
environment:
  image: amlocal/goscorer:1
  inference_config:
    liveness_route: {port: 8080, path: /health/live}
    readiness_route: {port: 8080, path: /health/ready}
    scoring_route: {port: 8080, path: /score}
environment_variables: {STORAGE_ACCOUNT_NAME: benchstorage, STORAGE_CONTAINER_NAME: box, FILE_NAME: hello.txt}
model: {path: model}
`

const pythonDeployment = `name: green
endpoint_name: bench
instance_type: Standard_DS3_v2
code_configuration: {code: code, scoring_script: score.py}
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest
  conda_file: conda.yml
`

const benchWorld = `accounts:
  - name: benchstorage
    containers:
      - name: box
        blobs: [{name: hello.txt, text: hello}]
identities:
  - name: bench-identity
assignments:
  - {principal: bench-identity, role: Storage Blob Data Reader, scope: "account:benchstorage"}
  - {principal: bench-identity, role: Storage Blob Data Reader, scope: "account:` + azure.SeedStorageAccount + `"}
  - {principal: bench-identity, role: AcrPull, scope: "registry:` + azure.SeedRegistry + `"}
`

const benchEndpoint = `name: bench
traffic: {}
auth_mode: key
identity:
  type: user_assigned
  user_assigned_identities:
    - resource_id: /subscriptions/` + azure.SeedSubscriptionID + `/resourceGroups/` + azure.SeedResourceGroup + `/providers/Microsoft.ManagedIdentity/userAssignedIdentities/bench-identity
`

// request is what the Go server is asked, and the script, which does not care.
const request = `{"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}`

// deployments measures a runner: a container that brings its own Go server,
// deployed anew, and a Python script whose deployment is updated.
func deployments(ctx context.Context, bin, runner string, times int) (_ []deployed, err error) {
	dir, err := os.MkdirTemp("", "amlocal-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	const online = "scenarios/content/endpoints/online/"
	for name, text := range map[string]string{
		"world.yml": benchWorld, "endpoint.yml": benchEndpoint, "go.yml": goDeployment, "python.yml": pythonDeployment, "code/score.py": script,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			return nil, err
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "model"), os.DirFS(online+"model-1/model")); err != nil {
		return nil, err
	}
	conda, err := os.ReadFile(online + "model-1/environment/conda-managedidentity.yml")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "conda.yml"), conda, 0o600); err != nil {
		return nil, err
	}
	bin, err = filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	emulator, err := amlocal.New(ctx, amlocal.Config{
		Ephemeral: true, Runner: runner, AgentBinary: bin, World: filepath.Join(dir, "world.yml"), CADir: filepath.Join(dir, "ca"), RelaxConda: true, SandboxAgent: bin,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, emulator.Close(context.WithoutCancel(ctx))) }()
	if err := emulator.Start(ctx); err != nil {
		return nil, err
	}
	c, err := connect(emulator.Access())
	if err != nil {
		return nil, err
	}
	defer c.http.CloseIdleConnections()
	var out []deployed
	if runner == "docker" {
		row := deployed{What: "container with a Go server, deployed anew"}
		if err := c.apply(ctx, emulator, dir, "go.yml"); err != nil {
			return nil, err
		}
		for range times {
			body, err := c.deployments.Get(ctx, azure.SeedResourceGroup, azure.SeedWorkspace, "bench", "blue", nil)
			if err != nil {
				return nil, err
			}
			if err := c.remove(ctx, "blue"); err != nil {
				return nil, err
			}
			took, err := c.deploy(ctx, "blue", body.OnlineDeployment)
			if err != nil {
				return nil, err
			}
			row.Took = append(row.Took, took)
		}
		out = append(out, row)
	}
	row := deployed{What: runner + ": Python script, deployment updated"}
	if err := c.apply(ctx, emulator, dir, "python.yml"); err != nil {
		return nil, err
	}
	for n := range times {
		body, err := c.deployments.Get(ctx, azure.SeedResourceGroup, azure.SeedWorkspace, "bench", "green", nil)
		if err != nil {
			return nil, err
		}
		body.Properties.GetOnlineDeploymentProperties().EnvironmentVariables["ROUND"] = to.Ptr(strconv.Itoa(n))
		took, err := c.deploy(ctx, "green", body.OnlineDeployment)
		if err != nil {
			return nil, err
		}
		own, err := c.ownWork(ctx)
		if err != nil {
			return nil, err
		}
		row.Took, row.Own = append(row.Took, took), append(row.Own, own)
	}
	return append(out, row), nil
}

// caller is the SDK, signed in as the owner.
type caller struct {
	http        *http.Client
	endpoints   *armmachinelearning.OnlineEndpointsClient
	deployments *armmachinelearning.OnlineDeploymentsClient
	key         string
}

func connect(access amlocal.Access) (*caller, error) {
	bundle, err := os.ReadFile(access.Bundle)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	proxy, err := url.Parse(access.URL())
	if err != nil {
		return nil, err
	}
	c := &caller{http: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}}
	options := policy.ClientOptions{Transport: c.http}
	cred, err := azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, access.OwnerSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	clients, err := armmachinelearning.NewClientFactory(azure.SeedSubscriptionID, cred, &arm.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	c.endpoints, c.deployments = clients.NewOnlineEndpointsClient(), clients.NewOnlineDeploymentsClient()
	return c, nil
}

// apply creates the endpoint and a deployment of a file.
func (c *caller) apply(ctx context.Context, emulator *amlocal.Emulator, dir, file string) error {
	definitions, err := scenarios.LoadDefinitions([]string{filepath.Join(dir, "endpoint.yml"), filepath.Join(dir, file)})
	if err != nil {
		return err
	}
	var said bytes.Buffer
	if err := scenarios.Apply(ctx, emulator.Access(), definitions, &said); err != nil {
		return fmt.Errorf("%w\n%s", err, said.String())
	}
	keys, err := c.endpoints.ListKeys(ctx, azure.SeedResourceGroup, azure.SeedWorkspace, "bench", nil)
	if err != nil {
		return err
	}
	c.key = *keys.PrimaryKey
	return nil
}

// deploy puts a deployment and waits until it answered a request.
func (c *caller) deploy(ctx context.Context, name string, body armmachinelearning.OnlineDeployment) (time.Duration, error) {
	begin := time.Now()
	poller, err := c.deployments.BeginCreateOrUpdate(ctx, azure.SeedResourceGroup, azure.SeedWorkspace, "bench", name, body, nil)
	if err := finish(ctx, poller, err); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://bench."+azure.SeedLocation+".inference.ml.azure.com/score", strings.NewReader(request))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("azureml-model-deployment", name)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("score %s: %s %s %w", name, resp.Status, answer, err)
	}
	return time.Since(begin), nil
}

func (c *caller) remove(ctx context.Context, name string) error {
	poller, err := c.deployments.BeginDelete(ctx, azure.SeedResourceGroup, azure.SeedWorkspace, "bench", name, nil)
	return finish(ctx, poller, err)
}

// finish polls without the SDK's pauses: the emulator holds a status request
// until something changed.
func finish[T any](ctx context.Context, poller *runtime.Poller[T], err error) error {
	if err != nil {
		return err
	}
	for !poller.Done() {
		if _, err := poller.Poll(ctx); err != nil { //nolint:bodyclose // the poller read and closed it
			return err
		}
	}
	_, err = poller.Result(ctx)
	return err
}

var ownWork = regexp.MustCompile(`own work: ([0-9.]+) s`)

// ownWork is what the script last wrote about itself.
func (c *caller) ownWork(ctx context.Context) (time.Duration, error) {
	log, err := c.deployments.GetLogs(ctx, azure.SeedResourceGroup, azure.SeedWorkspace, "bench", "green", armmachinelearning.DeploymentLogsRequest{Tail: to.Ptr[int32](200)}, nil)
	if err != nil {
		return 0, err
	}
	all := ownWork.FindAllStringSubmatch(*log.Content, -1)
	if len(all) == 0 {
		return 0, fmt.Errorf("the script says nothing of itself:\n%s", *log.Content)
	}
	seconds, err := strconv.ParseFloat(all[len(all)-1][1], 64)
	return time.Duration(seconds * float64(time.Second)), err
}
