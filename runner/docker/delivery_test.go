package docker

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/runner/runnertest"
)

// An update's container is made while its files are on their way. When they cannot
// be brought, it is not started and nothing of it stays.
func TestUpdateDelivers(t *testing.T) {
	needEngine(t)
	importProgram(t, serverImage, "testserver", `["/testserver", ":8080"]`)
	w := newWorld(t, nil)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t, w.cfg)
	})
	model := t.TempDir()
	if err := os.WriteFile(filepath.Join(model, "data.txt"), []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(t, serverImage, nil)
	art, err := w.Build(t.Context(), runner.Environment{Image: serverImage}, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	start := func(revision, source string) (runner.Instance, error) {
		return w.Start(t.Context(), runner.InstanceSpec{
			Spec: runner.Spec{ID: "d1", Name: "ep/d1", Revision: revision, Instances: 1, Scoring: runner.Route{Port: 8080, Path: "/score"},
				Mounts: []runner.Mount{{Source: source, Target: "/var/azureml-app/model"}}},
			InstanceID: "update-" + revision, Artifact: art, Log: &runnertest.Output{},
		})
	}
	label := w.ours()
	before, err := w.eng.volumes(t.Context(), label)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := start("r2", filepath.Join(model, "missing")); err == nil {
		t.Fatal("an instance started without its files")
	}
	containers, err := w.eng.containers(t.Context(), label)
	if err != nil {
		t.Fatal(err)
	}
	after, err := w.eng.volumes(t.Context(), label)
	if err != nil {
		t.Fatal(err)
	}
	if len(containers) != 2 || len(after) != len(before) { // the agent and the first instance
		t.Errorf("left: containers %+v, volumes %v, before %v", containers, after, before)
	}
	i, err := start("r3", model)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-i.Done():
		t.Fatal("the updated instance ended")
	default:
	}
}
