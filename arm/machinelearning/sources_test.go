package machinelearning

import (
	"reflect"
	"testing"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// TestSourcesAreKept: what a revision was made of is found again with nothing
// of it left in the workspace.
func TestSourcesAreKept(t *testing.T) {
	e := armtest.New(t)
	p := &Provider{deps: Deps{Dir: t.TempDir()}}
	id := azure.MustParseResourceID(armtest.Group + "/providers/" + workspaceType + "/w/onlineEndpoints/e/deployments/d")
	files := func(kind string) *asset {
		return &asset{kind: kind, name: "n-" + kind[:1], version: "3", account: "acc", container: "con", prefix: "some/" + kind}
	}
	for name, made := range map[string]plan{
		"script": {
			environment: environment{Environment: runner.Environment{Image: "mcr.microsoft.com/x:1", CondaFile: "dependencies: [python=3.10]"}, registry: "/registry"},
			model:       files("model"), code: files("code"),
		},
		"server": {environment: environment{Environment: runner.Environment{Image: "r.azurecr.io/x:1"}, registry: "/registry",
			scoring: runner.Route{Port: 8080, Path: "/score"}, liveness: runner.Route{Port: 8081, Path: "/l"}, readiness: runner.Route{Port: 8082, Path: "/r"}}},
		"build": {environment: environment{Environment: runner.Environment{Context: "set", Dockerfile: "sub/Dockerfile"}, context: files(contextKind)}},
	} {
		t.Run(name, func(t *testing.T) {
			made.id, made.dir = id, p.revisionDir(id, "rev")
			if made.environment.context != nil {
				made.environment.Context = made.assetDir(made.environment.context)
			}
			rec := &arm.Record{ID: id.String(), Secret: arm.Document{}}
			if err := keepSources(rec, &made); err != nil {
				t.Fatal(err)
			}
			again := plan{id: made.id, dir: made.dir}
			e.Update(func(tx store.Tx) error { return p.openSources(tx, rec, &again) })
			if !reflect.DeepEqual(made, again) {
				t.Errorf("made of\n%+v\nbegins again with\n%+v", made, again)
			}
		})
	}
}
