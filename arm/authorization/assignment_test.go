package authorization_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/authorization"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

const (
	sdk         = "azure-sdk-for-go"
	readerRole  = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1" // Storage Blob Data Reader
	acrPull     = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
	account     = armtest.Group + "/providers/Microsoft.Storage/storageAccounts/acct"
	assignments = "/providers/Microsoft.Authorization/roleAssignments/"
	definitions = "/providers/Microsoft.Authorization/roleDefinitions/"
)

func roleID(guid string) string { return armtest.Subscription + definitions + guid }

func start(t *testing.T) (*armtest.Server, *authorization.Provider) {
	t.Helper()
	e := armtest.New(t)
	e.Put(&arm.Record{ID: account, Type: "Microsoft.Storage/storageAccounts", Document: arm.Document{"location": "eastus"}})
	p := provider(t, e, e.Index)
	return e.Serve(p.Types(), []arm.Type{{Name: "Microsoft.Storage/storageAccounts"}}), p
}

func provider(t *testing.T, e *armtest.Env, index *rbac.Index) *authorization.Provider {
	t.Helper()
	p, err := authorization.New(authorization.Deps{Documents: e.Documents, Clock: e.Clock, Directory: e.Directory, Index: index,
		TenantID: armtest.Tenant, Tracked: []string{"Microsoft.Storage/storageAccounts"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func body(role, principal, principalType string) string {
	s := `{"properties":{"roleDefinitionId":"` + roleID(role) + `","principalId":"` + principal + `"`
	if principalType != "" {
		s += `,"principalType":"` + principalType + `"`
	}
	return s + `}}`
}

func canRead(s *armtest.Server, p azure.Principal, scope string) bool {
	return s.Index.Decide(context.Background(), p, azure.Check{
		Action: "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", Data: true, Scope: scope}).Allowed
}

func TestSDKAssignsFindsListsAndDeletes(t *testing.T) {
	covers.C(t, sdk, "R-121", "R-122", "R-133", "R-134", "R-161", "R-175", "R-176", "R-914")
	s, _ := start(t)
	owner, app := s.Owner(), s.Principal("app")
	factory, err := armauthorization.NewClientFactory(azure.SeedSubscriptionID, s.Credential(owner), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	client, ctx := factory.NewRoleAssignmentsClient(), t.Context()
	if canRead(s, app, account) {
		t.Fatal("the principal reads before it has a role")
	}
	create := func(scope, role string, kind *armauthorization.PrincipalType) armauthorization.RoleAssignment {
		t.Helper()
		made, err := client.Create(ctx, scope, armtest.GUID(scope+role), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{
				RoleDefinitionID: to.Ptr(roleID(role)), PrincipalID: &app.ObjectID, PrincipalType: kind}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return made.RoleAssignment
	}
	// The system-assigned notebook leaves the principal type to the server.
	made := create(account, readerRole, nil)
	if got := *made.Properties.PrincipalType; got != armauthorization.PrincipalTypeServicePrincipal {
		t.Errorf("principal type %q was filled in", got)
	}
	if *made.Properties.Scope != account || *made.Properties.RoleDefinitionID != roleID(readerRole) || *made.Properties.PrincipalID != app.ObjectID {
		t.Errorf("created %+v", *made.Properties)
	}
	if !canRead(s, app, account) {
		t.Error("the role does not count right after its creation")
	}
	other := create(armtest.Group, readerRole, to.Ptr(armauthorization.PrincipalTypeServicePrincipal))
	create(armtest.Group, acrPull, to.Ptr(armauthorization.PrincipalTypeServicePrincipal))
	if *other.ID == *made.ID {
		t.Error("two scopes share one id")
	}
	var listed []string
	pages := client.NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{
		// This client leaves the encoding of filters to its caller.
		Filter: to.Ptr(strings.ReplaceAll("principalId eq '"+app.ObjectID+"'", " ", "%20"))})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Value {
			listed = append(listed, *a.ID)
		}
	}
	if len(listed) != 3 {
		t.Errorf("listed %d assignments, want 3: %v", len(listed), listed)
	}
	got, err := client.GetByID(ctx, *made.ID, nil)
	if err != nil || *got.Name != *made.Name {
		t.Errorf("get by id: %v", err)
	}
	if _, err := client.Delete(ctx, account, *made.Name, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteByID(ctx, *other.ID, nil); err != nil {
		t.Fatal(err)
	}
	if canRead(s, app, account) {
		t.Error("a deleted assignment still counts")
	}
	_, err = client.Get(ctx, account, *made.Name, nil)
	var failure *azcore.ResponseError
	if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.ErrorCode != "RoleAssignmentNotFound" {
		t.Errorf("a deleted assignment answers %v", err)
	}
	s.Want(http.StatusNoContent, owner, http.MethodDelete, *made.ID, "")
}

func TestCreateRefusals(t *testing.T) {
	s, _ := start(t)
	owner, app := s.Owner(), s.Principal("app")
	contributor := s.Grant(s.Principal("contributor"), "Contributor", armtest.Subscription)
	scientist := s.Grant(s.Principal("scientist"), "AzureML Data Scientist", armtest.Group)
	guid, stranger := armtest.GUID("one"), armtest.GUID("stranger")
	s.Want(http.StatusCreated, owner, http.MethodPut, account+assignments+guid, body(readerRole, app.ObjectID, ""))
	for name, tt := range map[string]struct {
		as         azure.Principal
		scope      string
		guid, body string
		status     int
		code, says string
		proves     string
	}{
		"same role again": {owner, account, armtest.GUID("two"), body(readerRole, app.ObjectID, ""), 409, "RoleAssignmentExists",
			strings.ReplaceAll(guid, "-", ""), "R-1042"},
		"same name for another role": {owner, account, guid, body(acrPull, app.ObjectID, ""), 400, "RoleAssignmentUpdateNotPermitted", "not allowed to be updated", ""},
		"name is no GUID":            {owner, account, "mine", body(acrPull, app.ObjectID, ""), 400, "InvalidRoleAssignmentId", "'mine'", ""},
		"principal is no GUID":       {owner, account, armtest.GUID("3"), body(acrPull, "me", ""), 400, "InvalidPrincipalId", "'me'", ""},
		"role does not exist":        {owner, account, armtest.GUID("3"), body(stranger, app.ObjectID, ""), 404, "RoleDefinitionDoesNotExist", stranger, ""},
		"principal unknown": {owner, account, armtest.GUID("3"), body(acrPull, stranger, ""), 400, "PrincipalNotFound",
			"Principal " + strings.ReplaceAll(stranger, "-", "") + " does not exist in the directory " + armtest.Tenant, "R-1043"},
		"principal of another type": {owner, account, armtest.GUID("3"), body(acrPull, app.ObjectID, "User"), 400, "UnmatchedPrincipalType", "'ServicePrincipal'", ""},
		"no such principal type":    {owner, account, armtest.GUID("3"), body(acrPull, app.ObjectID, "Robot"), 400, "InvalidPrincipalType", "'Robot'", ""},
		"no principal":              {owner, account, armtest.GUID("3"), `{"properties":{"roleDefinitionId":"` + roleID(acrPull) + `"}}`, 400, "InvalidCreateRoleAssignmentRequest", "principalId", ""},
		"not JSON":                  {owner, account, armtest.GUID("3"), "{\n  'properties' 1}", 400, "InvalidRequestContent", "Line 2, position 16", ""},
		"account does not exist":    {owner, account + "2", armtest.GUID("3"), body(acrPull, app.ObjectID, ""), 404, "ResourceNotFound", "acct2", ""},
		"group does not exist":      {owner, armtest.Group + "2", armtest.GUID("3"), body(acrPull, app.ObjectID, ""), 404, "ResourceGroupNotFound", "amlocal-rg2", ""},
		"Contributor assigns":       {contributor, account, armtest.GUID("3"), body(acrPull, app.ObjectID, ""), 403, "AuthorizationFailed", "'Microsoft.Authorization/roleAssignments/write' over scope '" + account + assignments + armtest.GUID("3") + "'", "R-1041"},
		"Data Scientist assigns":    {scientist, account, armtest.GUID("3"), body(acrPull, app.ObjectID, ""), 403, "AuthorizationFailed", "with object id '" + scientist.ObjectID + "'", "R-1041"},
		"condition on attributes": {owner, account, armtest.GUID("3"), strings.Replace(body(acrPull, app.ObjectID, ""), `}}`,
			`,"condition":"@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:Team] StringEquals 'a'","conditionVersion":"2.0"}}`, 1), 400, "InvalidCondition", "attributes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.proves != "" {
				covers.R(t, tt.proves)
			}
			before := len(s.Index.Assignments(rbac.Filter{}))
			a := s.Do(tt.as, http.MethodPut, tt.scope+assignments+tt.guid, tt.body)
			if a.Status != tt.status || a.Code() != tt.code || !strings.Contains(a.Message(), tt.says) {
				t.Errorf("status %d, body %s", a.Status, a.Raw)
			}
			if after := len(s.Index.Assignments(rbac.Filter{})); after != before {
				t.Errorf("%d assignments became %d", before, after)
			}
		})
	}
}

func TestUnknownPrincipalWithTypeIsTaken(t *testing.T) {
	covers.R(t, "R-1043")
	s, _ := start(t)
	a := s.Want(http.StatusCreated, s.Owner(), http.MethodPut, account+assignments+armtest.GUID("x"),
		body(readerRole, armtest.GUID("not replicated"), "ServicePrincipal"))
	if a.Body.String("properties", "principalType") != "ServicePrincipal" {
		t.Error(a.Raw)
	}
}

func TestRepeatedPutIsIdempotent(t *testing.T) {
	s, _ := start(t)
	owner, app := s.Owner(), s.Principal("app")
	path := account + assignments + armtest.GUID("x")
	first := s.Want(http.StatusCreated, owner, http.MethodPut, path, body(readerRole, app.ObjectID, ""))
	again := s.Want(http.StatusCreated, owner, http.MethodPut, strings.ToUpper(path), body(readerRole, app.ObjectID, ""))
	if first.Body.String("id") != again.Body.String("id") {
		t.Errorf("%s became %s", first.Body.String("id"), again.Body.String("id"))
	}
	if v, ok := first.Body.Get("properties", "condition"); !ok || v != nil {
		t.Error("condition is not null")
	}
}

func TestConditionOverActionsIsEvaluated(t *testing.T) {
	s, _ := start(t)
	app := s.Principal("app")
	b := strings.Replace(body(readerRole, app.ObjectID, ""), `}}`,
		`,"condition":"!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'})"}}`, 1)
	a := s.Want(http.StatusCreated, s.Owner(), http.MethodPut, account+assignments+armtest.GUID("x"), b)
	if a.Body.String("properties", "conditionVersion") != "2.0" {
		t.Error(a.Raw)
	}
	if canRead(s, app, account) {
		t.Error("the condition does not count")
	}
}

func TestListFilters(t *testing.T) {
	covers.R(t, "R-135", "R-913", "R-914")
	s, _ := start(t)
	owner := s.Owner()
	app, group := s.Principal("app"), s.Principal("team")
	s.Index.SetMembers(group.ObjectID, []string{app.ObjectID})
	names := map[string]string{}
	for name, where := range map[string]struct {
		scope string
		who   azure.Principal
	}{
		"sub": {armtest.Subscription, app}, "rg": {armtest.Group, app}, "acct": {account, app},
		"team": {armtest.Group, group}, "other": {armtest.OtherGroup, app},
	} {
		guid := armtest.GUID(name)
		names[guid] = name
		s.Want(http.StatusCreated, owner, http.MethodPut, where.scope+assignments+guid, body(readerRole, where.who.ObjectID, "ServicePrincipal"))
	}
	for _, tt := range []struct{ scope, filter, want string }{
		{armtest.Group, "", "acct rg sub team"},
		{armtest.Group, "atScope()", "rg sub team"},
		{armtest.Group, "principalId eq '" + app.ObjectID + "'", "acct rg sub"},
		{armtest.Group, "assignedTo('" + app.ObjectID + "')", "acct rg sub team"},
		{armtest.Group, "atScope() and assignedTo('" + app.ObjectID + "')", "rg sub team"},
		{armtest.Group, "atScope() and principalId eq '" + group.ObjectID + "'", "team"},
		{account, "atScope()", "acct rg sub team"},
		{armtest.Subscription, "", "acct other rg sub team"},
		{"", "principalId eq '" + group.ObjectID + "'", "team"},
	} {
		path := tt.scope + strings.TrimRight(assignments, "/")
		if tt.filter != "" {
			path += "?$filter=" + tt.filter
		}
		reader := owner
		if tt.scope == "" {
			reader = s.Grant(s.Principal("root"), "Reader", "/")
		}
		var got []string
		for _, v := range s.Want(http.StatusOK, reader, http.MethodGet, path, "").Values() {
			if name := names[v.String("name")]; name != "" {
				got = append(got, name)
			}
		}
		for _, name := range strings.Fields(tt.want) {
			if !contains(got, name) {
				t.Errorf("%s %q: %v, want %s", tt.scope, tt.filter, got, tt.want)
				break
			}
		}
		if len(got) != len(strings.Fields(tt.want)) {
			t.Errorf("%s %q: %v, want %s", tt.scope, tt.filter, got, tt.want)
		}
	}
	s.WantError(http.StatusBadRequest, "InvalidFilterInQueryString", owner, http.MethodGet, armtest.Group+strings.TrimRight(assignments, "/")+"?$filter=createdBy eq 'x'", "")
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func TestScopeSpelling(t *testing.T) {
	s, _ := start(t)
	owner, app := s.Owner(), s.Principal("app")
	// azure-mgmt-authorization sends scopes with a slash at the end.
	path := "/subscriptions/" + azure.SeedSubscriptionID + "/resourcegroups/" + azure.SeedResourceGroup +
		"/providers/microsoft.storage/STORAGEACCOUNTS/acct/" + assignments + armtest.GUID("x")
	a := s.Want(http.StatusCreated, owner, http.MethodPut, path, body(readerRole, app.ObjectID, ""))
	if got := a.Body.String("properties", "scope"); got != account {
		t.Errorf("scope %s, want %s", got, account)
	}
	if got := a.Body.String("id"); got != account+assignments+armtest.GUID("x") {
		t.Errorf("id %s", got)
	}
	if !canRead(s, app, account) || canRead(s, app, account+"2") {
		t.Error("the assignment does not count at its scope alone")
	}
}

func TestAssignForTheEmulator(t *testing.T) {
	covers.R(t, "R-210")
	s, p := start(t)
	app := s.Principal("app")
	var first, second string
	s.Update(func(tx store.Tx) (err error) {
		if first, err = p.Assign(tx, app, readerRole, account, "amlocal"); err != nil {
			return err
		}
		second, err = p.Assign(tx, app, readerRole, account, "amlocal")
		return err
	})
	if first == "" || first != second {
		t.Errorf("ids %q and %q", first, second)
	}
	if !canRead(s, app, account) {
		t.Error("the assignment does not count")
	}
	s.Want(http.StatusOK, s.Owner(), http.MethodGet, first, "")
	if err := s.Documents.Update(t.Context(), func(tx store.Tx) error {
		_, err := p.Assign(tx, app, armtest.GUID("no role"), account, "amlocal")
		return err
	}); err == nil {
		t.Error("a role that does not exist was assigned")
	}
}

func TestRemoveForPrincipalAndUnder(t *testing.T) {
	s, p := start(t)
	one, two := s.Principal("one"), s.Principal("two")
	assign := func() {
		s.Update(func(tx store.Tx) error {
			for _, who := range []azure.Principal{one, two} {
				for _, scope := range []string{armtest.Group, account} {
					if _, err := p.Assign(tx, who, readerRole, scope, ""); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	assign()
	s.Update(func(tx store.Tx) error { return p.RemoveForPrincipal(tx, one.ObjectID) })
	if canRead(s, one, account) || !canRead(s, two, account) {
		t.Error("not the one principal's assignments were removed")
	}
	assign()
	s.Update(func(tx store.Tx) error { return p.RemoveUnder(tx, account) })
	if got := len(s.Index.Assignments(rbac.Filter{Scope: account, Reach: rbac.AtScope})); got != 0 {
		t.Errorf("%d assignments stayed at the account", got)
	}
	if !canRead(s, one, account) {
		t.Error("the group's assignment went too")
	}
	assign() // what was removed can be made again
	if got := len(s.Index.Assignments(rbac.Filter{Scope: account, Reach: rbac.AtScope})); got != 2 {
		t.Errorf("%d assignments at the account, want 2", got)
	}
}

func TestRestartKeepsRolesAndAssignments(t *testing.T) {
	s, p := start(t)
	app := s.Principal("app")
	s.Want(http.StatusCreated, s.Owner(), http.MethodPut, armtest.Subscription+definitions+armtest.GUID("role"), customRole("Mine", armtest.Group))
	s.Update(func(tx store.Tx) error {
		_, err := p.Assign(tx, app, armtest.GUID("role"), armtest.Group, "")
		return err
	})
	fresh := rbac.New(rbac.BuiltIn())
	provider(t, s.Env, fresh)
	d := fresh.Decide(t.Context(), app, azure.Check{Action: endpoints + "/write", Scope: armtest.Group})
	if !d.Allowed {
		t.Error("the assignment of a custom role is lost")
	}
}
