package amlocal

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

// static builds a program as an image of one file needs it.
func static(t *testing.T, dir, pkg string) string {
	t.Helper()
	bin := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return bin
}

// needDocker skips where no engine answers.
func needDocker(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := docker.Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
}

// dockerLab is a lab whose deployments are containers, and checks that nothing
// is left when it ends.
func dockerLab(t *testing.T) *lab {
	t.Helper()
	needDocker(t)
	agent := static(t, t.TempDir(), "./cmd/emulator")
	var uuid string
	t.Cleanup(func() { nothingLeft(t, uuid) }) // runs after the emulator's own
	l := newLab(t, func(c *Config) { c.Runner, c.AgentBinary = "docker", agent })
	uuid = l.e.state.UUID
	return l
}

func nothingLeft(t *testing.T, uuid string) {
	api, err := docker.Client("")
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close() //nolint:errcheck // idle connections only
	ctx, ours := context.Background(), filters.NewArgs(filters.Arg("label", "io.amlocal.state="+uuid))
	containers, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	networks, err2 := api.NetworkList(ctx, network.ListOptions{Filters: ours})
	volumes, err3 := api.VolumeList(ctx, volume.ListOptions{Filters: ours})
	if err != nil || err2 != nil || err3 != nil {
		t.Fatal(err, err2, err3)
	}
	if len(containers)+len(networks)+len(volumes.Volumes) > 0 {
		t.Errorf("left: %d containers, %d networks, %d volumes", len(containers), len(networks), len(volumes.Volumes))
	}
}

// scratch imports one program as an image and removes it after the test.
func scratch(t *testing.T, ref, program, command string) {
	t.Helper()
	raw, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	api, err := docker.Client("")
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		archive := tar.NewWriter(w)
		err := archive.WriteHeader(&tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: int64(len(raw))})
		if err == nil {
			_, err = archive.Write(raw)
		}
		if err == nil {
			err = archive.Close()
		}
		w.CloseWithError(err)
	}()
	answer, err := api.ImageImport(t.Context(), image.ImportSource{Source: r, SourceName: "-"}, ref, image.ImportOptions{Changes: []string{"CMD " + command, "USER 1001"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer)
	_ = answer.Close()
	t.Cleanup(func() {
		if _, err := api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Error(err)
		}
		_ = api.Close()
	})
}

// TestContainers is the documented flow with a Go container: refused without
// the role, served with it, identity and trust as in Azure.
func TestContainers(t *testing.T) {
	covers.C(t, sdk, "R-503", "R-516", "R-525", "R-1001", "R-1033")
	needDocker(t)
	ref := fmt.Sprintf("amlocal-test/goscorer:%d", os.Getpid())
	scratch(t, ref, static(t, t.TempDir(), "./scenarios/goscorer"), `["/goscorer", "-port", "8080"]`)
	l := dockerLab(t)
	principal := *l.owner.endpoint(t, "boxed", wish(nil)).Identity.PrincipalID
	model := l.owner.scorerModel(t)
	body := deployment(l.owner.image(t, "boxed", ref), func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.Model = &model
		m.EnvironmentVariables = map[string]*string{"STORAGE_ACCOUNT_NAME": to.Ptr(accountOne), "STORAGE_CONTAINER_NAME": to.Ptr("box"), "FILE_NAME": to.Ptr("hello.txt")}
	})
	err := l.owner.tryDeploy(t, "boxed", "green", body)
	if err == nil || !strings.Contains(err.Error(), "AuthorizationPermissionMismatch") || !strings.Contains(err.Error(), "box/hello.txt refused: 403") {
		t.Fatalf("without the role: %v", err)
	}
	if err := l.owner.deleteDeployment(t, "boxed", "green"); err != nil {
		t.Fatal(err)
	}
	l.owner.grant(t, principal, "Storage Blob Data Reader", containerID(accountOne, "box"))
	// Its own secret: with the same identity, and refused in the same way.
	l.owner.officer(t)
	l.owner.setSecret(t, azure.SeedKeyVault, "boxed", "fetched-in-a-container")
	body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentVariables["KV_SECRET"] = to.Ptr("boxed@" + vaultURL(azure.SeedKeyVault))
	if err := l.owner.tryDeploy(t, "boxed", "green", body); err == nil || !strings.Contains(err.Error(), "secret boxed refused: 403") || !strings.Contains(err.Error(), "ForbiddenByRbac") {
		t.Fatalf("without the vault's role: %v", err)
	}
	if err := l.owner.deleteDeployment(t, "boxed", "green"); err != nil {
		t.Fatal(err)
	}
	l.owner.grant(t, principal, "Key Vault Secrets User", seedVault)
	begin := time.Now()
	l.owner.deploy(t, "boxed", "green", body)
	t.Logf("deployed in %s", time.Since(begin))
	log := l.owner.said(t, "boxed", "green", "Blob contains: "+helloText, "Model loaded", "Secret boxed has 22 characters")
	if !strings.Contains(log, "Blob contains: "+helloText) || !strings.Contains(log, "Model loaded") || !strings.Contains(log, "Secret boxed has 22 characters") {
		t.Errorf("log:\n%s", log)
	}
	if err := l.owner.traffic(t, "boxed", map[string]int32{"green": 100}); err != nil {
		t.Fatal(err)
	}
	if got := l.score(t, "boxed", "", *l.owner.keys(t, "boxed").PrimaryKey, `{"data":[[1,2,3,4,5,6,7,8,9,10]]}`); got.status != 200 || !strings.HasPrefix(got.body, "[") {
		t.Errorf("score: %d %s", got.status, got.body)
	}
	// Another instance beside it, each a container with the size's limits.
	body.SKU.Capacity = to.Ptr[int32](2)
	l.owner.deploy(t, "boxed", "green", body)
	api := must(docker.Client(""))(t)
	defer api.Close() //nolint:errcheck // idle connections only
	list := must(api.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", "io.amlocal.state="+l.e.state.UUID), filters.Arg("label", "io.amlocal.role=instance"))}))(t)
	newest := list[:min(2, len(list))] // the old revision may be on its way out
	for _, c := range newest {
		got := must(api.ContainerInspect(t.Context(), c.ID))(t)
		if r := got.HostConfig.Resources; r.Memory == 0 || r.Memory > 14<<30 || r.NanoCPUs == 0 || r.NanoCPUs > 4e9 || got.Config.User != "1001" {
			t.Errorf("user %q, limits %+v", got.Config.User, r)
		}
	}
	if len(list) < 2 {
		t.Errorf("%d containers for two instances", len(list))
	}
	if log := l.owner.logs(t, "boxed", "green", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, "2 instance(s) of Standard_DS3_v2: 4 core(s), 14336 MiB") {
		t.Errorf("log:\n%s", log)
	}
	// A client that reads another bundle is told which variable leads to ours.
	untrusting := deployment(l.owner.image(t, "boxed", ref), func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.Model, m.EnvironmentVariables = &model, body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentVariables
		m.EnvironmentVariables["SSL_CERT_FILE"] = to.Ptr("/etc/resolv.conf")
	})
	if err := l.owner.tryDeploy(t, "boxed", "blind", untrusting); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without trust: %v", err)
	}
	wants := []string{"the deployment sets SSL_CERT_FILE itself", "does not trust the emulator's certificate authority", accountOne + ".blob.core.windows.net"}
	log = l.owner.said(t, "boxed", "blind", wants...)
	for _, want := range wants {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	if err := l.owner.tryDeploy(t, "boxed", "ghost", deployment(l.owner.image(t, "ghost", "amlocal-test/absent:1"), nil)); err == nil || !strings.Contains(err.Error(), "amlocal-test/absent:1") {
		t.Errorf("a missing image: %v", err)
	}
}

// context uploads a build context to the default datastore and registers the
// environment it makes, as azure-ai-ml does.
func (s *session) context(t *testing.T, name, uri string, files map[string][]byte) string {
	t.Helper()
	for file, content := range files {
		if _, err := s.keyed(t, azure.SeedStorageAccount).UploadBuffer(t.Context(), azure.SeedContainer, "LocalUpload/"+name+"/docker/"+file, content, nil); err != nil {
			t.Fatal(err)
		}
	}
	envs := must(armmachinelearning.NewEnvironmentVersionsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
	route := func(path string) *armmachinelearning.Route {
		return &armmachinelearning.Route{Path: to.Ptr(path), Port: to.Ptr[int32](8080)}
	}
	made, err := envs.CreateOrUpdate(t.Context(), groupName, wsName, name, "1", armmachinelearning.EnvironmentVersion{
		Properties: &armmachinelearning.EnvironmentVersionProperties{
			Build: &armmachinelearning.BuildContext{ContextURI: to.Ptr(uri + "LocalUpload/" + name + "/docker/")},
			InferenceConfig: &armmachinelearning.InferenceContainerProperties{
				ScoringRoute: route("/score"), LivenessRoute: route("/health/live"), ReadinessRoute: route("/health/ready")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

// TestBuildContext deploys what a Dockerfile makes: read with the endpoint's
// identity, built, served; and each mistake named.
func TestBuildContext(t *testing.T) {
	covers.C(t, sdk, "R-501", "R-1033")
	needDocker(t)
	if !docker.HasImages(t.Context(), "", "amlocal/python") {
		covers.NotRun(t, "build contexts", "the engine has no base image; make base-image")
	}
	scorer, err := os.ReadFile(static(t, t.TempDir(), "./scenarios/goscorer"))
	if err != nil {
		t.Fatal(err)
	}
	var made string
	t.Cleanup(func() { // after the lab's own
		if api, err := docker.Client(""); err == nil {
			_, _ = api.ImageRemove(context.Background(), made, image.RemoveOptions{Force: true, PruneChildren: true})
			_ = api.Close()
		}
	})
	l := dockerLab(t)
	principal := *l.owner.endpoint(t, "built", wish(nil)).Identity.PrincipalID
	l.owner.grant(t, principal, "Storage Blob Data Reader", containerID(accountOne, "box"))
	model := l.owner.scorerModel(t)
	change := func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.Model = &model
		m.EnvironmentVariables = map[string]*string{"STORAGE_ACCOUNT_NAME": to.Ptr(accountOne), "STORAGE_CONTAINER_NAME": to.Ptr("box"), "FILE_NAME": to.Ptr("hello.txt")}
	}
	const datastore = "azureml://datastores/" + azure.SeedDatastore + "/paths/"
	const dockerfile = "FROM amlocal/python:3.11-bookworm\nCOPY goscorer /goscorer\nRUN chmod 755 /goscorer && echo made here\nUSER 1001\nCMD [\"/goscorer\", \"-port\", \"8080\"]\n"
	good := l.owner.context(t, "good", datastore, map[string][]byte{"Dockerfile": []byte(dockerfile), "goscorer": scorer})
	l.owner.deploy(t, "built", "blue", deployment(good, change))
	log := l.owner.logs(t, "built", "blue", armmachinelearning.ContainerTypeStorageInitializer)
	made = regexp.MustCompile(`amlocal/context:[0-9a-f]+`).FindString(log)
	if !strings.Contains(log, "Downloaded build context good:1") || !strings.Contains(log, "made here") || made == "" {
		t.Errorf("log:\n%s", log)
	}
	if got := l.score(t, "built", "blue", *l.owner.keys(t, "built").PrimaryKey, `{"data":[[1,2,3,4,5,6,7,8,9,10]]}`); got.status != 200 || !strings.HasPrefix(got.body, "[") {
		t.Errorf("score: %d %s", got.status, got.body)
	}
	// The second time it is only looked up, whatever the environment's name.
	again := l.owner.context(t, "again", "https://"+azure.SeedStorageAccount+".blob.core.windows.net/"+azure.SeedContainer+"/", map[string][]byte{"Dockerfile": []byte(dockerfile), "goscorer": scorer})
	l.owner.deploy(t, "built", "green", deployment(again, change))
	if log := l.owner.logs(t, "built", "green", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, made+" is in the engine") {
		t.Errorf("log:\n%s", log)
	}

	bad := l.owner.context(t, "bad", datastore, map[string][]byte{"Dockerfile": []byte("FROM amlocal/python:3.11-bookworm\nRUN echo this is why; exit 7\n")})
	err = l.owner.tryDeploy(t, "built", "bad", deployment(bad, change))
	for _, want := range []string{"ImageBuildFailure", "exit 7", "non-zero code: 7", "this is why"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a build that fails: no %q in %v", want, err)
		}
	}
	if log := l.owner.logs(t, "built", "bad", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, "this is why") {
		t.Errorf("log:\n%s", log)
	}
	// Without the role on the default datastore's account the context cannot be
	// read; azure.SeedStorageAccount gave it to the system's identity by itself.
	user := l.owner.uai(t, "builder")
	l.owner.endpoint(t, "unread", wish(asUser(*user.ID)))
	l.owner.grant(t, *user.Properties.PrincipalID, "AcrPull", seedGroup+"/providers/Microsoft.ContainerRegistry/registries/"+azure.SeedRegistry)
	err = l.owner.tryDeploy(t, "unread", "blue", deployment(good, change))
	for _, want := range []string{"ImageBuildFailure", "build context 'good'", "AuthorizationPermissionMismatch", "Storage Blob Data Reader"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without the role: no %q in %v", want, err)
		}
	}
}
