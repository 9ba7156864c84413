package machinelearning

import "testing"

func TestRelative(t *testing.T) {
	for _, c := range []struct {
		kind, prefix, blob string
		rel                string
		mine               bool
	}{
		{"model", "LocalUpload/h/model", "LocalUpload/h/model/a.pkl", "model/a.pkl", true},
		{"model", "LocalUpload/h/model", "LocalUpload/h/model/sub/a.pkl", "model/sub/a.pkl", true},
		{"model", "LocalUpload/h/model", "LocalUpload/h/model2/a.pkl", "", false},
		{"model", "LocalUpload/h/a.pkl", "LocalUpload/h/a.pkl", "a.pkl", true},
		{"code", "src", "src/score.py", "score.py", true},
		{"code", "src", "src/pkg/x.py", "pkg/x.py", true},
		{"code", "", "score.py", "score.py", true},
		{"code", "src", "src/", "", false}, // a folder marker is no file
	} {
		a := &asset{kind: c.kind, prefix: c.prefix}
		rel, mine := a.relative(c.blob)
		if mine != c.mine || mine && rel != c.rel {
			t.Errorf("%s %q: %q -> %q, %v; want %q, %v", c.kind, c.prefix, c.blob, rel, mine, c.rel, c.mine)
		}
	}
}

func TestDatastoreURI(t *testing.T) {
	for uri, want := range map[string][2]string{
		"azureml://datastores/ds/paths/a/b/": {"ds", "a/b/"},
		"azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/ds/paths/LocalUpload/h/model":          {"ds", "LocalUpload/h/model"},
		"azureml://subscriptions/s/resourceGroups/g/providers/P/workspaces/w/datastores/workspaceblobstore/paths/": {"workspaceblobstore", ""},
	} {
		m := datastoreURI.FindStringSubmatch(uri)
		if m == nil || m[1] != want[0] || m[2] != want[1] {
			t.Errorf("%s -> %q, want %q", uri, m, want)
		}
	}
}
