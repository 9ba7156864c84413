package crash

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
	"github.com/amlocal/amlocal/runner/process"
)

const (
	group, workspace = azure.SeedResourceGroup, azure.SeedWorkspace
	groupID          = "/subscriptions/" + azure.SeedSubscriptionID + "/resourceGroups/" + group
	registryID       = groupID + "/providers/Microsoft.ContainerRegistry/registries/" + azure.SeedRegistry
	acrPull          = "/subscriptions/" + azure.SeedSubscriptionID + "/providers/Microsoft.Authorization/roleDefinitions/7f951dda-4ed3-4680-a7ca-43fe172d538d"
	// markEnv is in the environment of everything a row starts.
	markEnv = "CRASH_ROW"
)

// programs are the emulator, for containers to run as the agent, and the faulty
// server, which is also serverImage.
var programs struct{ emulator, server string }

var serverImage = fmt.Sprintf("amlocal-crash/server:%d", os.Getpid())

func TestMain(m *testing.M) {
	amlocal.SandboxAgent()
	// Most rows wait most of the time, whatever the number of processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "amlocal-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs.emulator, programs.server = filepath.Join(dir, "emulator"), filepath.Join(dir, "server")
	code := 1
	if err := errors.Join(build(programs.emulator, "../../cmd/emulator"), build(programs.server, "./server")); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(binary, source string) error {
	cmd := exec.Command("go", "build", "-o", binary, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return nil
}

// lab is one emulator with one back end, and the owner's clients.
type lab struct {
	kind string // docker, sandbox or plain
	e    *amlocal.Emulator
	http *http.Client

	endpoints   *armmachinelearning.OnlineEndpointsClient
	deployments *armmachinelearning.OnlineDeploymentsClient
	envs        *armmachinelearning.EnvironmentVersionsClient
	codes       *armmachinelearning.CodeVersionsClient
	models      *armmachinelearning.ModelVersionsClient
	identities  *armmsi.UserAssignedIdentitiesClient
	assignments *armauthorization.RoleAssignmentsClient
	blobs       *azblob.Client
}

func newLab(t *testing.T, kind string) *lab {
	t.Helper()
	dir := t.TempDir()
	config := amlocal.Config{
		StateDir: filepath.Join(dir, "state"), CADir: filepath.Join(dir, "ca"), World: filepath.Join(dir, "world.yaml"),
		SandboxAgent: "/proc/self/exe", Runner: "process", AgentBinary: programs.emulator, Logf: t.Logf,
	}
	world := "images:\n  " + serverImage + ": [" + programs.server + "]\n"
	switch kind {
	case "docker":
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := docker.Available(ctx, ""); err != nil {
			covers.NotRun(t, "docker", "no engine answers")
		}
		config.Runner = "docker"
		importServer(t)
	case "plain":
		config.Sandbox = process.SandboxOff
	}
	if err := os.WriteFile(config.World, []byte(world), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &lab{kind: kind}
	var err error
	if l.e, err = amlocal.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.e.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		l.wantNothing(t, config.StateDir)
	})
	if err := l.e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kind == "sandbox" && !strings.HasPrefix(l.e.Status().Isolation, "sandboxed") {
		covers.NotRun(t, "sandbox", l.e.Status().Isolation)
	}
	l.signIn(t)
	return l
}

func (l *lab) signIn(t *testing.T) {
	t.Helper()
	a := l.e.Access()
	bundle, err := os.ReadFile(a.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	proxy := must(url.Parse(a.URL()))(t)
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	l.http = &http.Client{Transport: transport, Timeout: time.Minute}
	options := policy.ClientOptions{Transport: l.http, Retry: policy.RetryOptions{MaxRetries: -1}}
	opts := &azarm.ClientOptions{ClientOptions: options}
	cred := must(azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, a.OwnerSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options}))(t)
	const sub = azure.SeedSubscriptionID
	l.endpoints = must(armmachinelearning.NewOnlineEndpointsClient(sub, cred, opts))(t)
	l.deployments = must(armmachinelearning.NewOnlineDeploymentsClient(sub, cred, opts))(t)
	l.envs = must(armmachinelearning.NewEnvironmentVersionsClient(sub, cred, opts))(t)
	l.codes = must(armmachinelearning.NewCodeVersionsClient(sub, cred, opts))(t)
	l.models = must(armmachinelearning.NewModelVersionsClient(sub, cred, opts))(t)
	l.identities = must(armmsi.NewUserAssignedIdentitiesClient(sub, cred, opts))(t)
	l.assignments = must(armauthorization.NewRoleAssignmentsClient(sub, cred, opts))(t)
	accounts := must(armstorage.NewAccountsClient(sub, cred, opts))(t)
	keys := must(accounts.ListKeys(t.Context(), group, azure.SeedStorageAccount, nil))(t)
	key := must(azblob.NewSharedKeyCredential(azure.SeedStorageAccount, *keys.Keys[0].Value))(t)
	l.blobs = must(azblob.NewClientWithSharedKeyCredential("https://"+azure.SeedStorageAccount+".blob.core.windows.net/", key,
		&azblob.ClientOptions{ClientOptions: options}))(t)
}

// endpoint makes one with its own identity, or with a user's where one is given.
func (l *lab) endpoint(t *testing.T, name, identity string) {
	t.Helper()
	id := &armmachinelearning.ManagedServiceIdentity{Type: to.Ptr(armmachinelearning.ManagedServiceIdentityTypeSystemAssigned)}
	if identity != "" {
		id.Type = to.Ptr(armmachinelearning.ManagedServiceIdentityTypeUserAssigned)
		id.UserAssignedIdentities = map[string]*armmachinelearning.UserAssignedIdentity{identity: {}}
	}
	poller, err := l.endpoints.BeginCreateOrUpdate(t.Context(), group, workspace, name, armmachinelearning.OnlineEndpoint{
		Location: to.Ptr(azure.SeedLocation), Identity: id,
		Properties: &armmachinelearning.OnlineEndpointProperties{AuthMode: to.Ptr(armmachinelearning.EndpointAuthModeKey)},
	}, nil)
	if _, err := finish(t.Context(), poller, err); err != nil {
		t.Fatalf("endpoint %s: %v", name, err)
	}
}

// user makes a user-assigned identity with one role at the registry, or none.
func (l *lab) user(t *testing.T, name, role string) string {
	t.Helper()
	made := must(l.identities.CreateOrUpdate(t.Context(), group, name, armmsi.Identity{Location: to.Ptr(azure.SeedLocation)}, nil))(t)
	if role != "" {
		must(l.assignments.Create(t.Context(), registryID, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: made.Properties.PrincipalID, RoleDefinitionID: &role,
				PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal)}}, nil))(t)
	}
	return *made.ID
}

// server registers an environment that brings its own server; ready is the port
// readiness is asked at.
func (l *lab) server(t *testing.T, name, image string, ready int32) string {
	t.Helper()
	route := func(path string, port int32) *armmachinelearning.Route {
		return &armmachinelearning.Route{Path: to.Ptr(path), Port: to.Ptr(port)}
	}
	made := must(l.envs.CreateOrUpdate(t.Context(), group, workspace, name, "1", armmachinelearning.EnvironmentVersion{
		Properties: &armmachinelearning.EnvironmentVersionProperties{Image: &image, InferenceConfig: &armmachinelearning.InferenceContainerProperties{
			ScoringRoute: route("/score", 8080), LivenessRoute: route("/health/live", 8080), ReadinessRoute: route("/health/ready", ready)}}}, nil))(t)
	return *made.ID
}

// conda registers an environment for scoring scripts.
func (l *lab) conda(t *testing.T, name, file string) string {
	t.Helper()
	made := must(l.envs.CreateOrUpdate(t.Context(), group, workspace, name, "1", armmachinelearning.EnvironmentVersion{
		Properties: &armmachinelearning.EnvironmentVersionProperties{
			Image: to.Ptr("mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest"), CondaFile: &file}}, nil))(t)
	return *made.ID
}

// code uploads a scoring script to the default datastore.
func (l *lab) code(t *testing.T, name, script string) *armmachinelearning.CodeConfiguration {
	t.Helper()
	must(l.blobs.UploadBuffer(t.Context(), azure.SeedContainer, "code/"+name+"/score.py", []byte(script), nil))(t)
	made := must(l.codes.CreateOrUpdate(t.Context(), group, workspace, name, "1", armmachinelearning.CodeVersion{
		Properties: &armmachinelearning.CodeVersionProperties{
			CodeURI: to.Ptr("https://" + azure.SeedStorageAccount + ".blob.core.windows.net/" + azure.SeedContainer + "/code/" + name)}}, nil))(t)
	return &armmachinelearning.CodeConfiguration{CodeID: made.ID, ScoringScript: to.Ptr("score.py")}
}

// model registers a folder of the default datastore.
func (l *lab) model(t *testing.T, name, path string) *string {
	t.Helper()
	made := must(l.models.CreateOrUpdate(t.Context(), group, workspace, name, "1", armmachinelearning.ModelVersion{
		Properties: &armmachinelearning.ModelVersionProperties{ModelURI: to.Ptr("azureml://datastores/" + azure.SeedDatastore + "/paths/" + path)}}, nil))(t)
	return made.ID
}

func (l *lab) deploy(ctx context.Context, endpoint string, m *armmachinelearning.ManagedOnlineDeployment) error {
	poller, err := l.deployments.BeginCreateOrUpdate(ctx, group, workspace, endpoint, "blue", armmachinelearning.OnlineDeployment{
		Location: to.Ptr(azure.SeedLocation), Properties: m, SKU: &armmachinelearning.SKU{Name: to.Ptr("Default"), Capacity: to.Ptr[int32](1)}}, nil)
	_, err = finish(ctx, poller, err)
	return err
}

func (l *lab) log(t *testing.T, endpoint string, kind armmachinelearning.ContainerType) string {
	t.Helper()
	got := must(l.deployments.GetLogs(t.Context(), group, workspace, endpoint, "blue", armmachinelearning.DeploymentLogsRequest{ContainerType: &kind}, nil))(t)
	return *got.Content
}

// score posts as somebody with the endpoint's key.
func (l *lab) score(t *testing.T, endpoint string) (*http.Response, string) {
	t.Helper()
	keys := must(l.endpoints.ListKeys(t.Context(), group, workspace, endpoint, nil))(t)
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+endpoint+"."+azure.SeedLocation+".inference.ml.azure.com/score", strings.NewReader(`{"data": 0}`)))(t)
	r.Header.Set("Authorization", "Bearer "+*keys.PrimaryKey)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("azureml-model-deployment", "blue")
	resp := must(l.http.Do(r))(t)
	defer resp.Body.Close()
	return resp, string(must(io.ReadAll(resp.Body))(t))
}

func (l *lab) remove(t *testing.T, endpoint string) {
	t.Helper()
	poller, err := l.deployments.BeginDelete(t.Context(), group, workspace, endpoint, "blue", nil)
	if _, err := finish(t.Context(), poller, err); err != nil {
		t.Fatal(err)
	}
}

// started are the processes with a row's mark, wherever they run on this
// machine.
func started(mark string) (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		raw, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(raw, []byte(markEnv+"="+mark+"\x00")) {
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			found = append(found, dir+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// wantGone waits until no process has a row's mark. A container engine on a busy
// machine answers before the kernel has taken a killed process down.
func wantGone(t *testing.T, mark, when string) {
	t.Helper()
	var left []string
	for range 600 {
		if left = started(mark); len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left when the deployment %s: %v", when, left)
}

// instances are what the back end has of an endpoint's, or of all for "".
func (l *lab) instances(t *testing.T, endpoint string) (found []string) {
	t.Helper()
	for _, d := range l.e.Status().Deployments {
		if (endpoint == "" || d.Name == endpoint+"/blue") && len(d.Instances) > 0 {
			found = append(found, d.Name)
		}
	}
	if l.kind != "docker" {
		return found
	}
	api := must(docker.Client(""))(t)
	defer api.Close() //nolint:errcheck // idle connections only
	ours := filters.NewArgs(filters.Arg("label", "io.amlocal.state="+l.e.Status().StateUUID), filters.Arg("label", "io.amlocal.role=instance"))
	for _, c := range must(api.ContainerList(t.Context(), container.ListOptions{All: true, Filters: ours}))(t) {
		if endpoint == "" || c.Labels["io.amlocal.deployment"] == endpoint+"/blue" {
			found = append(found, c.ID)
		}
	}
	return found
}

// wantNothing is about the emulator that has been closed.
func (l *lab) wantNothing(t *testing.T, state string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(state, "runner", "instances", "*")); err != nil || len(left) > 0 {
		t.Errorf("left on disk: %v %v", left, err)
	}
	if l.kind != "docker" {
		return
	}
	api := must(docker.Client(""))(t)
	defer api.Close() //nolint:errcheck // idle connections only
	ctx, ours := context.Background(), filters.NewArgs(filters.Arg("label", "io.amlocal.state="+l.e.Status().StateUUID))
	containers := must(api.ContainerList(ctx, container.ListOptions{All: true, Filters: ours}))(t)
	networks := must(api.NetworkList(ctx, network.ListOptions{Filters: ours}))(t)
	if len(containers)+len(networks) > 0 {
		t.Errorf("left: %d containers, %d networks", len(containers), len(networks))
	}
}

// importServer makes serverImage, an image of one file.
func importServer(t *testing.T) {
	t.Helper()
	raw := must(os.ReadFile(programs.server))(t)
	api := must(docker.Client(""))(t)
	t.Cleanup(func() {
		if _, err := api.ImageRemove(context.Background(), serverImage, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Error(err)
		}
		_ = api.Close()
	})
	importImage(t, api, serverImage, map[string][]byte{"server": raw}, `CMD ["/server"]`)
}

func importImage(t *testing.T, api *client.Client, ref string, files map[string][]byte, changes ...string) {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for name, raw := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(raw))}); err != nil {
			t.Fatal(err)
		}
		must(w.Write(raw))(t)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	answer := must(api.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, ref, image.ImportOptions{Changes: changes}))(t)
	_, _ = io.Copy(io.Discard, answer)
	_ = answer.Close()
}

// must fails the test on an error: must(New(...))(t).
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// finish polls an operation to its end without the SDK's pauses.
func finish[T any](ctx context.Context, poller *azruntime.Poller[T], err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	for !poller.Done() {
		if _, err := poller.Poll(ctx); err != nil {
			return zero, err
		}
		select {
		case <-ctx.Done():
			return zero, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return poller.Result(ctx)
}
