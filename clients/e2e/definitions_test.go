package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/scenarios"
)

// definitions are files with every field that both clients send. WHO is the
// client's own name.
var definitions = map[string]string{
	"endpoint.yml": `$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json
name: same-WHO
description: compared
auth_mode: aad_token
public_network_access: disabled
identity:
  type: system_assigned
tags: {team: scoring, number: 7}
properties: {enforce_access_to_default_secret_stores: disabled}
`,
	"full.yml": `$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: full
endpoint_name: same-WHO
description: everything
type: managed
model:
  path: model/
  type: triton_model
  description: a model
  tags: {stage: test}
model_mount_path: /models
code_configuration:
  code: code
  scoring_script: score.py
environment:
  image: IMAGE
  conda_file: conda.yml
  description: an environment
  tags: {kind: test}
  inference_config:
    liveness_route: {port: 8080, path: /health/live}
    readiness_route: {port: 8080, path: /health/ready}
    scoring_route: {port: 8080, path: /score}
instance_type: Standard_DS3_v2
instance_count: 2
environment_variables:
  TEXT: text
  NUMBER: 1
  SWITCH: true
tags: {a: b}
properties: {p: q}
app_insights_enabled: true
egress_public_network_access: enabled
scale_settings: {type: default}
request_settings:
  request_timeout_ms: 90000
  max_concurrent_requests_per_instance: 3
  max_queue_wait_ms: 500
liveness_probe: {initial_delay: 30, period: 61, timeout: 2, success_threshold: 1, failure_threshold: 3}
readiness_probe: {initial_delay: 3600, period: 10, failure_threshold: 5}
`,
	"built.yml": `name: built
endpoint_name: same-WHO
model:
  name: named-model
  version: 3
  path: model/weights.txt
environment:
  name: named-environment
  version: 2
  build: {path: context, dockerfile_path: docker/Dockerfile}
instance_type: Standard_F2s_v2
instance_count: 1
`,
	"referring.yml": `name: referring
endpoint_name: same-WHO
model: azureml:named-model:3
environment: azureml:named-environment@latest
instance_type: Standard_F2s_v2
instance_count: 1
`,
	"model/weights.txt":         "1\n",
	"model/config/settings.txt": "2\n",
	"code/score.py":             "def init(): pass\ndef run(data): return 1\n",
	"code/lib/helper.py":        "pass\n",
	"code/notes/today.md":       "not for the cloud\n",
	"code/keep.log":             "kept\n",
	"code/debug.log":            "not kept\n",
	"code/.amlignore":           "notes/\n*.log\n!keep.log\n",
	"conda.yml":                 "# comments go\nname: c\ndependencies:\n  - python=3.11\n  - pip:\n    - numpy==2.1.0\nchannels: [conda-forge]\n",
	"context/docker/Dockerfile": "FROM scratch\n",
	"context/.amlignore":        "*.tmp\n",
	"context/a.tmp":             "no\n",
}

// TestDefinitionsAsTheClientSendsThem gives the same files to azure-ai-ml and
// to `up -f`, and compares what the service has of them: endpoint, deployments,
// and the assets they were registered with.
func TestDefinitionsAsTheClientSendsThem(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-111", "R-125")
	bin, l := python(t, "python"), labOf(t)
	dirs := map[string]string{}
	var files []string
	for _, who := range []string{"py", "go"} {
		dirs[who] = filepath.Join(t.TempDir(), "definitions")
		for name, text := range definitions {
			path := filepath.Join(dirs[who], filepath.FromSlash(name))
			text = strings.NewReplacer("WHO", who, "IMAGE", scorerImage, "named-model", "named-model-"+who, "named-environment", "named-environment-"+who).Replace(text)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"endpoint.yml", "full.yml", "built.yml", "referring.yml"} {
		files = append(files, filepath.Join(dirs["py"], name))
	}
	run(t, l.command(t, filepath.Join(bin, "python"), append([]string{script("python", "definitions.py")}, files...)...)).want(t, map[string]any{"sent": 4})
	// One after the other: a deployment that fails, as all of these do, ends an
	// Apply.
	for _, name := range []string{"full.yml", "built.yml", "referring.yml"} {
		d, err := scenarios.LoadDefinitions([]string{filepath.Join(dirs["go"], "endpoint.yml"), filepath.Join(dirs["go"], name)})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := scenarios.Apply(t.Context(), l.emulator.Access(), d, &out); err == nil {
			t.Errorf("%s was deployed:\n%s", name, &out)
		} else {
			t.Logf("%s, as it must: %v", name, err)
		}
	}

	documents := map[string]map[string]any{}
	for _, who := range []string{"py", "go"} {
		all := map[string]any{"endpoint": l.document(t, "onlineEndpoints/same-"+who)}
		for _, name := range []string{"full", "built", "referring"} {
			d := l.document(t, "onlineEndpoints/same-"+who+"/deployments/"+name)
			all[name] = d
			properties := d["properties"].(map[string]any)
			for _, member := range []string{"model", "environmentId"} {
				all[name+" "+member] = l.document(t, afterWorkspace(properties[member].(string)))["properties"]
			}
			if code, ok := properties["codeConfiguration"].(map[string]any); ok {
				all[name+" code"] = l.document(t, afterWorkspace(code["codeId"].(string)))["properties"]
			}
		}
		documents[who] = comparable(t, who, all)
	}
	if diff := cmp.Diff(documents["py"], documents["go"]); diff != "" {
		t.Errorf("azure-ai-ml - , up -f +:\n%s", diff)
	}
}

// afterWorkspace is what a resource id says below the workspace.
func afterWorkspace(id string) string {
	_, rest, _ := strings.Cut(id, "/workspaces/"+azure.SeedWorkspace+"/")
	return rest
}

var (
	hashes = regexp.MustCompile(`[0-9a-f]{64}`)
	guids  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

// comparable takes out what differs by its nature: who sent it, when, and the
// names made of content by each client's own recipe. The code's hash stays: the
// recipe is the service's.
func comparable(t *testing.T, who string, all map[string]any) map[string]any {
	t.Helper()
	code := all["full code"].(map[string]any)["properties"].(map[string]any)["hash_sha256"]
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	text := guids.ReplaceAllString(hashes.ReplaceAllString(string(raw), "HASH"), "GUID")
	var out map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "-"+who, "-WHO")), &out); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"endpoint", "full", "built", "referring"} {
		document := out[name].(map[string]any)
		delete(document, "systemData")
		properties := document["properties"].(map[string]any)
		delete(properties, "provisioningState") // azure-ai-ml did not wait
		if more, ok := properties["properties"].(map[string]any); ok {
			delete(more, "AzureAsyncOperationUri")
		}
	}
	out["hash of the code"] = code
	return out
}

// document is a resource of the workspace as the service has it.
func (l *lab) document(t *testing.T, path string) map[string]any {
	t.Helper()
	client := l.proxied(t)
	cred, err := azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, l.emulator.Access().OwnerSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: policy.ClientOptions{Transport: client}})
	if err != nil {
		t.Fatal(err)
	}
	token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://management.azure.com/subscriptions/"+azure.SeedSubscriptionID+"/resourceGroups/"+azure.SeedResourceGroup+
		"/providers/Microsoft.MachineLearningServices/workspaces/"+azure.SeedWorkspace+"/"+path+"?api-version=2024-04-01", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Token)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %v", path, resp.Status, out, err)
	}
	return out
}

// proxied goes through the emulator's proxy and trusts its certificates.
func (l *lab) proxied(t *testing.T) *http.Client {
	t.Helper()
	a := l.emulator.Access()
	bundle, err := os.ReadFile(a.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	proxy, err := url.Parse(a.URL())
	if err != nil || !roots.AppendCertsFromPEM(bundle) {
		t.Fatalf("the bundle or the proxy: %v", err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
