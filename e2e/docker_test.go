package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
)

// TestRestartContainers takes a deployment in a container through kill, up,
// kill and down, its model and environment deleted.
func TestRestartContainers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := docker.Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	api := must(docker.Client(""))(t)
	t.Cleanup(func() { _ = api.Close() })
	importScorer(t, api)
	s := newSite(t)
	up := []string{"--runner", "docker"}
	emulator := s.start(append(up, "--world", s.world())...)
	o := s.owner()
	made, err := o.endpoint(t.Context(), "restart")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.grant(t.Context(), uuid.NewString(), *made.Identity.PrincipalID, blobReader, boxScope); err != nil {
		t.Fatal(err)
	}
	err = o.deploy(t.Context(), "restart", o.image(t, "goscorer"), o.model(t),
		map[string]*string{"STORAGE_ACCOUNT_NAME": to.Ptr(boxAccount), "STORAGE_CONTAINER_NAME": to.Ptr("box"), "FILE_NAME": to.Ptr("hello.txt")})
	if err != nil {
		t.Fatal(err)
	}
	o.dropAssets(t, "goscorer")
	key := o.key(t, "restart")
	want := s.scoreSoon("restart", key)
	log := o.logsOnce(t, "restart", func(log string) bool { return strings.Contains(log, "Request processed") })
	if !strings.Contains(log, "Blob contains: "+helloText) {
		t.Fatalf("the log is\n%s", log)
	}
	before := things(t, api, s)

	// The next emulator goes on with the agent and replaces the instance.
	emulator.kill()
	emulator = s.start(up...)
	s.wantServes(t, o, key, want, log)
	after := things(t, api, s)
	if agent := before["agent"]; len(agent) != 1 || !slices.Equal(agent, after["agent"]) {
		t.Errorf("the agent was %v, is %v", agent, after["agent"])
	}
	if was, is := before["instance"], after["instance"]; len(is) != 1 || slices.Equal(was, is) {
		t.Errorf("the instance was %v, is %v", was, is)
	}

	// down ends what a killed one left, and so does an up with another runner.
	emulator.kill()
	if out, err := s.run("down"); err != nil || !strings.Contains(out, "had been killed") {
		t.Errorf("down: %v: %s", err, out)
	}
	if left := things(t, api, s); len(left) != 0 {
		t.Errorf("after down: %v", left)
	}
	emulator = s.start(up...)
	s.wantServes(t, o, key, want, log)
	emulator.kill()
	emulator = s.start("--runner", "process")
	if left := things(t, api, s); len(left) != 0 {
		t.Errorf("after an up with another runner: %v", left)
	}
	emulator.stop()
}

// importScorer puts the Go scorer into the engine under the name image gives it.
func importScorer(t *testing.T, api *client.Client) {
	t.Helper()
	raw, err := os.ReadFile(scorer)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "goscorer", Mode: 0o755, Size: int64(len(raw))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const ref = "e2e/goscorer:1"
	answer, err := api.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, ref,
		image.ImportOptions{Changes: []string{`CMD ["/goscorer", "-port", "8080"]`}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer)
	_ = answer.Close()
	t.Cleanup(func() { _, _ = api.ImageRemove(context.Background(), ref, image.RemoveOptions{PruneChildren: true}) })
}

// things are what bears the label of the site's state folder, by role.
func things(t *testing.T, api *client.Client, s *site) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.state, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		UUID string `json:"uuid"`
	}
	if err := json.Unmarshal(raw, &state); err != nil || state.UUID == "" {
		t.Fatalf("%s: %v", raw, err)
	}
	ours := filters.NewArgs(filters.Arg("label", "io.amlocal.state="+state.UUID))
	out := map[string][]string{}
	for _, c := range must(api.ContainerList(t.Context(), container.ListOptions{All: true, Filters: ours}))(t) {
		out[c.Labels["io.amlocal.role"]] = append(out[c.Labels["io.amlocal.role"]], c.ID)
	}
	for _, n := range must(api.NetworkList(t.Context(), network.ListOptions{Filters: ours}))(t) {
		out["networks"] = append(out["networks"], n.Name)
	}
	for _, v := range must(api.VolumeList(t.Context(), volume.ListOptions{Filters: ours}))(t).Volumes {
		out["volumes"] = append(out["volumes"], v.Name)
	}
	return out
}
