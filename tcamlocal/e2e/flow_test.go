package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
	"github.com/amlocal/amlocal/scenarios"
	"github.com/amlocal/amlocal/tcamlocal"
)

const goSDK = "azure-sdk-for-go"

var makeImage = sync.OnceValue(func() error {
	cmd := exec.Command("../../scripts/image")
	cmd.Env = append(os.Environ(), "IMAGE="+image)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(string(out))
	}
	return nil
})

// run starts an emulator and checks, when the test has ended it, that nothing
// is left of it.
func run(t *testing.T, opts ...testcontainers.ContainerCustomizer) *tcamlocal.Container {
	t.Helper()
	if err := docker.Available(t.Context(), ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	if err := makeImage(); err != nil {
		t.Fatalf("make the image: %v", err)
	}
	c, err := tcamlocal.Run(t.Context(), image, opts...)
	if err != nil {
		t.Fatal(err)
	}
	var status amlocal.Status
	ask(t, c, "status", &status)
	state := mounted(t, c)
	t.Cleanup(func() {
		if err := c.Terminate(context.Background()); err != nil {
			t.Errorf("terminate: %v", err)
		}
		left(t, status.StateUUID, c.GetContainerID(), state)
	})
	return c
}

// ask reads the admin API.
func ask(t *testing.T, c *tcamlocal.Container, path string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL()+"/_amlocal/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Access().AdminToken)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
}

// engine is a client of the container engine.
func engine(t *testing.T) *client.Client {
	t.Helper()
	api, err := docker.Client("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return api
}

// mounted is the volume the emulator's state is in.
func mounted(t *testing.T, c *tcamlocal.Container) (volume string) {
	t.Helper()
	got, err := engine(t).ContainerInspect(t.Context(), c.GetContainerID())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.Mounts {
		if m.Destination == "/data" {
			volume = m.Name
		}
	}
	if volume == "" {
		t.Fatal("the state is in no volume")
	}
	return volume
}

// left looks for the emulator's container and volume and for everything of its
// state.
func left(t *testing.T, state, emulator, ownVolume string) {
	t.Helper()
	api, err := docker.Client("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	ctx, ours := context.Background(), filters.NewArgs(filters.Arg("label", "io.amlocal.state="+state))
	containers, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil || len(containers) > 0 {
		t.Errorf("containers left: %v, %v", containers, err)
	}
	networks, err := api.NetworkList(ctx, network.ListOptions{Filters: ours})
	if err != nil || len(networks) > 0 {
		t.Errorf("networks left: %v, %v", networks, err)
	}
	volumes, err := api.VolumeList(ctx, volume.ListOptions{Filters: ours})
	if err != nil || len(volumes.Volumes) > 0 {
		t.Errorf("volumes left: %v, %v", volumes, err)
	}
	if _, err := api.ContainerInspect(ctx, emulator); !errdefs.IsNotFound(err) {
		t.Errorf("the emulator's container: %v", err)
	}
	if _, err := api.VolumeInspect(ctx, ownVolume); !errdefs.IsNotFound(err) {
		t.Errorf("the state's volume: %v", err)
	}
}

// TestScenarios plays the documented flows through the image.
func TestScenarios(t *testing.T) {
	c := run(t)
	for _, tt := range []struct{ name, scorer, image string }{
		{"sai", "go", "amlocal/goscorer"}, {"uai", "go", "amlocal/goscorer"}, {"sai", "python", "amlocal/python"},
	} {
		t.Run(tt.name+" "+tt.scorer, func(t *testing.T) {
			if !docker.HasImages(t.Context(), "", tt.image) {
				covers.NotRun(t, "docker "+tt.scorer, "the engine has no image "+tt.image+"; make base-image sample-image")
			}
			covers.C(t, goSDK, "R-123", "R-127", "R-128", "R-129", "R-1001")
			var out bytes.Buffer
			access := c.Access()
			err := scenarios.Run(t.Context(), tt.name, scenarios.Options{Remote: &access, Scorer: tt.scorer, Out: &out})
			t.Log("\n" + out.String())
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"runner=docker scorer=" + tt.scorer, "Blob contains: Hello from a blob", "must fail", "AuthorizationPermissionMismatch",
				"score blue, which still answers", "create deployment green again", "ok: scenario " + tt.name,
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in it", want)
				}
			}
		})
	}
	published(t, c)
	// What a container writes, anyone with the engine reads.
	logs, err := c.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{c.Access().AdminToken, c.Access().OwnerSecret} {
		if len(raw) == 0 || strings.Contains(string(raw), secret) {
			t.Errorf("%d bytes of log, or a secret in it", len(raw))
		}
	}
}

// TestClients uses what a user's test gets, with a world.
func TestClients(t *testing.T) {
	covers.C(t, goSDK, "R-157")
	world := filepath.Join(t.TempDir(), "w.yaml")
	text := "accounts:\n  - name: worldstorage\n    containers:\n      - name: box\n        blobs:\n          - {name: hello.txt, text: \"from the world\"}\n"
	if err := os.WriteFile(world, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := run(t, tcamlocal.WithWorld(world), testcontainers.WithCmdArgs("--offline"))
	accounts, err := armstorage.NewAccountsClient(azure.SeedSubscriptionID, c.Credential(), &arm.ClientOptions{ClientOptions: c.ClientOptions()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := accounts.ListKeys(t.Context(), azure.SeedResourceGroup, "worldstorage", nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := azblob.NewSharedKeyCredential("worldstorage", *got.Keys[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := azblob.NewClientWithSharedKeyCredential("https://worldstorage.blob.core.windows.net/", key, &azblob.ClientOptions{ClientOptions: c.ClientOptions()})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := blobs.DownloadStream(t.Context(), "box", "hello.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if raw, err := io.ReadAll(stream.Body); err != nil || string(raw) != "from the world" {
		t.Errorf("the blob holds %q, %v", raw, err)
	}

	// The owner has no data role, so a bearer token of its own is refused.
	bearer, err := azblob.NewClient("https://worldstorage.blob.core.windows.net/", c.Credential(), &azblob.ClientOptions{ClientOptions: c.ClientOptions()})
	if err != nil {
		t.Fatal(err)
	}
	var refused *azcore.ResponseError
	if _, err := bearer.DownloadStream(t.Context(), "box", "hello.txt", nil); !errors.As(err, &refused) || refused.ErrorCode != "AuthorizationPermissionMismatch" {
		t.Errorf("the owner without a data role: %v", err)
	}

	// Flags reach `amlocal up`: nothing is passed on.
	if resp, err := c.HTTPClient().Get("https://example.com/"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("--offline: %s", resp.Status)
	}
	env := c.Env(func(string) (string, bool) { return "", false })
	if !slices.Contains(env, amlocal.Var{Name: "HTTPS_PROXY", Value: c.URL()}) {
		t.Error("Env does not name the proxy")
	}
}

// published is on loopback and nowhere else, and asks for the token.
func published(t *testing.T, c *tcamlocal.Container) {
	t.Helper()
	got, err := engine(t).ContainerInspect(t.Context(), c.GetContainerID())
	if err != nil {
		t.Fatal(err)
	}
	bindings := got.NetworkSettings.Ports["4390/tcp"]
	if len(bindings) != 1 || bindings[0].HostIP != "127.0.0.1" || !strings.HasSuffix(c.URL(), ":"+bindings[0].HostPort) {
		t.Errorf("published at %v", bindings)
	}
	if got.HostConfig.Privileged || !got.HostConfig.ReadonlyRootfs || !slices.Equal(got.HostConfig.CapDrop, []string{"ALL"}) {
		t.Errorf("the container has more rights than it needs: %+v", got.HostConfig)
	}
	resp, err := http.Get(c.URL() + "/_amlocal/client")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusUnauthorized || strings.Contains(string(raw), c.Access().OwnerSecret) {
		t.Errorf("without the token: %s %s %v", resp.Status, raw, err)
	}
}

// TestFailedStart leaves nothing when the emulator does not come up.
func TestFailedStart(t *testing.T) {
	if err := docker.Available(t.Context(), ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	if err := makeImage(); err != nil {
		t.Fatalf("make the image: %v", err)
	}
	mark := filters.NewArgs(filters.Arg("label", "tcamlocal.test="+t.Name()))
	_, err := tcamlocal.Run(t.Context(), image, testcontainers.WithCmdArgs("--no-such-flag"),
		testcontainers.WithLabels(map[string]string{"tcamlocal.test": t.Name()}))
	if err == nil {
		t.Fatal("it runs")
	}
	list, err := engine(t).ContainerList(t.Context(), container.ListOptions{All: true, Filters: mark})
	if err != nil || len(list) > 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}
