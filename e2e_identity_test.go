package amlocal

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/process/sandbox"
	"github.com/amlocal/amlocal/store"
)

// known says whether the directory still has a principal.
func (l *lab) known(t *testing.T, oid string) (ok bool) {
	t.Helper()
	err := l.e.store.View(t.Context(), func(tx store.ReadTx) error {
		_, ok = l.e.entra.Principal(tx, oid)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func (l *lab) principals(t *testing.T) (n int) {
	t.Helper()
	err := l.e.store.View(t.Context(), func(tx store.ReadTx) error {
		n = len(l.e.entra.Principals(tx))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAutomaticRoles(t *testing.T) {
	covers.C(t, sdk, "R-120", "R-201", "R-202", "R-210", "R-211", "R-212", "R-214", "R-216", "R-217")
	l := newLab(t, nil)
	t.Run("no identity in the body means system-assigned", func(t *testing.T) {
		made := l.owner.endpoint(t, "plain", wish(func(e *armmachinelearning.OnlineEndpoint) { e.Identity = nil }))
		if made.Identity == nil || *made.Identity.Type != armmachinelearning.ManagedServiceIdentityTypeSystemAssigned || *made.Identity.TenantID != azure.SeedTenantID || uuid.Validate(*made.Identity.PrincipalID) != nil {
			t.Errorf("identity %+v", made.Identity)
		}
	})
	t.Run("system-assigned gets three", func(t *testing.T) {
		made := l.owner.endpoint(t, "sai", wish(nil))
		if !l.known(t, *made.Identity.PrincipalID) {
			t.Error("the directory does not know the principal")
		}
		want := map[string]string{"AcrPull": seedRegistry, "Storage Blob Data Reader": seedStorage, "AzureML Metrics Writer (preview)": seedWorkspace}
		if got := l.owner.rolesOf(t, *made.Identity.PrincipalID); !maps.EqualFunc(got, want, strings.EqualFold) {
			t.Errorf("roles %v, want %v", got, want)
		}
		pages := l.owner.identities(t).NewListByResourceGroupPager(groupName, nil)
		for pages.More() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Value) != 0 {
				t.Errorf("it is listed as a user-assigned identity: %+v", page.Value[0])
			}
		}
	})
	t.Run("user-assigned gets none", func(t *testing.T) {
		uai := l.owner.uai(t, "mine")
		made := l.owner.endpoint(t, "uai", wish(asUser(*uai.ID)))
		if made.Identity.PrincipalID != nil || len(made.Identity.UserAssignedIdentities) != 1 {
			t.Errorf("identity %+v", made.Identity)
		}
		for id, u := range made.Identity.UserAssignedIdentities {
			if !strings.EqualFold(id, *uai.ID) || *u.PrincipalID != *uai.Properties.PrincipalID || *u.ClientID != *uai.Properties.ClientID {
				t.Errorf("identity %s: %+v, want %+v", id, u, uai.Properties)
			}
		}
		if got := l.owner.rolesOf(t, *uai.Properties.PrincipalID); len(got) != 0 {
			t.Errorf("roles %v, want none", got)
		}
	})
}

func TestIdentityIsFixed(t *testing.T) {
	covers.C(t, sdk, "R-164", "R-203", "R-204", "R-205", "R-1020", "R-1021", "R-1022")
	l := newLab(t, nil)
	one, two := l.owner.uai(t, "one"), l.owner.uai(t, "two")
	before := map[string]armmachinelearning.OnlineEndpoint{
		"sai": l.owner.endpoint(t, "sai", wish(nil)), "uai": l.owner.endpoint(t, "uai", wish(asUser(*one.ID))),
	}
	for _, tt := range []struct {
		name, endpoint string
		body           armmachinelearning.OnlineEndpoint
	}{
		{"system to user", "sai", wish(asUser(*one.ID))},
		{"user to system", "uai", wish(nil)},
		{"user to another user", "uai", wish(asUser(*two.ID))},
		{"one user to two", "uai", wish(asUser(*one.ID, *two.ID))},
		{"system to both", "sai", wish(func(e *armmachinelearning.OnlineEndpoint) {
			asUser(*one.ID)(e)
			e.Identity.Type = to.Ptr(armmachinelearning.ManagedServiceIdentityTypeSystemAssignedUserAssigned)
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := l.owner.tryEndpoint(t.Context(), t, tt.endpoint, tt.body)
			wantError(t, err, 400, "BadRequest", "identity")
			patch := armmachinelearning.PartialMinimalTrackedResourceWithIdentity{Tags: map[string]*string{"a": to.Ptr("b")},
				Identity: &armmachinelearning.PartialManagedServiceIdentity{Type: tt.body.Identity.Type, UserAssignedIdentities: map[string]any{}}}
			for id := range tt.body.Identity.UserAssignedIdentities {
				patch.Identity.UserAssignedIdentities[id] = map[string]any{}
			}
			poller, err := l.owner.endpoints(t).BeginUpdate(t.Context(), groupName, wsName, tt.endpoint, patch, nil)
			_, err = finish(t.Context(), poller, err)
			wantError(t, err, 400, "BadRequest", "identity")
			l.sameIdentity(t, tt.endpoint, before[tt.endpoint])
		})
	}
	for name, was := range before {
		t.Run("the same again for "+name, func(t *testing.T) {
			got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			got.Tags = map[string]*string{"team": to.Ptr("red")}
			made, err := l.owner.tryEndpoint(t.Context(), t, name, got.OnlineEndpoint)
			if err != nil {
				t.Fatal(err)
			}
			if *made.Tags["team"] != "red" {
				t.Errorf("tags %v", made.Tags)
			}
			l.sameIdentity(t, name, was)
			poller, err := l.owner.endpoints(t).BeginUpdate(t.Context(), groupName, wsName, name,
				armmachinelearning.PartialMinimalTrackedResourceWithIdentity{Tags: map[string]*string{"more": to.Ptr("blue")}}, nil)
			patched, err := finish(t.Context(), poller, err)
			if err != nil {
				t.Fatal(err)
			}
			if *patched.Tags["team"] != "red" || *patched.Tags["more"] != "blue" {
				t.Errorf("tags %v", patched.Tags)
			}
			l.sameIdentity(t, name, was)
		})
	}
	n := l.principals(t)
	for _, tt := range []struct {
		name string
		body armmachinelearning.OnlineEndpoint
	}{
		{"unknown identity", wish(asUser(strings.Replace(*one.ID, "/one", "/nobody", 1)))},
		{"empty list", wish(asUser())},
		{"not an identity", wish(asUser(accountID(accountOne)))},
		{"an id under SystemAssigned", wish(func(e *armmachinelearning.OnlineEndpoint) {
			asUser(*one.ID)(e)
			e.Identity.Type = to.Ptr(armmachinelearning.ManagedServiceIdentityTypeSystemAssigned)
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := l.owner.tryEndpoint(t.Context(), t, "fresh", tt.body)
			wantError(t, err, 400, "BadRequest")
			_, err = l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "fresh", nil)
			wantError(t, err, 404, "ResourceNotFound")
			if got := l.principals(t); got != n {
				t.Errorf("%d principals, before %d", got, n)
			}
		})
	}
}

func (l *lab) sameIdentity(t *testing.T, endpoint string, want armmachinelearning.OnlineEndpoint) {
	t.Helper()
	got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := func(e armmachinelearning.OnlineEndpoint) []string {
		out := []string{string(*e.Identity.Type)}
		if e.Identity.PrincipalID != nil {
			out = append(out, *e.Identity.PrincipalID)
		}
		for id, u := range e.Identity.UserAssignedIdentities {
			out = append(out, strings.ToLower(id)+" "+*u.PrincipalID)
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(ids(got.OnlineEndpoint), ids(want)) {
		t.Errorf("identity of %s is %v, was %v", endpoint, ids(got.OnlineEndpoint), ids(want))
	}
	if state := *got.Properties.ProvisioningState; state != armmachinelearning.EndpointProvisioningStateSucceeded {
		t.Errorf("state of %s: %s", endpoint, state)
	}
}

// TestDeploymentsShareTheIdentity reads the tokens of two deployments, and
// what the deployer may is not what they may.
func TestDeploymentsShareTheIdentity(t *testing.T) {
	covers.C(t, sdk, "R-206", "R-207", "R-226", "R-502", "R-506", "R-524", "R-525", "R-1005", "R-1007")
	l := newLab(t, nil)
	sai := l.owner.endpoint(t, "sai", wish(nil))
	one, two := l.owner.uai(t, "one"), l.owner.uai(t, "two")
	l.owner.endpoint(t, "uai", wish(asUser(*one.ID, *two.ID)))
	for _, id := range []string{*one.Properties.PrincipalID, *two.Properties.PrincipalID} {
		l.owner.grant(t, id, "AcrPull", seedRegistry)
	}
	body := l.owner.instance(t)
	for _, name := range []string{"blue", "green"} {
		l.owner.deploy(t, "sai", name, body)
	}
	l.owner.deploy(t, "uai", "blue", body)

	for _, name := range []string{"blue", "green"} {
		for _, resource := range []string{forStorage, forVault, forManagement} {
			got := l.ask(t, "sai", name, question{Do: "token", Resource: resource})
			if got.Error != "" {
				t.Fatalf("%s: %s", name, got.Error)
			}
			claims := claimsOf(t, got.Text)
			if claims["oid"] != *sai.Identity.PrincipalID || claims["tid"] != azure.SeedTenantID || strings.TrimSuffix(claims["aud"].(string), "/") != resource {
				t.Errorf("%s for %s: %v, want oid %s", name, resource, claims, *sai.Identity.PrincipalID)
			}
		}
	}
	for client, want := range map[string]string{*one.Properties.ClientID: *one.Properties.PrincipalID, *two.Properties.ClientID: *two.Properties.PrincipalID} {
		got := l.ask(t, "uai", "blue", question{Do: "token", Resource: forStorage, ClientID: client})
		if got.Error != "" {
			t.Errorf("client %s: %s", client, got.Error)
		} else if claims := claimsOf(t, got.Text); claims["oid"] != want || claims["appid"] != client {
			t.Errorf("client %s: %v, want oid %s", client, claims, want)
		}
	}
	other := l.owner.uai(t, "other")
	for _, q := range []struct{ endpoint, client string }{
		{"uai", *other.Properties.ClientID}, {"uai", uuid.NewString()}, {"uai", "UAI_CLIENT_ID_PLACEHOLDER"},
		{"sai", *one.Properties.ClientID}, {"uai", azure.SeedOwnerAppID}, {"sai", azure.SeedOwnerAppID},
	} {
		if got := l.ask(t, q.endpoint, "blue", question{Do: "token", Resource: forStorage, ClientID: q.client}); got.Error == "" || got.Text != "" {
			t.Errorf("%s got a token for client %s", q.endpoint, q.client)
		}
	}
	// The owner deployed and may do everything; the code may nothing.
	if got := l.ask(t, "sai", "blue", question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt"}); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("the code reads with the deployer's rights: %+v", got)
	}
	token := l.ask(t, "sai", "blue", question{Do: "token", Resource: forManagement}).Text
	a := l.armRaw(t, http.MethodGet, accountID(accountOne), token, "")
	if code, message := armCode(t, a); a.status != 403 || code != "AuthorizationFailed" || !strings.Contains(message, *sai.Identity.PrincipalID) {
		t.Errorf("ARM with the instance's token: %d %s", a.status, a.body)
	}
}

// environment splits what os.Environ gives.
func environment(list []string) map[string]string {
	out := map[string]string{}
	for _, v := range list {
		name, value, _ := strings.Cut(v, "=")
		out[name] = value
	}
	return out
}

// identityEndpoint asks as the how-to's script does, past the proxy. Tests stand
// outside the instance: for a sandboxed one's own address they take the
// emulator's.
func (l *lab) identityEndpoint(t *testing.T, endpoint, secret string) answer {
	t.Helper()
	if rest, ok := strings.CutPrefix(endpoint, "http://"+sandbox.IdentityAddress); ok {
		endpoint = l.e.Access().URL() + rest
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"?resource=https://storage.azure.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("secret", secret)
	r.Header.Set("Metadata", "true")
	direct := &lab{http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	return direct.do(t, r)
}

func TestDeletedEndpoint(t *testing.T) {
	covers.C(t, sdk, "R-801", "R-802", "R-803", "R-804", "R-806", "R-227")
	l := newLab(t, nil)
	uai := l.owner.uai(t, "stays")
	body := l.owner.instance(t)
	first := l.owner.endpoint(t, "cycle", wish(nil))
	l.owner.endpoint(t, "user", wish(asUser(*uai.ID)))
	l.owner.grant(t, *first.Identity.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	l.owner.grant(t, *uai.Properties.PrincipalID, "Storage Blob Data Reader", accountID(accountOne))
	l.owner.deploy(t, "cycle", "blue", body)
	read := question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt"}
	if got := l.ask(t, "cycle", "blue", read); got.Text != helloText {
		t.Fatalf("before: %+v", got)
	}
	env := environment(l.ask(t, "cycle", "blue", question{Do: "environment"}).Environment)
	if a := l.identityEndpoint(t, env["MSI_ENDPOINT"], env["MSI_SECRET"]); a.status != 200 {
		t.Fatalf("the identity endpoint before: %d %s", a.status, a.body)
	}
	if got := len(l.e.Status().Deployments); got != 1 {
		t.Fatalf("%d deployments run", got)
	}
	for _, name := range []string{"cycle", "user"} {
		if err := l.owner.deleteEndpoint(t, name); err != nil {
			t.Fatal(err)
		}
		_, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, name, nil)
		wantError(t, err, 404, "ResourceNotFound")
	}
	if got := l.owner.stateOf(t, "cycle", "blue"); got != "" {
		t.Errorf("the deployment is still there: %s", got)
	}
	if got := l.e.Status().Deployments; len(got) != 0 {
		t.Errorf("still running: %+v", got)
	}
	if l.known(t, *first.Identity.PrincipalID) {
		t.Error("the directory still knows the system-assigned principal")
	}
	if !l.known(t, *uai.Properties.PrincipalID) || len(l.owner.rolesOf(t, *uai.Properties.PrincipalID)) != 1 {
		t.Error("the user-assigned identity did not outlive the endpoint")
	}
	// Tokens issued before live until they expire (U-10); new ones are not.
	if a := l.identityEndpoint(t, env["MSI_ENDPOINT"], env["MSI_SECRET"]); a.status != 401 || strings.Contains(a.body, "access_token") || !json.Valid([]byte(a.body)) {
		t.Errorf("the identity endpoint after: %d %s", a.status, a.body)
	}
	// Deleting what is not there is no error.
	if err := l.owner.deleteEndpoint(t, "cycle"); err != nil {
		t.Errorf("second delete: %v", err)
	}

	second := l.owner.endpoint(t, "cycle", wish(nil))
	if *second.Identity.PrincipalID == *first.Identity.PrincipalID {
		t.Error("the principal came back")
	}
	l.owner.deploy(t, "cycle", "blue", body)
	if got := l.ask(t, "cycle", "blue", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("the old assignment applies to the new endpoint: %+v", got)
	}
}

func TestDeletedAccount(t *testing.T) {
	covers.C(t, sdk, "R-805", "R-808")
	l := newLab(t, nil)
	p := l.principal("reader")
	l.owner.grant(t, p.oid, "Storage Blob Data Reader", seedSubscription)
	if _, err := p.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.owner.accounts(t).Delete(t.Context(), groupName, accountOne, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err == nil {
		t.Error("the deleted account answers")
	}
	// Made again, it is empty.
	l.account(t, accountOne)
	_, err := p.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil)
	wantError(t, err, 404, "ContainerNotFound")
}
