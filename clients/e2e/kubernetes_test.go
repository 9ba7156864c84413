package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

// cluster is the Kubernetes cluster of this package's world.
const cluster = "clients-aks"

func TestPythonKubernetes(t *testing.T) {
	t.Parallel()
	covers.C(t, azureAIML, "R-108", "R-306", "R-307", "R-406", "R-407", "R-612", "R-619", "R-1023", "R-1035", "R-1036")
	bin := python(t, "python")
	got := run(t, labOf(t).command(t, filepath.Join(bin, "python"), script("python", "kubernetes.py"), "py-k8s", cluster, "pykubestorage"))
	got.want(t, map[string]any{
		"attached": "Succeeded", "namespace": "ml", "kind": "KubernetesOnlineEndpoint", "deployed": "Succeeded",
		"traffic": map[string]int{"blue": 100}, "limits": []string{"1", "2Gi", "0.5Gi"}, "instanceType": "defaultinstancetype",
		"raised": 502, "stranger": 401, "left": false, "fails_run": "",
	})
	got.wantText(t, "resource", "/managedClusters/"+cluster)
	got.wantText(t, "compute", "/computes/py-k8s")
	got.wantText(t, "uri", "https://"+cluster+"-", ".cloudapp.azure.com/api/v1/endpoint/py-kube-key/score")
	got.wantText(t, "fails_init", "UserScriptInitFailed", "no luck", "score.py")
	got.wantText(t, "fails_import", "UserScriptImportError", "nowhere")
	got.wantText(t, "fails_function", "UserScriptFunctionNotFound", "run()")
	got.wantText(t, "aad", "HttpResponseError", "not supported for Kubernetes")
	got.wantServed(t)
	if got.text("tokenScore") != got.text("score") {
		t.Errorf("with aml_token the score is %q", got.text("tokenScore"))
	}
	for _, d := range labOf(t).emulator.Status().Deployments {
		if strings.HasPrefix(d.Name, "py-kube-") {
			t.Errorf("%s outlived its endpoint", d.Name)
		}
	}
}
