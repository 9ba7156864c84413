package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/internal/covers"
)

func extracted(t *testing.T) (files string) {
	t.Helper()
	_, files, err := extract(t.TempDir(), "sai", "")
	must(t, err)
	return files
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	covers.R(t, "R-111", "R-112", "R-125")
	dir := filepath.Join(extracted(t), contentRoot, "managed", "managed-identities")
	e, err := loadEndpoint(filepath.Join(dir, "1-uai-create-endpoint.yml"), "identity.user_assigned_identities[0].resource_id=/subscriptions/x", "name=other")
	must(t, err)
	if e.Name != "other" || e.AuthMode != "key" || e.Identity.Type != "user_assigned" || e.Identity.UserAssigned[0] != "/subscriptions/x" {
		t.Errorf("endpoint %+v", e)
	}
	d, err := loadDeployment(filepath.Join(dir, "2-uai-deployment.yml"), "environment_variables.FILE_NAME=true", "environment_variables.EXTRA=1=2", "instance_count=2", "name=green")
	must(t, err)
	want := map[string]string{
		"STORAGE_ACCOUNT_NAME": "storage_place_holder", "STORAGE_CONTAINER_NAME": "container_place_holder",
		"FILE_NAME": "true", "UAI_CLIENT_ID": "uai_client_id_place_holder", "EXTRA": "1=2",
	}
	if diff := cmp.Diff(want, d.Variables); diff != "" {
		t.Error(diff)
	}
	if d.Name != "green" || d.InstanceCount != 2 || d.InstanceType != "Standard_DS3_v2" || d.Code.Script != "score_managedidentity.py" {
		t.Errorf("deployment %+v", d)
	}
	for _, path := range []string{d.Model.Path, d.Code.Path, d.Environment.CondaFile.Path} {
		if _, err := os.Stat(d.at(path)); err != nil {
			t.Errorf("a path relative to the definition: %v", err)
		}
	}
}

func TestDeploymentSettings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "d.yml")
	must(t, os.WriteFile(path, []byte("name: blue\nrequest_settings: {request_timeout_ms: 2500, max_concurrent_requests_per_instance: 4}\n"+
		"liveness_probe: {initial_delay: 3, failure_threshold: 9}\nenvironment: {build: {path: docker, dockerfile_path: sub/Dockerfile}}\n"), 0o600))
	d, err := loadDeployment(path)
	must(t, err)
	if r := d.Requests.wire(); *r.RequestTimeout != "PT2.5S" || *r.MaxConcurrentRequestsPerInstance != 4 || r.MaxQueueWait != nil {
		t.Errorf("requests: %+v", r)
	}
	if p := d.Liveness.wire(); *p.InitialDelay != "PT3S" || *p.FailureThreshold != 9 || p.Period != nil || p.SuccessThreshold != nil {
		t.Errorf("probe: %+v", p)
	}
	if b := d.Environment.Build; d.Readiness.wire() != nil || b.Path != "docker" || *b.Dockerfile != "sub/Dockerfile" {
		t.Errorf("%+v", d)
	}
}

func TestDefinitionsRefuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct{ name, text, set, want string }{
		{"unknown field", "name: a\nauth-mode: key\n", "", "auth-mode"},
		{"not YAML", "name: [a\n", "", "e.yml"},
		{"empty", "# nothing\n", "", "is empty"},
		{"a list", "- a\n", "", "e.yml"},
		{"no value", "name: a\n", "name", "not of the form"},
		{"no path", "name: a\n", "=b", "not of the form"},
		{"a bad path", "name: a\n", "a..b=c", "is no path"},
		{"a member of a string", "name: a\n", "name.x=c", "has no member x"},
		{"an element too far", "identity: {user_assigned_identities: []}\n", "identity.user_assigned_identities[0].resource_id=c", "no element 0"},
		{"a word for a number", "name: a\n", "identity=c", "e.yml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "e.yml")
			must(t, os.WriteFile(path, []byte(tt.text), 0o600))
			var set []string
			if tt.set != "" {
				set = []string{tt.set}
			}
			if e, err := loadEndpoint(path, set...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v; want an error with %q", e, err, tt.want)
			}
		})
	}
}

func FuzzOverride(f *testing.F) {
	for _, s := range []string{"a.b[0].c=1", "a[0]=x", "[0]=x", "n=2", "x.y.z=v", "a.b[9]=1", ".=1", "a]b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, assignment string) {
		doc := map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": "old"}}}, "n": uint64(1)}
		if override(doc, assignment) != nil {
			return
		}
		if _, err := yaml.Marshal(doc); err != nil {
			t.Errorf("override %q made a document that cannot be written: %v", assignment, err)
		}
	})
}

func TestFolderHash(t *testing.T) {
	t.Parallel()
	write := func(dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	a := filepath.Join(t.TempDir(), "code")
	write(a, "b.txt", "bb")
	write(a, "A/a.txt", "a")
	one, err := readFolder(a)
	must(t, err)
	if one.name != "code" || len(one.files) != 2 || one.files[0].path != "A/a.txt" {
		t.Errorf("%+v", one)
	}
	// sha256 of "2#A/a.txt#1#b.txt#2abb"
	if want := "c37ec2d766b44ea86cdedc26c7ca636e6c047d6f8f99a214993f8eeca2d30bc1"; one.hash != want {
		t.Errorf("hash %s, want %s", one.hash, want)
	}
	write(a, "b.txt", "b")
	two, err := readFolder(a)
	must(t, err)
	if two.hash == one.hash {
		t.Error("other content, same hash")
	}
	if _, err := readFolder(t.TempDir()); err == nil {
		t.Error("an empty folder is nothing to upload")
	}
}
