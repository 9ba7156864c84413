package amlocal

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
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
	covers.C(t, sdk, "R-503", "R-516", "R-1001", "R-1033")
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
	begin := time.Now()
	l.owner.deploy(t, "boxed", "green", body)
	t.Logf("deployed in %s", time.Since(begin))
	log := l.owner.logs(t, "boxed", "green", armmachinelearning.ContainerTypeInferenceServer)
	if !strings.Contains(log, "Blob contains: "+helloText) || !strings.Contains(log, "Model loaded") {
		t.Errorf("log:\n%s", log)
	}
	if err := l.owner.traffic(t, "boxed", map[string]int32{"green": 100}); err != nil {
		t.Fatal(err)
	}
	if got := l.score(t, "boxed", "", *l.owner.keys(t, "boxed").PrimaryKey, `{"data":[[1,2,3,4,5,6,7,8,9,10]]}`); got.status != 200 || !strings.HasPrefix(got.body, "[") {
		t.Errorf("score: %d %s", got.status, got.body)
	}
	// A client that reads another bundle is told which variable leads to ours.
	untrusting := deployment(l.owner.image(t, "boxed", ref), func(m *armmachinelearning.ManagedOnlineDeployment) {
		m.Model, m.EnvironmentVariables = &model, body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentVariables
		m.EnvironmentVariables["SSL_CERT_FILE"] = to.Ptr("/etc/resolv.conf")
	})
	if err := l.owner.tryDeploy(t, "boxed", "blind", untrusting); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without trust: %v", err)
	}
	log = l.owner.logs(t, "boxed", "blind", armmachinelearning.ContainerTypeInferenceServer)
	for _, want := range []string{"the deployment sets SSL_CERT_FILE itself", "does not trust the emulator's certificate authority", accountOne + ".blob.core.windows.net"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	if err := l.owner.tryDeploy(t, "boxed", "ghost", deployment(l.owner.image(t, "ghost", "amlocal-test/absent:1"), nil)); err == nil || !strings.Contains(err.Error(), "amlocal-test/absent:1") {
		t.Errorf("a missing image: %v", err)
	}
}
