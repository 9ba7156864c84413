package amlocal

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

const clusterID = seedGroupID + "/providers/Microsoft.ContainerService/managedClusters/aks1"

// seedGroupID is seedGroup as a constant.
const seedGroupID = "/subscriptions/" + azure.SeedSubscriptionID + "/resourceGroups/" + azure.SeedResourceGroup

func (s *session) computes(t *testing.T) *armmachinelearning.ComputeClient {
	t.Helper()
	return must(armmachinelearning.NewComputeClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

// cluster makes the Kubernetes cluster that attach attaches.
func (s *session) cluster(t *testing.T) {
	t.Helper()
	s.rest(t, http.MethodPut, clusterID, `{"location":"westus2"}`, http.StatusCreated)
}

// rest sends a plain ARM request.
func (s *session) rest(t *testing.T, method, id, body string, want int) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://management.azure.com"+id+"?api-version=2024-01-01", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.token(t, "https://management.azure.com"))
	resp, err := s.lab.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %d, want %d: %s (%v)", method, id, resp.StatusCode, want, raw, err)
	}
	return string(raw)
}

func kubeCompute(change func(*armmachinelearning.Kubernetes)) armmachinelearning.ComputeResource {
	k := &armmachinelearning.Kubernetes{ComputeType: to.Ptr(armmachinelearning.ComputeTypeKubernetes), ResourceID: to.Ptr(clusterID),
		Properties: &armmachinelearning.KubernetesProperties{Namespace: to.Ptr("ml")}}
	if change != nil {
		change(k)
	}
	return armmachinelearning.ComputeResource{Properties: k, Location: to.Ptr(azure.SeedLocation)}
}

func (s *session) tryAttach(t *testing.T, name string, body armmachinelearning.ComputeResource) (armmachinelearning.ComputeResource, error) {
	t.Helper()
	poller, err := s.computes(t).BeginCreateOrUpdate(t.Context(), groupName, wsName, name, body, nil)
	made, err := finish(t.Context(), poller, err)
	return made.ComputeResource, err
}

func (s *session) attach(t *testing.T, name string) armmachinelearning.ComputeResource {
	t.Helper()
	made, err := s.tryAttach(t, name, kubeCompute(nil))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (s *session) detach(t *testing.T, name string, how armmachinelearning.UnderlyingResourceAction) error {
	t.Helper()
	poller, err := s.computes(t).BeginDelete(t.Context(), groupName, wsName, name, how, nil)
	_, err = finish(t.Context(), poller, err)
	return err
}

func computeID(name string) string { return seedWorkspace + "/computes/" + name }

// onCompute is a wish for an endpoint on a compute.
func onCompute(name string, mode armmachinelearning.EndpointAuthMode) armmachinelearning.OnlineEndpoint {
	return wish(func(e *armmachinelearning.OnlineEndpoint) {
		e.Properties.Compute, e.Properties.AuthMode = to.Ptr(computeID(name)), to.Ptr(mode)
	})
}

// kubernetesScorer is the scorer's deployment for a Kubernetes endpoint.
func (s *session) kubernetesScorer(t *testing.T, change func(*armmachinelearning.KubernetesOnlineDeployment)) armmachinelearning.OnlineDeployment {
	t.Helper()
	managed := s.scorer(t)
	m := managed.Properties.(*armmachinelearning.ManagedOnlineDeployment)
	k := &armmachinelearning.KubernetesOnlineDeployment{
		EndpointComputeType: to.Ptr(armmachinelearning.EndpointComputeTypeKubernetes), EnvironmentID: m.EnvironmentID, Model: m.Model,
		EnvironmentVariables: m.EnvironmentVariables, LivenessProbe: m.LivenessProbe, ReadinessProbe: m.ReadinessProbe,
	}
	if change != nil {
		change(k)
	}
	return armmachinelearning.OnlineDeployment{Location: managed.Location, Properties: k}
}

// sampleRequest is the samples' request for the scorer.
func sampleRequest(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("scenarios/content/endpoints/online/model-1/sample-request.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// scoreAt posts to a scoring URI.
func (l *lab) scoreAt(t *testing.T, uri, credential, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+credential)
	resp, err := l.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(raw), resp.Header}
}

func TestKubernetesFlow(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-108", "R-306", "R-307", "R-308", "R-407", "R-619")
	l := newLab(t, nil)
	o := l.owner
	o.cluster(t)
	made := o.attach(t, "k8s")
	k := made.Properties.(*armmachinelearning.Kubernetes)
	if *k.ProvisioningState != armmachinelearning.ProvisioningStateSucceeded || !*k.IsAttachedCompute || *k.Properties.Namespace != "ml" ||
		*k.Properties.DefaultInstanceType != "defaultinstancetype" || *k.Properties.InstanceTypes["defaultinstancetype"].Resources.Limits["memory"] != "2Gi" {
		t.Errorf("the compute is %+v %+v", k, k.Properties)
	}
	// A managed endpoint of the same name elsewhere would not be in the way.
	for _, mode := range []armmachinelearning.EndpointAuthMode{armmachinelearning.EndpointAuthModeKey, armmachinelearning.EndpointAuthModeAMLToken} {
		name := "kube-" + strings.ToLower(string(mode))
		e := o.endpoint(t, name, onCompute("k8s", mode))
		uri := *e.Properties.ScoringURI
		if *e.Kind != "K8S" || *e.Properties.Compute != computeID("k8s") || e.Properties.PublicNetworkAccess != nil ||
			!strings.HasPrefix(uri, "https://aks1-") || !strings.HasSuffix(uri, ".westus2.cloudapp.azure.com/api/v1/endpoint/"+name+"/score") {
			t.Errorf("the endpoint is %s at %s, compute %s", *e.Kind, uri, *e.Properties.Compute)
		}
		o.grant(t, *e.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
		o.deploy(t, name, "blue", o.kubernetesScorer(t, nil))
		got, err := o.deployments(t).Get(t.Context(), groupName, wsName, name, "blue", nil)
		if err != nil {
			t.Fatal(err)
		}
		d := got.Properties.(*armmachinelearning.KubernetesOnlineDeployment)
		if *d.InstanceType != "defaultinstancetype" || *d.ContainerResourceRequirements.ContainerResourceLimits.CPU != "2" || *d.ContainerResourceRequirements.ContainerResourceRequests.CPU != "100m" {
			t.Errorf("the deployment is %+v", d)
		}
		credential := ""
		if mode == armmachinelearning.EndpointAuthModeKey {
			before := o.keys(t, name)
			poller, err := o.endpoints(t).BeginRegenerateKeys(t.Context(), groupName, wsName, name, armmachinelearning.RegenerateEndpointKeysRequest{KeyType: to.Ptr(armmachinelearning.KeyTypePrimary)}, nil)
			if _, err = finish(t.Context(), poller, err); err != nil {
				t.Fatal(err)
			}
			credential = *o.keys(t, name).PrimaryKey
			if a := l.scoreAt(t, uri, *before.PrimaryKey, "{}"); a.status != http.StatusUnauthorized {
				t.Errorf("the old key got %d", a.status)
			}
		} else {
			token, err := o.endpoints(t).GetToken(t.Context(), groupName, wsName, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			credential = *token.AccessToken
		}
		if a := l.scoreAt(t, uri, credential, sampleRequest(t)); a.status != http.StatusNotFound {
			t.Errorf("without traffic: %d %s", a.status, a.body)
		}
		if err := o.traffic(t, name, map[string]int32{"blue": 100}); err != nil {
			t.Fatal(err)
		}
		if a := l.scoreAt(t, uri, credential, sampleRequest(t)); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", mode, a.status, a.body)
		}
		for _, other := range []string{"not-a-key", o.token(t, "https://ml.azure.com")} {
			if a := l.scoreAt(t, uri, other, "{}"); a.status != http.StatusUnauthorized {
				t.Errorf("%s with another credential: %d", mode, a.status)
			}
		}
		if logs := o.said(t, name, "blue", helloText); !strings.Contains(logs, helloText) {
			t.Errorf("the log lacks the blob: %s", logs)
		}
	}
	if err := o.deleteEndpoint(t, "kube-key"); err != nil {
		t.Fatal(err)
	}
	if err := o.deleteEndpoint(t, "kube-amltoken"); err != nil {
		t.Fatal(err)
	}
	if err := o.detach(t, "k8s", armmachinelearning.UnderlyingResourceActionDetach); err != nil {
		t.Fatal(err)
	}
	pages := o.computes(t).NewListPager(groupName, wsName, nil)
	page, err := pages.NextPage(t.Context())
	if err != nil || len(page.Value) != 0 {
		t.Errorf("computes after detaching: %v, %v", page.Value, err)
	}
	o.rest(t, http.MethodGet, clusterID, "", http.StatusOK) // the cluster is not the workspace's
}

func TestKubernetesRefusals(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-406", "R-614", "R-902", "R-1023", "R-1057", "U-9")
	l := newLab(t, nil)
	o := l.owner
	ctx := t.Context()

	// Attaching: what is not there, whoever may not, what cannot be.
	_, err := o.tryAttach(t, "k8s", kubeCompute(nil))
	wantCode(t, err, "ClusterNotFound", "Cannot found Kubernetes cluster.")
	if got, err := o.computes(t).Get(ctx, groupName, wsName, "k8s", nil); err != nil || *got.Properties.GetCompute().ProvisioningState != armmachinelearning.ProvisioningStateFailed {
		t.Errorf("the failed compute: %v", err)
	}
	_, err = o.tryEndpoint(ctx, t, "kube-a", onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	wantError(t, err, http.StatusBadRequest, "BadRequest", "ClusterNotFound")
	o.cluster(t)
	_, err = o.tryEndpoint(ctx, t, "kube-a", onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	wantError(t, err, http.StatusBadRequest, "BadRequest", "InvalidComputeInformation")
	o.attach(t, "k8s")

	scientist := l.principal("scientist")
	o.grant(t, scientist.oid, "AzureML Data Scientist", seedWorkspace)
	_, err = scientist.tryAttach(t, "theirs", kubeCompute(nil))
	wantError(t, err, http.StatusForbidden, "AuthorizationFailed", "workspaces/computes/write")
	wantError(t, scientist.detach(t, "k8s", armmachinelearning.UnderlyingResourceActionDetach), http.StatusForbidden, "AuthorizationFailed", "workspaces/computes/delete")
	_, err = scientist.computes(t).ListKeys(ctx, groupName, wsName, "k8s", nil)
	wantError(t, err, http.StatusForbidden, "AuthorizationFailed", "workspaces/computes/listKeys/action")
	_, err = o.computes(t).ListKeys(ctx, groupName, wsName, "k8s", nil)
	wantError(t, err, http.StatusBadRequest, "BadRequest", "not supported")
	operator := l.principal("operator")
	o.grant(t, operator.oid, "AzureML Compute Operator", seedWorkspace)
	o.grant(t, operator.oid, "Contributor", seedWorkspace)
	_, err = operator.tryAttach(t, "theirs", kubeCompute(nil))
	wantError(t, err, http.StatusForbidden, "LinkedAuthorizationFailed", "Microsoft.ContainerService/managedClusters/read")

	for name, body := range map[string]armmachinelearning.ComputeResource{
		"no cluster":     kubeCompute(func(k *armmachinelearning.Kubernetes) { k.ResourceID = to.Ptr(accountID(accountOne)) }),
		"another type":   {Location: to.Ptr(azure.SeedLocation), Properties: &armmachinelearning.AmlCompute{ComputeType: to.Ptr(armmachinelearning.ComputeTypeAmlCompute)}},
		"another region": {Location: to.Ptr("westus"), Properties: kubeCompute(nil).Properties},
		"moved":          kubeCompute(func(k *armmachinelearning.Kubernetes) { k.Properties.Namespace = to.Ptr("other") }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := o.tryAttach(t, "k8s", body)
			wantError(t, err, http.StatusBadRequest, "BadRequest")
		})
	}
	wantError(t, o.detach(t, "k8s", armmachinelearning.UnderlyingResourceActionDelete), http.StatusBadRequest, "BadRequest", "detached")

	// Endpoints.
	_, err = o.tryEndpoint(ctx, t, "kube-a", onCompute("other", armmachinelearning.EndpointAuthModeKey))
	wantError(t, err, http.StatusBadRequest, "BadRequest", "ComputeNotFound", "Cannot find Kubernetes compute.")
	_, err = o.tryEndpoint(ctx, t, "kube-a", onCompute("k8s", armmachinelearning.EndpointAuthModeAADToken))
	wantError(t, err, http.StatusBadRequest, "BadRequest", "not supported for Kubernetes")
	closed := onCompute("k8s", armmachinelearning.EndpointAuthModeKey)
	closed.Properties.PublicNetworkAccess = to.Ptr(armmachinelearning.PublicNetworkAccessTypeDisabled)
	_, err = o.tryEndpoint(ctx, t, "kube-a", closed)
	wantError(t, err, http.StatusBadRequest, "BadRequest", "publicNetworkAccess")
	o.endpoint(t, "kube-a", onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	_, err = o.tryEndpoint(ctx, t, "kube-a", onCompute("other", armmachinelearning.EndpointAuthModeKey))
	wantError(t, err, http.StatusBadRequest, "BadRequest", "cannot be changed")
	o.endpoint(t, "managed", wish(nil))
	_, err = o.tryEndpoint(ctx, t, "managed", onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	wantError(t, err, http.StatusBadRequest, "BadRequest", "cannot be changed")

	// Deployments.
	wantError(t, o.tryDeploy(t, "kube-a", "blue", o.scorer(t)), http.StatusBadRequest, "BadRequest", "endpointComputeType Kubernetes, not Managed")
	wantError(t, o.tryDeploy(t, "managed", "blue", o.kubernetesScorer(t, nil)), http.StatusBadRequest, "BadRequest", "endpointComputeType Managed, not Kubernetes")
	long := strings.Repeat("e", 32)
	o.endpoint(t, long, onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	wantError(t, o.tryDeploy(t, long, strings.Repeat("d", 31), o.kubernetesScorer(t, nil)), http.StatusBadRequest, "BadRequest", "63 characters")

	// A detached compute: nothing can be changed, the endpoint can be deleted.
	if err := o.detach(t, "k8s", armmachinelearning.UnderlyingResourceActionDetach); err != nil {
		t.Fatal(err)
	}
	wantError(t, o.tryDeploy(t, "kube-a", "blue", o.kubernetesScorer(t, nil)), http.StatusBadRequest, "BadRequest", "ComputeNotFound")
	if err := o.deleteEndpoint(t, "kube-a"); err != nil {
		t.Error(err)
	}
}

func TestKubernetesAADTokenRefusedAtScoring(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-406", "R-1023", "U-9")
	l := newLab(t, func(c *Config) { c.KubernetesAAD = "scoring" })
	o := l.owner
	o.cluster(t)
	o.attach(t, "k8s")
	e := o.endpoint(t, "kube-aad", onCompute("k8s", armmachinelearning.EndpointAuthModeAADToken))
	if a := l.scoreAt(t, *e.Properties.ScoringURI, o.token(t, "https://ml.azure.com"), "{}"); a.status != http.StatusUnauthorized {
		t.Errorf("the owner's token got %d %s", a.status, a.body)
	}
}

// TestKubernetesBusy: a second operation on what is being changed.
func TestKubernetesBusy(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-612", "R-1058")
	l := newLab(t, nil)
	o := l.owner
	o.cluster(t)
	o.attach(t, "k8s")
	o.endpoint(t, "kube-busy", onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	o.endpoint(t, "busy", wish(nil))
	slow := o.kubernetesScorer(t, func(k *armmachinelearning.KubernetesOnlineDeployment) {
		k.ReadinessProbe = &armmachinelearning.ProbeSettings{InitialDelay: to.Ptr("PT600S")}
		delete(k.EnvironmentVariables, "FILE_NAME")
	})
	if _, err := o.deployments(t).BeginCreateOrUpdate(t.Context(), groupName, wsName, "kube-busy", "blue", slow, nil); err != nil {
		t.Fatal(err)
	}
	wantError(t, o.tryDeploy(t, "kube-busy", "blue", slow), http.StatusConflict, "Conflict", "blue")
	// An endpoint is busy too short a time to be met at it: hold it there.
	for _, name := range []string{"kube-busy", "busy"} {
		for _, state := range []string{"Creating", "Updating"} {
			l.hold(t, endpointID(name), state)
			wantError(t, o.deleteEndpoint(t, name), http.StatusConflict, "Conflict", name)
			wantError(t, o.tryDeploy(t, name, "green", slow), http.StatusConflict, "Conflict", name)
			_, err := o.endpoints(t).BeginRegenerateKeys(t.Context(), groupName, wsName, name, armmachinelearning.RegenerateEndpointKeysRequest{KeyType: to.Ptr(armmachinelearning.KeyTypePrimary)}, nil)
			wantError(t, err, http.StatusConflict, "Conflict", name)
			_, err = o.tryEndpoint(t.Context(), t, name, wish(nil))
			wantError(t, err, http.StatusConflict, "Conflict", name)
		}
		l.hold(t, endpointID(name), "Succeeded")
	}
	l.hold(t, computeID("k8s"), "Updating")
	wantError(t, o.detach(t, "k8s", armmachinelearning.UnderlyingResourceActionDetach), http.StatusConflict, "Conflict", "k8s")
	_, err := o.tryAttach(t, "k8s", kubeCompute(nil))
	wantError(t, err, http.StatusConflict, "Conflict", "k8s")
	l.hold(t, computeID("k8s"), "Succeeded")
	if err := o.deleteEndpoint(t, "kube-busy"); err != nil { // ends the creation
		t.Error(err)
	}
}

// hold puts a resource into a state.
func (l *lab) hold(t *testing.T, id, state string) {
	t.Helper()
	err := l.e.store.Update(t.Context(), func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, id)
		if err != nil || !ok {
			return fmt.Errorf("%s: %t, %w", id, ok, err)
		}
		rec.Document.Set(state, "properties", "provisioningState")
		return arm.Put(tx, rec)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKubernetesResources(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-1035")
	l := newLab(t, nil)
	o := l.owner
	o.cluster(t)
	o.attach(t, "k8s")
	e := o.endpoint(t, "kube-sized", onCompute("k8s", armmachinelearning.EndpointAuthModeKey))
	o.grant(t, *e.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	asks := func(request, limit string) func(*armmachinelearning.KubernetesOnlineDeployment) {
		return func(k *armmachinelearning.KubernetesOnlineDeployment) {
			k.ContainerResourceRequirements = &armmachinelearning.ContainerResourceRequirements{
				ContainerResourceRequests: &armmachinelearning.ContainerResourceSettings{Memory: to.Ptr(request)},
				ContainerResourceLimits:   &armmachinelearning.ContainerResourceSettings{Memory: to.Ptr(limit)}}
		}
	}
	for n, c := range []struct {
		change func(*armmachinelearning.KubernetesOnlineDeployment)
		code   string
	}{
		{asks("1Gi", "1G"), "BadArgument"},
		{asks("3Gi", "3Gi"), "BadArgument"},
		{asks("much", "more"), "InvalidDeploymentSpec"},
		{func(k *armmachinelearning.KubernetesOnlineDeployment) { k.InstanceType = to.Ptr("gpularge") }, "InvalidDeploymentSpec"},
		{asks("512Mi", "1Gi"), ""},
	} {
		err := o.tryDeploy(t, "kube-sized", fmt.Sprintf("dep%d", n), o.kubernetesScorer(t, c.change))
		if c.code == "" && err != nil {
			t.Errorf("%d: %v", n, err)
		} else if c.code != "" {
			wantCode(t, err, c.code)
		}
	}
	wantError(t, o.tryDeploy(t, "kube-sized", "scaled", o.kubernetesScorer(t, func(k *armmachinelearning.KubernetesOnlineDeployment) {
		k.ScaleSettings = &armmachinelearning.TargetUtilizationScaleSettings{ScaleType: to.Ptr(armmachinelearning.ScaleTypeTargetUtilization), MinInstances: to.Ptr[int32](3), MaxInstances: to.Ptr[int32](2)}
	})), http.StatusBadRequest, "BadRequest", "InvalidDeploymentSpec")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-109", "R-223", "R-615")
	limits, err := ParseLimits(map[string]string{"endpoints": "2", "deployments-per-endpoint": "1", "instances": "2", "request-timeout": "40s", "kubernetes-request-timeout": "60s", "deployments": "2"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.Limits = limits })
	o := l.owner
	o.endpoint(t, "first", wish(nil))
	o.endpoint(t, "second", wish(nil))
	_, err = o.tryEndpoint(t.Context(), t, "third", wish(nil))
	wantError(t, err, http.StatusBadRequest, "OutOfQuota")
	far := wish(func(e *armmachinelearning.OnlineEndpoint) { e.Location = to.Ptr("westus") })
	o.endpoint(t, "elsewhere", far) // the limit is a region's
	body := o.instance(t)
	o.deploy(t, "first", "one", body)
	wantError(t, o.tryDeploy(t, "first", "two", body), http.StatusBadRequest, "OutOfQuota", "deployments")
	o.deploy(t, "second", "one", body)
	if err := o.deleteDeployment(t, "first", "one"); err != nil {
		t.Fatal(err)
	}
	o.deploy(t, "first", "two", body) // what was returned can be used again
	body.SKU.Capacity = to.Ptr[int32](3)
	wantError(t, o.tryDeploy(t, "second", "one", body), http.StatusBadRequest, "BadRequest", "from 1 to 2")
	body.SKU.Capacity = to.Ptr[int32](1)
	body.Properties.(*armmachinelearning.ManagedOnlineDeployment).RequestSettings = &armmachinelearning.OnlineRequestSettings{RequestTimeout: to.Ptr("PT50S")}
	wantError(t, o.tryDeploy(t, "second", "one", body), http.StatusBadRequest, "BadRequest", "40 seconds")
}

func TestRoleAssignmentLimit(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-223")
	l := newLab(t, func(c *Config) { c.Limits.RoleAssignments = 3 })
	o := l.owner
	// The owner's own is one; an endpoint's identity needs three more.
	_, err := o.tryEndpoint(t.Context(), t, "poor", wish(nil))
	wantError(t, err, http.StatusBadRequest, "OutOfQuota", "role assignments")
	if _, err := o.endpoints(t).Get(t.Context(), groupName, wsName, "poor", nil); err == nil {
		t.Error("the refused endpoint exists")
	}
	someone := l.principal("someone")
	o.grant(t, someone.oid, "Reader", accountID(accountOne))
	o.grant(t, someone.oid, "Reader", accountID(accountTwo))
	_, err = o.tryGrant(t, someone.oid, "Reader", seedWorkspace)
	wantError(t, err, http.StatusBadRequest, "RoleAssignmentLimitExceeded")
}

func TestScoringRates(t *testing.T) {
	t.Parallel()
	covers.R(t, "R-615")
	limits, err := ParseLimits(map[string]string{"requests-per-second": "1", "connections": "500", "bandwidth": "5"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.Limits = limits })
	l.owner.endpoint(t, "rated", wish(nil))
	l.owner.deploy(t, "rated", "blue", l.owner.instance(t))
	key := *l.owner.keys(t, "rated").PrimaryKey
	seen := map[int]bool{}
	for i := 0; i < 200 && !(seen[200] && seen[429]); i++ {
		seen[l.score(t, "rated", "blue", key, envQuestion).status] = true
	}
	if !seen[200] || !seen[429] || len(seen) != 2 {
		t.Errorf("statuses %v", seen)
	}
}

func TestParseLimits(t *testing.T) {
	for name, value := range map[string]string{"endpoint": "1", "endpoints": "0", "deployments": "x", "request-timeout": "9", "requests-per-second": "0", "bandwidth": "NaN", "connections": "-1"} {
		if _, err := ParseLimits(map[string]string{name: value}); err == nil {
			t.Errorf("%s=%s was taken", name, value)
		}
	}
}
