package managedidentity_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/managedidentity"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

const (
	sdk   = "azure-sdk-for-go"
	under = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
)

// swept remembers the scopes whose assignments were to be removed.
type swept struct{ scopes []string }

func (s *swept) RemoveUnder(_ store.Tx, scope string) error {
	s.scopes = append(s.scopes, scope)
	return nil
}

func start(t *testing.T) (*armtest.Server, *managedidentity.Provider, *swept) {
	t.Helper()
	e, s := armtest.New(t), &swept{}
	p, err := managedidentity.New(managedidentity.Deps{Documents: e.Documents, Clock: e.Clock, Directory: e.Directory, Assignments: s, TenantID: armtest.Tenant})
	if err != nil {
		t.Fatal(err)
	}
	return e.Serve(p.Types()), p, s
}

func lookup(t *testing.T, s *armtest.Server, objectID string) (p azure.Principal, ok bool) {
	t.Helper()
	if err := s.Documents.View(context.Background(), func(tx store.ReadTx) error {
		p, ok = s.Directory.Principal(tx, objectID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return p, ok
}

func TestSDKLifecycle(t *testing.T) {
	covers.C(t, sdk, "R-131", "R-132", "R-172", "R-174", "R-178")
	s, p, removed := start(t)
	client, err := armmsi.NewUserAssignedIdentitiesClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	made, err := client.CreateOrUpdate(ctx, azure.SeedResourceGroup, "my-uai", armmsi.Identity{Location: to.Ptr("East US"), Tags: map[string]*string{"a": to.Ptr("b")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := armtest.Group + under + "/my-uai"
	if *made.ID != id || *made.Type != "Microsoft.ManagedIdentity/userAssignedIdentities" || *made.Location != "eastus" || *made.Properties.TenantID != armtest.Tenant {
		t.Errorf("made %s %s %s", *made.ID, *made.Type, *made.Location)
	}
	who, ok := lookup(t, s, *made.Properties.PrincipalID)
	want := azure.Principal{ObjectID: *made.Properties.PrincipalID, AppID: *made.Properties.ClientID, TenantID: armtest.Tenant,
		Type: azure.ServicePrincipal, Name: "my-uai", ResourceID: id}
	if !ok || who != want {
		t.Errorf("in the directory: %+v, want %+v", who, want)
	}
	if err := s.Documents.View(ctx, func(tx store.ReadTx) error {
		if got, ok := p.Identity(tx, strings.ToUpper(id)); !ok || got != want {
			t.Errorf("identity %+v", got)
		}
		if _, ok := p.Identity(tx, armtest.Group); ok {
			t.Error("a group passed for an identity")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again, err := client.CreateOrUpdate(ctx, azure.SeedResourceGroup, "my-uai", armmsi.Identity{Location: to.Ptr("eastus")}, nil)
	if err != nil || *again.Properties.PrincipalID != *made.Properties.PrincipalID {
		t.Errorf("a second PUT gave another principal (%v)", err)
	}
	patched, err := client.Update(ctx, azure.SeedResourceGroup, "my-uai", armmsi.IdentityUpdate{Tags: map[string]*string{"c": to.Ptr("d")}}, nil)
	if err != nil || *patched.Tags["c"] != "d" {
		t.Errorf("patch: %v", err)
	}
	got, err := client.Get(ctx, azure.SeedResourceGroup, "my-uai", nil)
	if err != nil || *got.Properties.ClientID != *made.Properties.ClientID {
		t.Errorf("get: %v", err)
	}
	n := 0
	for pages := client.NewListBySubscriptionPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Value)
	}
	for pages := client.NewListByResourceGroupPager("other-rg", nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += 100 * len(page.Value)
	}
	if n != 1 {
		t.Errorf("lists: %d", n)
	}
	if _, err := client.Delete(ctx, azure.SeedResourceGroup, "my-uai", nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := lookup(t, s, want.ObjectID); ok {
		t.Error("the principal outlived its identity")
	}
	if len(removed.scopes) != 1 || removed.scopes[0] != id {
		t.Errorf("assignments removed at %v", removed.scopes)
	}
	_, err = client.Get(ctx, azure.SeedResourceGroup, "my-uai", nil)
	var failure *azcore.ResponseError
	if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.ErrorCode != "ResourceNotFound" {
		t.Errorf("a deleted identity answers %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s, _, _ := start(t)
	owner := s.Owner()
	reader := s.Grant(s.Principal("reader"), "Reader", armtest.Subscription)
	path := armtest.Group + under + "/my-uai"
	s.Want(http.StatusCreated, owner, http.MethodPut, path, `{"location":"eastus","properties":{"isolationScope":"Regional","principalId":"mine"}}`)
	for name, tt := range map[string]struct {
		as           azure.Principal
		method, path string
		body         string
		status       int
		code         string
	}{
		"reader creates":          {reader, http.MethodPut, path + "2", `{"location":"eastus"}`, 403, "AuthorizationFailed"},
		"reader deletes":          {reader, http.MethodDelete, path, "", 403, "AuthorizationFailed"},
		"other location":          {owner, http.MethodPut, path, `{"location":"westus"}`, 409, "InvalidResourceLocation"},
		"no location":             {owner, http.MethodPut, path + "2", `{}`, 400, "LocationRequired"},
		"bad name":                {owner, http.MethodPut, armtest.Group + under + "/-x", `{"location":"eastus"}`, 400, "InvalidResourceName"},
		"patch of none":           {owner, http.MethodPatch, path + "2", `{}`, 404, "ResourceNotFound"},
		"no such group":           {owner, http.MethodPut, armtest.Group + "2" + under + "/uai", `{"location":"eastus"}`, 404, "ResourceGroupNotFound"},
		"empty body":              {owner, http.MethodPut, path + "2", "", 400, "InvalidRequestContent"},
		"method not in the table": {owner, http.MethodPost, path, "", 405, "MethodNotAllowed"},
	} {
		t.Run(name, func(t *testing.T) { s.T = t; s.WantError(tt.status, tt.code, tt.as, tt.method, tt.path, tt.body) })
	}
	s.T = t
	got := s.Want(http.StatusOK, reader, http.MethodGet, path, "")
	if got.Body.String("properties", "isolationScope") != "Regional" {
		t.Error("an unknown property is lost")
	}
	if got.Body.String("properties", "principalId") == "mine" {
		t.Error("the client chose its own principal id")
	}
	s.Want(http.StatusNoContent, owner, http.MethodDelete, path+"2", "")
}

func TestListsShowWhatOneMayRead(t *testing.T) {
	covers.R(t, "R-132")
	s, _, _ := start(t)
	owner := s.Owner()
	for _, id := range []string{armtest.Group + under + "/one", armtest.OtherGroup + under + "/two"} {
		s.Want(http.StatusCreated, owner, http.MethodPut, id, `{"location":"eastus"}`)
	}
	local := s.Grant(s.Principal("local"), "Contributor", armtest.OtherGroup)
	nobody := s.Principal("nobody")
	if got := s.Want(http.StatusOK, local, http.MethodGet, armtest.Subscription+under, "").Values(); len(got) != 1 || got[0].String("name") != "two" {
		t.Errorf("the local contributor sees %v", got)
	}
	if _, denied := s.Audit.LastDenial(); denied {
		t.Error("a filtered list left a denial in the audit log")
	}
	s.Want(http.StatusOK, owner, http.MethodDelete, armtest.OtherGroup+under+"/two", "")
	if got := s.Want(http.StatusOK, local, http.MethodGet, armtest.Subscription+under, "").Values(); len(got) != 0 {
		t.Errorf("the local contributor sees %v", got)
	}
	s.WantError(http.StatusForbidden, "AuthorizationFailed", nobody, http.MethodGet, armtest.Subscription+under, "")
	s.WantError(http.StatusForbidden, "AuthorizationFailed", local, http.MethodGet, armtest.Group+under, "")
}

func TestRemoveUnder(t *testing.T) {
	s, p, _ := start(t)
	made := s.Want(http.StatusCreated, s.Owner(), http.MethodPut, armtest.Group+under+"/one", `{"location":"eastus"}`)
	s.Update(func(tx store.Tx) error { return p.RemoveUnder(tx, armtest.Group) })
	if s.Exists(armtest.Group + under + "/one") {
		t.Error("the identity outlived its group")
	}
	if _, ok := lookup(t, s, made.Body.String("properties", "principalId")); ok {
		t.Error("the principal outlived its group")
	}
}

func TestActionsExist(t *testing.T) {
	_, p, _ := start(t)
	armtest.CheckActions(t, p.Types())
}
