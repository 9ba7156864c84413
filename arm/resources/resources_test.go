package resources_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/resources"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/seal"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

const sdk = "azure-sdk-for-go"

type roles struct{ index *rbac.Index }

func (r roles) AttributesOf(context.Context, string, string, string) azure.Attributes {
	return azure.AttributeValues{}
}

func (r roles) Sees(objectID, scope string) bool {
	return len(r.index.Assignments(rbac.Filter{PrincipalID: objectID, Scope: scope})) > 0
}

// nowhere is the front of providers that are alone: deployments are tested at
// the root, with the whole control plane.
type nowhere struct{}

func (nowhere) Do(context.Context, azure.Principal, string, string, []byte) (int, http.Header, []byte, error) {
	return 0, nil, nil, errors.New("there is no control plane here")
}

func start(t *testing.T, cascades ...resources.Cascade) (*armtest.Server, *resources.Provider) {
	t.Helper()
	e := armtest.New(t)
	key, err := seal.Random()
	if err != nil {
		t.Fatal(err)
	}
	p, err := resources.New(resources.Deps{Documents: e.Documents, Clock: e.Clock, Operations: e.Operations,
		Roles: roles{e.Index}, TenantID: armtest.Tenant, Cascades: cascades, Front: nowhere{}, Seal: key})
	if err != nil {
		t.Fatal(err)
	}
	return e.Serve(p.Types()), p
}

func thing(e *armtest.Env, group, kind, name string) string {
	id := group + "/providers/" + kind + "/" + name
	e.Put(&arm.Record{ID: id, Type: kind, Document: arm.Document{"location": "eastus", "tags": map[string]any{"team": name},
		"properties": map[string]any{"hidden": true}}})
	return id
}

func TestSubscriptions(t *testing.T) {
	covers.R(t, "R-101", "R-102")
	s, p := start(t)
	second := armtest.GUID("second")
	s.Update(func(tx store.Tx) error {
		if err := p.Seed(tx, second, armtest.Tenant, "Second"); err != nil {
			return err
		}
		if err := p.SeedGroup(tx, second, "rg", "West Europe"); err != nil {
			return err
		}
		return p.Seed(tx, second, armtest.Tenant, "not again")
	})
	root := s.Grant(s.Principal("root"), "Reader", "/")
	local := s.Grant(s.Principal("local"), "Reader", armtest.Group)
	nobody := s.Principal("nobody")
	for who, want := range map[azure.Principal]int{root: 2, local: 1, nobody: 0} {
		got := s.Want(http.StatusOK, who, http.MethodGet, "/subscriptions", "").Values()
		if len(got) != want {
			t.Errorf("%s sees %d subscriptions, want %d", who.Name, len(got), want)
		}
		for _, sub := range got {
			for _, field := range []string{"id", "subscriptionId", "displayName", "tenantId", "state"} {
				if sub.String(field) == "" {
					t.Errorf("%s is missing: %v", field, sub)
				}
			}
		}
	}
	got := s.Want(http.StatusOK, root, http.MethodGet, "/SUBSCRIPTIONS/"+second, "")
	if got.Body.String("displayName") != "Second" {
		t.Error(got.Raw)
	}
	if got := s.Want(http.StatusOK, root, http.MethodGet, "/subscriptions/"+second+"/resourcegroups/rg", ""); got.Body.String("location") != "westeurope" {
		t.Error(got.Raw)
	}
	s.Want(http.StatusOK, local, http.MethodGet, armtest.Subscription, "")
	s.WantError(http.StatusForbidden, "AuthorizationFailed", nobody, http.MethodGet, armtest.Subscription, "")
	s.WantError(http.StatusNotFound, "SubscriptionNotFound", root, http.MethodGet, "/subscriptions/"+armtest.GUID("none"), "")
	if got := s.Want(http.StatusOK, nobody, http.MethodGet, "/tenants", "").Values(); len(got) != 1 || got[0].String("tenantId") != armtest.Tenant {
		t.Errorf("tenants %v", got)
	}
	if got := s.Want(http.StatusOK, local, http.MethodGet, armtest.Subscription+"/locations", "").Values(); len(got) < 10 {
		t.Errorf("%d locations", len(got))
	}
}

func TestSDKGroupLifecycle(t *testing.T) {
	covers.C(t, sdk, "R-105")
	var stopped string
	s, _ := start(t, resources.Cascade{
		Name: "things",
		Stop: func(_ context.Context, scope string) error { stopped = scope; return nil },
		Remove: func(tx store.Tx, scope string) error {
			return arm.Delete(tx, scope+"/providers/Microsoft.Test/things/first")
		},
	})
	client, err := armresources.NewResourceGroupsClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	made, err := client.CreateOrUpdate(ctx, "New-RG", armresources.ResourceGroup{Location: to.Ptr("West Europe"), Tags: map[string]*string{"a": to.Ptr("b")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := armtest.Subscription + "/resourceGroups/New-RG"
	if *made.ID != id || *made.Location != "westeurope" || *made.Properties.ProvisioningState != "Succeeded" || *made.Type != "Microsoft.Resources/resourceGroups" {
		t.Errorf("made %s %s %s", *made.ID, *made.Location, *made.Type)
	}
	if got, err := client.CheckExistence(ctx, "new-rg", nil); err != nil || !got.Success {
		t.Errorf("existence: %v", err)
	}
	if got, err := client.CheckExistence(ctx, "newer-rg", nil); err != nil || got.Success {
		t.Errorf("existence of none: %v", err)
	}
	if got, err := client.Update(ctx, "new-rg", armresources.ResourceGroupPatchable{Tags: map[string]*string{"c": to.Ptr("d")}}, nil); err != nil || *got.Tags["c"] != "d" {
		t.Errorf("patch: %v", err)
	}
	n := 0
	for pages := client.NewListPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Value)
	}
	if n != 3 {
		t.Errorf("%d groups", n)
	}
	first, kept := thing(s.Env, id, "Microsoft.Test/things", "second"), thing(s.Env, armtest.Group, "Microsoft.Test/things", "kept")
	thing(s.Env, id, "Microsoft.Test/things", "first")
	poller, err := client.BeginDelete(ctx, "new-rg", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: time.Second}); err != nil {
		t.Fatal(err)
	}
	if stopped != id {
		t.Errorf("stopped %q", stopped)
	}
	if s.Exists(id) || s.Exists(first) || s.Exists(id+"/providers/Microsoft.Test/things/first") {
		t.Error("something outlived the group")
	}
	if !s.Exists(kept) || !s.Exists(armtest.Group) {
		t.Error("another group was touched")
	}
}

func TestGroupRefusals(t *testing.T) {
	s, _ := start(t)
	owner := s.Owner()
	reader := s.Grant(s.Principal("reader"), "Reader", armtest.Subscription)
	for name, tt := range map[string]struct {
		as           azure.Principal
		method, path string
		body         string
		status       int
		code, says   string
	}{
		"reader creates":  {reader, http.MethodPut, armtest.Subscription + "/resourcegroups/x", `{"location":"eastus"}`, 403, "AuthorizationFailed", "'Microsoft.Resources/subscriptions/resourceGroups/write' over scope '" + armtest.Subscription + "/resourceGroups/x'"},
		"reader deletes":  {reader, http.MethodDelete, armtest.Group, "", 403, "AuthorizationFailed", "resourceGroups/delete"},
		"moved":           {owner, http.MethodPut, armtest.Group, `{"location":"westus"}`, 409, "InvalidResourceGroupLocation", "'eastus'"},
		"no location":     {owner, http.MethodPut, armtest.Group + "2", `{}`, 400, "LocationRequired", ""},
		"bad name":        {owner, http.MethodPut, armtest.Subscription + "/resourceGroups/a%20b", `{"location":"eastus"}`, 400, "ResourceGroupNameInvalid", "'a b'"},
		"none to get":     {owner, http.MethodGet, armtest.Group + "2", "", 404, "ResourceGroupNotFound", "amlocal-rg2"},
		"none to patch":   {owner, http.MethodPatch, armtest.Group + "2", `{}`, 404, "ResourceGroupNotFound", ""},
		"none to delete":  {owner, http.MethodDelete, armtest.Group + "2", "", 404, "ResourceGroupNotFound", ""},
		"no subscription": {s.Grant(s.Principal("root"), "Owner", "/"), http.MethodPut, "/subscriptions/" + armtest.GUID("x") + "/resourceGroups/x", `{"location":"eastus"}`, 404, "SubscriptionNotFound", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.Do(tt.as, tt.method, tt.path, tt.body)
			if a.Status != tt.status || a.Code() != tt.code || !strings.Contains(a.Message(), tt.says) {
				t.Errorf("status %d, body %s", a.Status, a.Raw)
			}
		})
	}
	if a := s.Do(owner, http.MethodHead, armtest.Group+"2", ""); a.Status != http.StatusNotFound {
		t.Errorf("HEAD of no group: %d", a.Status)
	}
}

func TestGroupBeingDeletedTakesNothing(t *testing.T) {
	release := make(chan struct{})
	s, _ := start(t, resources.Cascade{Name: "slow", Stop: func(ctx context.Context, _ string) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return errors.New("it would not stop")
	}})
	owner := s.Owner()
	a := s.Want(http.StatusAccepted, owner, http.MethodDelete, armtest.Group, "")
	if a.Header.Get("Location") == "" || a.Header.Get("Retry-After") != "" || a.Header.Get("retry-after-ms") == "" {
		t.Errorf("polling headers %v", a.Header)
	}
	s.WantError(http.StatusConflict, "ResourceGroupBeingDeleted", owner, http.MethodPut, armtest.Group, `{"location":"eastus"}`)
	if got := s.Want(http.StatusOK, owner, http.MethodGet, armtest.Group, ""); got.Body.String("properties", "provisioningState") != "Deleting" {
		t.Error(got.Raw)
	}
	if again := s.Want(http.StatusAccepted, owner, http.MethodDelete, armtest.Group, ""); again.Header.Get("Location") != a.Header.Get("Location") {
		t.Error("a second deletion is another operation")
	}
	close(release)
	location := strings.TrimPrefix(a.Header.Get("Location"), s.URL)
	for s.DoToken(owner.ObjectID, http.MethodGet, location, "").Status == http.StatusAccepted {
	}
	if got := s.DoToken(owner.ObjectID, http.MethodGet, location, ""); got.Status != http.StatusConflict || got.Code() != "ResourceGroupDeletionBlocked" {
		t.Errorf("a failed deletion ends as %d %s", got.Status, got.Raw)
	}
	if got := s.Want(http.StatusOK, owner, http.MethodGet, armtest.Group, ""); got.Body.String("properties", "provisioningState") != "Succeeded" {
		t.Error("the group stayed unusable")
	}
}

func TestGroupListShowsWhatOneMayRead(t *testing.T) {
	s, _ := start(t)
	local := s.Grant(s.Principal("local"), "Reader", armtest.Group)
	got := s.Want(http.StatusOK, local, http.MethodGet, armtest.Subscription+"/resourcegroups", "").Values()
	if len(got) != 1 || got[0].String("id") != armtest.Group {
		t.Errorf("groups %v", got)
	}
}

func TestGenericList(t *testing.T) {
	covers.R(t, "R-105")
	s, _ := start(t)
	a := thing(s.Env, armtest.Group, "Microsoft.ContainerRegistry/registries", "rega")
	thing(s.Env, armtest.OtherGroup, "Microsoft.ContainerRegistry/registries", "regb")
	thing(s.Env, armtest.Group, "Microsoft.KeyVault/vaults", "vault")
	s.Put(&arm.Record{ID: a + "/webhooks/untracked", Type: "Microsoft.ContainerRegistry/registries/webhooks", Document: arm.Document{}})
	owner, local := s.Owner(), s.Grant(s.Principal("local"), "Reader", armtest.OtherGroup)
	for _, tt := range []struct {
		as    azure.Principal
		path  string
		names string
	}{
		{owner, armtest.Subscription + "/resources", "rega vault regb"},
		{owner, armtest.Group + "/resources", "rega vault"},
		{local, armtest.Subscription + "/resources", "regb"},
		{owner, armtest.Subscription + "/resources?$filter=resourceType eq 'microsoft.containerregistry/registries'", "rega regb"},
		{owner, armtest.Subscription + "/resources?$filter=resourceGroup eq 'OTHER-RG'", "regb"},
		{owner, armtest.Subscription + "/resources?$filter=resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'vault'", "vault"},
		{owner, armtest.Subscription + "/resources?$filter=tagName eq 'team' and tagValue eq 'rega'", "rega"},
	} {
		var names []string
		for _, v := range s.Want(http.StatusOK, tt.as, http.MethodGet, tt.path, "").Values() {
			names = append(names, v.String("name"))
			if v.Object("properties") != nil {
				t.Errorf("properties are shown: %v", v)
			}
		}
		for _, want := range strings.Fields(tt.names) {
			if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+want+" ") {
				t.Errorf("%s lists %v, want %s", tt.path, names, tt.names)
			}
		}
		if len(names) != len(strings.Fields(tt.names)) {
			t.Errorf("%s lists %v, want %s", tt.path, names, tt.names)
		}
	}
	s.WantError(http.StatusBadRequest, "InvalidFilterInQueryString", owner, http.MethodGet, armtest.Subscription+"/resources?$filter=kind ne 'x'", "")
	s.WantError(http.StatusForbidden, "AuthorizationFailed", s.Principal("nobody"), http.MethodGet, armtest.Subscription+"/resources", "")
}

func TestSDKProviders(t *testing.T) {
	covers.C(t, sdk, "R-151")
	s, _ := start(t)
	client, err := armresources.NewProvidersClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Get(t.Context(), "microsoft.storage", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Namespace != "Microsoft.Storage" || *got.RegistrationState != "Registered" || len(got.ResourceTypes) == 0 || len(got.ResourceTypes[0].APIVersions) == 0 {
		t.Errorf("provider %+v", got.Provider)
	}
	if got, err := client.Register(t.Context(), "Microsoft.MachineLearningServices", nil); err != nil || *got.RegistrationState != "Registered" {
		t.Errorf("register: %v", err)
	}
	n := 0
	for pages := client.NewListPager(nil); pages.More(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Value)
	}
	if n < 5 {
		t.Errorf("%d providers", n)
	}
	s.WantError(http.StatusNotFound, "InvalidResourceNamespace", s.Owner(), http.MethodGet, armtest.Subscription+"/providers/Microsoft.Nothing", "")
	s.Want(http.StatusOK, s.Owner(), http.MethodGet, "/providers/Microsoft.Storage", "")
}

func TestActionsExist(t *testing.T) {
	_, p := start(t)
	armtest.CheckActions(t, p.Types())
}
