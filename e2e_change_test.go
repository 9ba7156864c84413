package amlocal

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

func managed(d armmachinelearning.OnlineDeployment) *armmachinelearning.ManagedOnlineDeployment {
	return d.Properties.(*armmachinelearning.ManagedOnlineDeployment)
}

// TestFailedUpdate: the old revision serves on, and the next update mends.
func TestFailedUpdate(t *testing.T) {
	covers.C(t, sdk, "R-603", "R-801", "R-1035")
	l := newLab(t, nil)
	made := l.owner.endpoint(t, "steady", wish(nil))
	grant := l.owner.grant(t, *made.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	body := l.owner.scorer(t)
	l.owner.deploy(t, "steady", "blue", body)
	serves := func(when string) {
		t.Helper()
		if a := l.score(t, "steady", "blue", *l.owner.keys(t, "steady").PrimaryKey, `{"data":[[1,2,3,4,5,6,7,8,9,10]]}`); a.status != 200 {
			t.Errorf("%s: %d %s", when, a.status, a.body)
		}
	}
	serves("at first")
	managed(body).EnvironmentVariables["FILE_NAME"] = to.Ptr("nothing.txt")
	wantCode(t, l.owner.tryDeploy(t, "steady", "blue", body), "ResourceNotReady", "BlobNotFound")
	if got := l.owner.stateOf(t, "steady", "blue"); got != "Failed" {
		t.Errorf("state %q", got)
	}
	serves("after the failed update")
	managed(body).EnvironmentVariables["FILE_NAME"] = to.Ptr("hello.txt")
	l.owner.deploy(t, "steady", "blue", body)
	serves("after the mended update")
	// A role taken away stops nothing that runs, and everything that starts.
	l.owner.revoke(t, grant)
	serves("after the role is gone")
	wantCode(t, l.owner.tryDeploy(t, "steady", "green", body), "ResourceNotReady", "AuthorizationPermissionMismatch")
	serves("beside the failed sibling")
	if got := len(l.e.Status().Deployments); got > 2 {
		t.Errorf("%d deployments are known to the runner", got)
	}
}

// TestClientIDsInDeployments: what the script's UAI_CLIENT_ID may say.
func TestClientIDsInDeployments(t *testing.T) {
	covers.C(t, sdk, "R-124", "R-177", "R-1005", "R-1006", "R-1024")
	l := newLab(t, nil)
	uai := l.owner.uai(t, "mine")
	sai := l.owner.endpoint(t, "sai", wish(nil))
	l.owner.endpoint(t, "uai", wish(asUser(*uai.ID)))
	for _, p := range []string{*sai.Identity.PrincipalID, *uai.Properties.PrincipalID} {
		l.owner.grant(t, p, "Storage Blob Data Reader", seedGroup)
	}
	for _, tt := range []struct{ name, endpoint, client string }{
		{"placeholder", "uai", "UAI_CLIENT_ID_PLACEHOLDER"},
		{"principal instead of client id", "uai", *uai.Properties.PrincipalID},
		{"somebody else's", "uai", azure.SeedOwnerAppID},
		{"given to a system-assigned endpoint", "sai", *uai.Properties.ClientID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := l.owner.scorer(t)
			managed(body).EnvironmentVariables["UAI_CLIENT_ID"] = &tt.client
			wantCode(t, l.owner.tryDeploy(t, tt.endpoint, "blue", body), "ResourceNotReady", "token refused: 4")
			if err := l.owner.deleteDeployment(t, tt.endpoint, "blue"); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("the right one, until it is deleted", func(t *testing.T) {
		l.owner.deploy(t, "uai", "blue", l.owner.instance(t))
		ask := question{Do: "token", Resource: forStorage, ClientID: *uai.Properties.ClientID}
		if got := l.ask(t, "uai", "blue", ask); got.Error != "" {
			t.Fatal(got.Error)
		}
		if _, err := l.owner.identities(t).Delete(t.Context(), groupName, "mine", nil); err != nil {
			t.Fatal(err)
		}
		ask.Resource = forVault // not what the client has cached
		if got := l.ask(t, "uai", "blue", ask); got.Error == "" || got.Text != "" {
			t.Error("a deleted identity got a token")
		}
		if _, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "uai", nil); err != nil {
			t.Errorf("the endpoint: %v", err)
		}
		wantCode(t, l.owner.tryDeploy(t, "uai", "green", l.owner.instance(t)), "BadArgument", "identity")
		// One of the same name is another identity.
		l.owner.uai(t, "mine")
		if got := l.ask(t, "uai", "blue", ask); got.Error == "" {
			t.Error("the new identity of the same name lent its token")
		}
	})
}

func TestDeploymentBodies(t *testing.T) {
	covers.C(t, sdk, "R-112", "R-124", "R-616", "R-1034")
	l := newLab(t, nil)
	l.owner.endpoint(t, "bodies", wish(nil))
	for _, tt := range []struct {
		name   string
		change func(*armmachinelearning.ManagedOnlineDeployment)
		code   string // of the operation; "" is refused at once
	}{
		{"identity endpoint of its own", func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.EnvironmentVariables["MSI_ENDPOINT"] = to.Ptr("http://127.0.0.1:1/")
		}, ""},
		{"identity header of its own, other case", func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.EnvironmentVariables["identity_header"] = to.Ptr("x")
		}, ""},
		{"no environment", func(m *armmachinelearning.ManagedOnlineDeployment) { m.EnvironmentID = nil }, "BadArgument"},
		{"unknown environment", func(m *armmachinelearning.ManagedOnlineDeployment) { m.EnvironmentID = to.Ptr("azureml:nothing:1") }, "BadArgument"},
		{"unknown image", func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.EnvironmentID = to.Ptr(l.owner.image(t, "noimage", "example.com/nothing:1"))
		}, "BadArgument"},
		{"image of a registry that is not there", func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.EnvironmentID = to.Ptr(l.owner.image(t, "noregistry", "nosuchregistry.azurecr.io/nothing:1"))
		}, "BadArgument"},
		{"unknown model", func(m *armmachinelearning.ManagedOnlineDeployment) { m.Model = to.Ptr("azureml:nothing:1") }, "BadArgument"},
		{"a time-out too long", func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.RequestSettings.RequestTimeout = to.Ptr("PT181S")
		}, ""},
		{"a time-out that is none", func(m *armmachinelearning.ManagedOnlineDeployment) {
			m.RequestSettings.RequestTimeout = to.Ptr("5 seconds")
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := l.owner.instance(t)
			tt.change(managed(body))
			err := l.owner.tryDeploy(t, "bodies", "blue", body)
			if tt.code == "" {
				wantError(t, err, 400, "BadRequest")
				if got := l.owner.stateOf(t, "bodies", "blue"); got != "" {
					t.Errorf("made all the same: %s", got)
				}
				return
			}
			wantCode(t, err, tt.code)
			if got := l.owner.stateOf(t, "bodies", "blue"); got != "Failed" {
				t.Errorf("state %q", got)
			}
			if err := l.owner.deleteDeployment(t, "bodies", "blue"); err != nil {
				t.Fatal(err)
			}
		})
	}
	owner := l.owner.token(t, forManagement)
	for name, body := range map[string]string{
		"variables a list":       `{"properties":{"environmentVariables":["A=b"]}}`,
		"a variable an object":   `{"properties":{"environmentVariables":{"A":{"b":1}}}}`,
		"model an object":        `{"properties":{"model":{"assetId":"azureml:a:1"}}}`,
		"code id a list":         `{"properties":{"codeConfiguration":{"codeId":[]}}}`,
		"sku a string":           `{"sku":"Default"}`,
		"no instances":           `{"sku":{"capacity":0}}`,
		"instances half":         `{"sku":{"capacity":1.5}}`,
		"51 instances":           `{"sku":{"capacity":51}}`,
		"Kubernetes":             `{"properties":{"endpointComputeType":"Kubernetes"}}`,
		"other scale":            `{"properties":{"scaleSettings":{"scaleType":"TargetUtilization"}}}`,
		"request settings a nil": `{"properties":{"requestSettings":"none"}}`,
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			a := l.armRaw(t, http.MethodPut, endpointID("bodies")+"/deployments/raw", owner, body)
			if code, _ := armCode(t, a); a.status != 400 || code != "BadRequest" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if got := l.owner.stateOf(t, "bodies", "raw"); got != "" {
				t.Errorf("made all the same: %s", got)
			}
		})
	}
}

// TestManyAtOnce creates one endpoint many times at once: one principal comes
// of it.
func TestManyAtOnce(t *testing.T) {
	covers.C(t, sdk, "R-202", "R-1058")
	l := newLab(t, nil)
	before := l.principals(t)
	client := l.owner.endpoints(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			name := "racing"
			if i%2 == 1 {
				name = "RACING"
			}
			poller, err := client.BeginCreateOrUpdate(t.Context(), groupName, wsName, name, wish(nil), nil)
			_, errs[i] = finish(t.Context(), poller, err)
		})
	}
	wg.Wait()
	ok := 0
	for _, err := range errs {
		var re *azcore.ResponseError
		switch {
		case err == nil:
			ok++
		case !errors.As(err, &re) || re.StatusCode != 409:
			t.Error(err)
		}
	}
	if ok == 0 {
		t.Error("none succeeded")
	}
	if got := l.principals(t); got != before+1 {
		t.Errorf("%d principals came of it", got-before)
	}
	got, err := client.Get(t.Context(), groupName, wsName, "racing", nil)
	if err != nil {
		t.Fatal(err)
	}
	if roles := l.owner.rolesOf(t, *got.Identity.PrincipalID); len(roles) != 3 {
		t.Errorf("roles %v", roles)
	}
}

// TestGroupTakesEverything deletes the resource group under a running
// deployment.
func TestGroupTakesEverything(t *testing.T) {
	covers.C(t, sdk, "R-801", "R-803", "R-805")
	l := newLab(t, nil)
	made := l.owner.endpoint(t, "doomed", wish(nil))
	uai := l.owner.uai(t, "doomed")
	l.owner.grant(t, *made.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	l.owner.deploy(t, "doomed", "blue", l.owner.instance(t))
	groups := must(armresources.NewResourceGroupsClient(azure.SeedSubscriptionID, l.owner.cred, l.options()))(t)
	poller, err := groups.BeginDelete(t.Context(), groupName, nil)
	if _, err := finish(t.Context(), poller, err); err != nil {
		t.Fatal(err)
	}
	if got := l.e.Status().Deployments; len(got) != 0 {
		t.Errorf("still running: %+v", got)
	}
	for _, oid := range []string{*made.Identity.PrincipalID, *uai.Properties.PrincipalID} {
		if l.known(t, oid) {
			t.Errorf("the principal %s is still there", oid)
		}
	}
	if _, ok := l.e.ml.RouteFor("doomed.eastus.inference.ml.azure.com"); ok {
		t.Error("the endpoint still has an address")
	}
	if _, err := l.owner.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err == nil || !strings.Contains(err.Error(), accountOne) {
		t.Errorf("the account: %v", err)
	}
	_, err = l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "doomed", nil)
	wantError(t, err, 404, "ResourceGroupNotFound")
}

// TestLocations: an endpoint does not move, and its name is one region's.
func TestLocations(t *testing.T) {
	covers.C(t, sdk, "R-614", "R-317")
	l := newLab(t, nil)
	in := func(location string) armmachinelearning.OnlineEndpoint {
		return wish(func(e *armmachinelearning.OnlineEndpoint) { e.Location = &location })
	}
	made := l.owner.endpoint(t, "placed", in("eastus"))
	if *made.Properties.ScoringURI != "https://placed.eastus.inference.ml.azure.com/score" {
		t.Errorf("scoring address %s", *made.Properties.ScoringURI)
	}
	if _, err := l.owner.tryEndpoint(t.Context(), t, "placed", in("East US")); err != nil {
		t.Errorf("the same region, spelled out: %v", err)
	}
	_, err := l.owner.tryEndpoint(t.Context(), t, "placed", in("westeurope"))
	wantError(t, err, 409, "InvalidResourceLocation", "westeurope")
	l.sameIdentity(t, "placed", made)
	made = l.owner.endpoint(t, "remote", in("West Europe"))
	if *made.Properties.ScoringURI != "https://remote.westeurope.inference.ml.azure.com/score" {
		t.Errorf("scoring address %s", *made.Properties.ScoringURI)
	}
}
