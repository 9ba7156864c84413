package scenarios

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIsoDurations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n    int64
		unit time.Duration
		want string
	}{
		{10, time.Second, "PT10S"}, {90, time.Second, "PT1M30S"}, {3600, time.Second, "PT1H"}, {86400, time.Second, "P1D"}, {90061, time.Second, "P1DT1H1M1S"},
		{500, time.Millisecond, "PT0.5S"}, {5000, time.Millisecond, "PT5S"}, {90000, time.Millisecond, "PT1M30S"}, {1, time.Millisecond, "PT0.001S"},
	} {
		if got := iso(tt.n, tt.unit); got == nil || *got != tt.want {
			t.Errorf("%d of %s: %v, want %s", tt.n, tt.unit, got, tt.want)
		}
	}
	if got := iso(0, time.Second); got != nil {
		t.Errorf("none: %s", *got)
	}
}

// TestIdentityForms reads user-assigned identities however they are written.
func TestIdentityForms(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "e.yml")
	for name, form := range map[string]string{
		"objects":         "\n    - resource_id: /subscriptions/a\n      client_id: c\n    - resource_id: /subscriptions/b",
		"ids":             "\n    - /subscriptions/a\n    - /subscriptions/b",
		"one string":      " /subscriptions/a, /subscriptions/b",
		"a flow list":     " [/subscriptions/a, '/subscriptions/b']",
		"a quoted string": ` "/subscriptions/a,/subscriptions/b"`,
	} {
		must(t, os.WriteFile(path, []byte("name: e\nidentity:\n  type: user_assigned\n  user_assigned_identities:"+form+"\n"), 0o600))
		e, err := loadEndpoint(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(userAssignedID{"/subscriptions/a", "/subscriptions/b"}, e.Identity.UserAssigned); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDeploymentForms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "d.yml")
	load := func(text string) (*deploymentFile, error) {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return loadDeployment(path)
	}
	d, err := load(`name: blue
type: managed
model: azureml:regression@latest
environment:
  build: {path: ctx, dockerfile_path: Dockerfile.amd64}
  conda_file:
    dependencies: [python=3.11]
environment_variables: {NUMBER: 1, SWITCH: true, TEXT: "yes"}
instance_count: 2
request_settings: {request_timeout_ms: 90000}
scale_settings: {type: default}
`)
	must(t, err)
	if d.Model.Ref != "azureml:regression@latest" || d.Environment.Build.Path != "ctx" || d.Environment.CondaFile.Inline == nil {
		t.Errorf("%+v", d)
	}
	body, _ := d.wire()
	raw, err := json.Marshal(body)
	must(t, err)
	want := `{"location":"eastus","properties":{"appInsightsEnabled":false,"endpointComputeType":"Managed","environmentVariables":{"NUMBER":"1","SWITCH":"true","TEXT":"yes"},` +
		`"instanceType":"","properties":{},"requestSettings":{"requestTimeout":"PT1M30S"},"scaleSettings":{"scaleType":"Default"}},"sku":{"capacity":2,"name":"Default"},"tags":{}}`
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"environment: azureml:e:1\nmodel: {pth: m}\n":                      `[3:9] unknown field "pth"`,
		"environment: {image: i, dockerfile: x}\n":                         `[2:25] unknown field "dockerfile"`,
		"environment: {}\n":                                                "neither an image, a build context",
		"environment: {image: i, build: {path: .}}\n":                      "exclude each other",
		"environment: azureml:e:1\ntype: kubernetes\n":                     `type "kubernetes"`,
		"environment: azureml:e:1\ndata_collector: {collections: {}}\n":    "data_collector: not carried",
		"environment: azureml:e:1\nliveness_probe: {period: soon}\n":       "[3:26]",
		"environment: azureml:e:1\nscale_settings: {type: by_magic}\n":     "by_magic",
		"environment: azureml:e:1\ninstance_count: many\n":                 "[3:17]",
		"environment: azureml:e:1\nreadiness_probe:\n  initial_dely: 10\n": `[4:3] unknown field "initial_dely"`,
	} {
		if _, err := load("name: blue\n" + text); err == nil {
			t.Errorf("%q is taken", text)
		} else {
			contains(t, text, err.Error(), want)
		}
	}
}

func TestIgnore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rules      string
		out, stays []string
	}{
		{"*.tmp\n", []string{"a.tmp", "x/a.tmp"}, []string{"a.tmpx", "tmp"}},
		{"/a\n", []string{"a", "a/b"}, []string{"x/a"}},
		{"a/b\n", []string{"a/b", "a/b/c"}, []string{"x/a/b"}},
		{"notes/\n", []string{"notes/a", "x/notes/a"}, []string{"notes"}},
		{"**/cache/**\n", []string{"cache/a", "x/y/cache/z"}, []string{"cached"}},
		{"a/**/b\n", []string{"a/b", "a/x/y/b"}, []string{"ab"}},
		{"*\n!keep.py\n", []string{"a", "x/b"}, []string{"keep.py", "x/keep.py"}},
		{"# no\n\n  \n\\#yes\n", []string{"#yes"}, []string{"no", "# no"}},
		{"f?[0-9]\n", []string{"fa1"}, []string{"f1", "fab", "f/1"}},
		{"[!a]x\n", []string{"bx"}, []string{"ax"}},
		{"[\n", nil, []string{"a"}},
		{"a.b\n", []string{"a.b"}, []string{"axb"}},
	} {
		rules := parseIgnore(tt.rules)
		for _, path := range tt.out {
			if !rules.excludes(path) {
				t.Errorf("%q leaves %s", tt.rules, path)
			}
		}
		for _, path := range tt.stays {
			if rules.excludes(path) {
				t.Errorf("%q takes %s away", tt.rules, path)
			}
		}
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.tmp\n!a[bc]?\n/x/**/y/\n", "a/b.tmp")
	f.Fuzz(func(_ *testing.T, rules, path string) { parseIgnore(rules).excludes(path) })
}
