package amlocal

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// TestPrivateEndpointIsClosed: with public network access disabled nobody
// scores from here, and with it enabled again everybody does.
func TestPrivateEndpointIsClosed(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-619")
	l := newLab(t, nil)
	o := l.owner
	o.endpoint(t, "private", wish(nil))
	o.deploy(t, "private", "blue", o.instance(t))
	key := *o.keys(t, "private").PrimaryKey
	for _, c := range []struct {
		access armmachinelearning.PublicNetworkAccessType
		status int
	}{{armmachinelearning.PublicNetworkAccessTypeDisabled, http.StatusForbidden}, {armmachinelearning.PublicNetworkAccessTypeEnabled, http.StatusOK}} {
		got, err := o.endpoints(t).Get(t.Context(), groupName, wsName, "private", nil)
		if err != nil {
			t.Fatal(err)
		}
		got.Properties.PublicNetworkAccess = &c.access
		o.endpoint(t, "private", got.OnlineEndpoint)
		for _, credential := range []string{key, "no-key"} {
			want := c.status
			if want == http.StatusOK && credential != key {
				want = http.StatusUnauthorized
			}
			if a := l.score(t, "private", "blue", credential, envQuestion); a.status != want {
				t.Errorf("%s with %q: %d, want %d: %s", c.access, credential, a.status, want, a.body)
			}
		}
	}
}

// TestWorkspaceNeedsItsAccount: who may list a workspace's keys has the keys of
// its account; a new workspace is no way to them.
func TestWorkspaceNeedsItsAccount(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-908")
	l := newLab(t, nil)
	schemer := l.principal("schemer")
	l.customRole(t, schemer.oid, "workspaces only", seedGroup, []string{"Microsoft.MachineLearningServices/workspaces/*"})
	workspaces := must(armmachinelearning.NewWorkspacesClient(azure.SeedSubscriptionID, schemer.cred, l.options()))(t)
	make := func() error {
		poller, err := workspaces.BeginCreateOrUpdate(t.Context(), groupName, "theirs", armmachinelearning.Workspace{
			Location:   to.Ptr(azure.SeedLocation),
			Properties: &armmachinelearning.WorkspaceProperties{StorageAccount: to.Ptr(accountID(accountOne))}}, nil)
		_, err = finish(t.Context(), poller, err)
		return err
	}
	wantError(t, make(), http.StatusForbidden, "LinkedAuthorizationFailed", "Microsoft.Storage/storageAccounts/listKeys/action", accountID(accountOne))
	l.owner.grant(t, schemer.oid, "Storage Account Key Operator Service Role", accountID(accountOne))
	if err := make(); err != nil {
		t.Error(err)
	}
}

// TestGroupTakesComputes: the principal of an attached compute goes with its
// group.
func TestGroupTakesComputes(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-803")
	l := newLab(t, nil)
	o := l.owner
	o.cluster(t)
	body := kubeCompute(nil)
	body.Identity = &armmachinelearning.ManagedServiceIdentity{Type: to.Ptr(armmachinelearning.ManagedServiceIdentityTypeSystemAssigned)}
	made, err := o.tryAttach(t, "k8s", body)
	if err != nil {
		t.Fatal(err)
	}
	if !l.known(t, *made.Identity.PrincipalID) {
		t.Fatal("the compute's principal is not in the directory")
	}
	if err := l.e.ml.PurgeWorkspaces(t.Context(), seedGroup); err != nil {
		t.Fatal(err)
	}
	if l.known(t, *made.Identity.PrincipalID) {
		t.Error("the compute's principal outlived its group")
	}
}

// TestDeletedAssetServesAgain: a deployment whose model is deleted goes on
// serving, a restart of the emulator included, and can be changed once there is a
// model again.
func TestDeletedAssetServesAgain(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-801")
	dir := filepath.Join(t.TempDir(), "state")
	first := newLab(t, func(c *Config) { c.Ephemeral, c.StateDir = false, dir })
	o := first.owner
	e := o.endpoint(t, "lasting", wish(nil))
	o.grant(t, *e.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	o.deploy(t, "lasting", "blue", o.scorer(t))
	models := must(armmachinelearning.NewModelVersionsClient(azure.SeedSubscriptionID, o.cred, first.options()))(t)
	if _, err := models.Delete(t.Context(), groupName, wsName, "regression", "1", nil); err != nil {
		t.Fatal(err)
	}
	closeEmulator(t, first.e)
	again := labOf(t, start(t, func(c *Config) { c.Ephemeral, c.StateDir = false, dir }))
	if got := again.owner.stateOf(t, "lasting", "blue"); got != "Succeeded" {
		t.Errorf("the deployment is %s", got)
	}
	again.eventually(t, "blue", `{"data":[[1,2,3,4,5,6,7,8,9,10]]}`)
	again.owner.deploy(t, "lasting", "blue", again.owner.scorer(t)) // with the model again
}

// TestLostIdentityIsNoSuccess: a deployment that cannot come back after a restart
// does not say that it succeeded.
func TestLostIdentityIsNoSuccess(t *testing.T) {
	t.Parallel()
	covers.C(t, sdk, "R-801")
	dir := filepath.Join(t.TempDir(), "state")
	first := newLab(t, func(c *Config) { c.Ephemeral, c.StateDir = false, dir })
	o := first.owner
	uai := o.uai(t, "lost")
	o.grant(t, *uai.Properties.PrincipalID, "AcrPull", seedGroup)
	o.grant(t, *uai.Properties.PrincipalID, "Storage Blob Data Reader", seedGroup)
	o.endpoint(t, "kept", wish(asUser(*uai.ID)))
	o.deploy(t, "kept", "blue", o.scorer(t))
	if _, err := o.identities(t).Delete(t.Context(), azure.SeedResourceGroup, "lost", nil); err != nil {
		t.Fatal(err)
	}
	closeEmulator(t, first.e)
	again := labOf(t, start(t, func(c *Config) { c.Ephemeral, c.StateDir = false, dir }))
	if got := again.owner.stateOf(t, "kept", "blue"); got != "Failed" {
		t.Errorf("the deployment is %s", got)
	}
}
