package amlocal

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// oe begins the actions of online endpoints.
const oe = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/"

// customRole makes a role with these actions, assignable in the resource
// group, and gives it to a principal.
func (l *lab) customRole(t *testing.T, principal, name, scope string, actions []string, notActions ...string) {
	t.Helper()
	roles := must(armauthorization.NewRoleDefinitionsClient(l.owner.cred, l.options()))(t)
	made, err := roles.CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
		RoleName: to.Ptr(name), RoleType: to.Ptr("CustomRole"), AssignableScopes: []*string{to.Ptr(seedGroup)},
		Permissions: []*armauthorization.Permission{{Actions: to.SliceOfPtrs(actions...), NotActions: to.SliceOfPtrs(notActions...)}},
	}}, nil)
	if err != nil {
		t.Fatalf("role %s: %v", name, err)
	}
	_, err = l.owner.assignments(t).Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &principal, RoleDefinitionID: made.ID, PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal)}}, nil)
	if err != nil {
		t.Fatalf("assign %s: %v", name, err)
	}
}

// deed is one thing a caller may or may not do to the endpoint target.
type deed struct {
	name   string
	action string
	do     func(t *testing.T, s *session) error
}

// deeds are all calls of the concept page's table. Run in this order by
// someone who may do everything, each one succeeds.
func (l *lab) deeds(t *testing.T) []deed {
	t.Helper()
	body := l.owner.instance(t)
	return []deed{
		{"create endpoint", oe[:len(oe)-1] + "/write", func(t *testing.T, s *session) error {
			_, err := s.tryEndpoint(t.Context(), t, "fresh-"+s.app[:8], wish(nil))
			return err
		}},
		{"update endpoint", oe[:len(oe)-1] + "/write", func(t *testing.T, s *session) error {
			poller, err := s.endpoints(t).BeginUpdate(t.Context(), groupName, wsName, "target", armmachinelearning.PartialMinimalTrackedResourceWithIdentity{Tags: map[string]*string{"by": to.Ptr(s.app)}}, nil)
			_, err = finish(t.Context(), poller, err)
			return err
		}},
		{"show endpoint", oe[:len(oe)-1] + "/read", func(t *testing.T, s *session) error {
			_, err := s.endpoints(t).Get(t.Context(), groupName, wsName, "target", nil)
			return err
		}},
		{"list endpoints", oe[:len(oe)-1] + "/read", func(t *testing.T, s *session) error {
			_, err := s.endpoints(t).NewListPager(groupName, wsName, nil).NextPage(t.Context())
			return err
		}},
		{"create deployment", oe + "deployments/write", func(t *testing.T, s *session) error {
			return s.tryDeploy(t, "target", "made", body)
		}},
		{"show deployment", oe + "deployments/read", func(t *testing.T, s *session) error {
			_, err := s.deployments(t).Get(t.Context(), groupName, wsName, "target", "blue", nil)
			return err
		}},
		{"delete deployment", oe + "deployments/delete", func(t *testing.T, s *session) error {
			return s.deleteDeployment(t, "target", "made")
		}},
		{"list keys", oe[:len(oe)-1] + "/listKeys/action", func(t *testing.T, s *session) error {
			_, err := s.endpoints(t).ListKeys(t.Context(), groupName, wsName, "target", nil)
			return err
		}},
		{"get token", oe[:len(oe)-1] + "/token/action", func(t *testing.T, s *session) error {
			_, err := s.endpoints(t).GetToken(t.Context(), groupName, wsName, "target", nil)
			var re *azcore.ResponseError
			if errors.As(err, &re) && re.StatusCode == http.StatusBadRequest {
				return nil // authorized; the endpoint has keys, no tokens
			}
			return err
		}},
		{"regenerate keys", oe[:len(oe)-1] + "/regenerateKeys/action", func(t *testing.T, s *session) error {
			poller, err := s.endpoints(t).BeginRegenerateKeys(t.Context(), groupName, wsName, "target", armmachinelearning.RegenerateEndpointKeysRequest{KeyType: to.Ptr(armmachinelearning.KeyTypePrimary)}, nil)
			_, err = finish(t.Context(), poller, err)
			return err
		}},
		{"delete endpoint", oe[:len(oe)-1] + "/delete", func(t *testing.T, s *session) error {
			return s.deleteEndpoint(t, "doomed")
		}},
	}
}

// TestCallersRights runs every deed as callers with different roles.
func TestCallersRights(t *testing.T) {
	covers.C(t, sdk, "R-302", "R-303", "R-305", "R-306", "R-307", "R-308", "R-310", "R-314", "R-901", "R-909", "R-911", "R-913", "R-915", "R-916", "R-1025", "R-1027")
	l := newLab(t, nil)
	l.owner.endpoint(t, "target", wish(nil))
	l.owner.deploy(t, "target", "blue", l.owner.instance(t))
	deeds := l.deeds(t)
	all := make([]string, len(deeds))
	for i, d := range deeds {
		all[i] = d.name
	}
	documented := []string{oe[:len(oe)-1] + "/write", oe[:len(oe)-1] + "/delete", oe[:len(oe)-1] + "/read", oe[:len(oe)-1] + "/token/action", oe[:len(oe)-1] + "/listkeys/action", oe[:len(oe)-1] + "/regeneratekeys/action"}
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(n string) bool { return slices.Contains(names, n) })
	}
	minus := func(suffix string) []string {
		return slices.DeleteFunc(slices.Clone(documented), func(a string) bool { return a == oe[:len(oe)-1]+suffix })
	}
	for _, tt := range []struct {
		name    string
		give    func(t *testing.T, s *session)
		allowed []string
	}{
		{"nobody", func(*testing.T, *session) {}, nil},
		{"Owner of the group", func(t *testing.T, s *session) { l.owner.grant(t, s.oid, "Owner", seedGroup) }, all},
		{"Contributor on the workspace", func(t *testing.T, s *session) { l.owner.grant(t, s.oid, "Contributor", seedWorkspace) }, all},
		{"AzureML Data Scientist on the workspace", func(t *testing.T, s *session) { l.owner.grant(t, s.oid, "AzureML Data Scientist", seedWorkspace) }, all},
		{"Reader on the workspace", func(t *testing.T, s *session) { l.owner.grant(t, s.oid, "Reader", seedWorkspace) },
			[]string{"show endpoint", "list endpoints", "show deployment"}},
		{"Owner of a storage account", func(t *testing.T, s *session) { l.owner.grant(t, s.oid, "Owner", accountID(accountOne)) }, nil},
		{"the documented custom role", func(t *testing.T, s *session) { l.customRole(t, s.oid, "documented", seedWorkspace, documented) }, all},
		{"without read", func(t *testing.T, s *session) { l.customRole(t, s.oid, "no read", seedWorkspace, minus("/read")) },
			without("show endpoint", "list endpoints", "show deployment", "create endpoint", "update endpoint", "create deployment")},
		{"without write", func(t *testing.T, s *session) { l.customRole(t, s.oid, "no write", seedWorkspace, minus("/write")) },
			without("create endpoint", "update endpoint", "create deployment")},
		{"without delete", func(t *testing.T, s *session) { l.customRole(t, s.oid, "no delete", seedWorkspace, minus("/delete")) },
			without("delete deployment", "delete endpoint")},
		{"without listKeys", func(t *testing.T, s *session) {
			l.customRole(t, s.oid, "no listKeys", seedWorkspace, minus("/listkeys/action"))
		}, without("list keys")},
		{"without token", func(t *testing.T, s *session) {
			l.customRole(t, s.oid, "no token", seedWorkspace, minus("/token/action"))
		}, without("get token")},
		{"without regenerateKeys", func(t *testing.T, s *session) {
			l.customRole(t, s.oid, "no regenerateKeys", seedWorkspace, minus("/regeneratekeys/action"))
		}, without("regenerate keys")},
		{"everything but keys", func(t *testing.T, s *session) {
			l.customRole(t, s.oid, "not keys", seedWorkspace, []string{"Microsoft.MachineLearningServices/*"}, oe[:len(oe)-1]+"/LISTKEYS/action")
		}, without("list keys")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := l.principal(tt.name)
			tt.give(t, s)
			l.owner.endpoint(t, "doomed", wish(nil))
			if slices.Contains(tt.allowed, "delete deployment") && !slices.Contains(tt.allowed, "create deployment") {
				l.owner.deploy(t, "target", "made", l.owner.instance(t))
			}
			for _, d := range deeds {
				before := l.state(t)
				err := d.do(t, s)
				if slices.Contains(tt.allowed, d.name) {
					if err != nil {
						t.Errorf("%s: %v", d.name, err)
					}
					continue
				}
				wantError(t, err, 403, "AuthorizationFailed", s.app, s.oid, "does not have authorization to perform action", seedWorkspace)
				if tt.name != "without read" { // there the client fails while it waits
					wantError(t, err, 403, "AuthorizationFailed", "'"+d.action+"'")
					if after := l.state(t); after != before {
						t.Errorf("%s was refused and changed something:\n%s\nbefore:\n%s", d.name, after, before)
					}
				}
			}
			for _, name := range []string{"doomed", "fresh-" + s.app[:8]} {
				if err := l.owner.deleteEndpoint(t, name); err != nil {
					t.Fatal(err)
				}
			}
			if l.owner.stateOf(t, "target", "made") != "" {
				if err := l.owner.deleteDeployment(t, "target", "made"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// state is everything a refused call might have changed.
func (l *lab) state(t *testing.T) string {
	t.Helper()
	owner := l.owner.token(t, forManagement)
	out := l.armRaw(t, http.MethodGet, seedWorkspace+"/onlineEndpoints", owner, "").body
	out += l.armRaw(t, http.MethodGet, endpointID("target")+"/deployments", owner, "").body
	out += l.armRaw(t, http.MethodPost, endpointID("target")+"/listKeys", owner, "").body
	return out + l.armRaw(t, http.MethodGet, seedGroup+"/providers/Microsoft.Authorization/roleAssignments", owner, "").body
}

func TestRightsOnOneEndpoint(t *testing.T) {
	covers.C(t, sdk, "R-311", "R-312", "R-313", "R-1026")
	l := newLab(t, nil)
	l.owner.endpoint(t, "mine", wish(nil))
	l.owner.endpoint(t, "mine2", wish(nil))
	s := l.principal("keeper")
	l.owner.grant(t, s.oid, "AzureML Data Scientist", "/subscriptions/"+azure.SeedSubscriptionID+"/resourcegroups/"+azure.SeedResourceGroup+"/providers/microsoft.machinelearningservices/workspaces/"+wsName+"/onlineEndpoints/mine")
	if _, err := s.endpoints(t).Get(t.Context(), groupName, wsName, "mine", nil); err != nil {
		t.Error(err)
	}
	if _, err := s.endpoints(t).ListKeys(t.Context(), groupName, wsName, "MINE", nil); err != nil {
		t.Error(err)
	}
	_, err := s.endpoints(t).Get(t.Context(), groupName, wsName, "mine2", nil)
	wantError(t, err, 403, "AuthorizationFailed", s.oid, "onlineEndpoints/read", endpointID("mine2"))
	_, err = s.endpoints(t).ListKeys(t.Context(), groupName, wsName, "mine2", nil)
	wantError(t, err, 403, "AuthorizationFailed", s.oid, "onlineEndpoints/listKeys/action", endpointID("mine2"))
	wantError(t, s.deleteEndpoint(t, "mine2"), 403, "AuthorizationFailed", "onlineEndpoints/delete")
	// What does not exist is refused the same way: no oracle.
	_, err = s.endpoints(t).Get(t.Context(), groupName, wsName, "nothing", nil)
	wantError(t, err, 403, "AuthorizationFailed", endpointID("nothing"))
}

func TestWhoMayAssign(t *testing.T) {
	covers.C(t, sdk, "R-121", "R-134", "R-171", "R-322", "R-915", "R-1041", "R-1042", "R-1047")
	l := newLab(t, nil)
	target := l.principal("target")
	for _, role := range []string{"Contributor", "AzureML Data Scientist", "Reader", "Storage Blob Data Owner"} {
		t.Run(role, func(t *testing.T) {
			s := l.principal(role)
			l.owner.grant(t, s.oid, role, seedGroup)
			_, err := s.tryGrant(t, target.oid, "Storage Blob Data Reader", accountID(accountOne))
			wantError(t, err, 403, "AuthorizationFailed", s.app, s.oid, "'Microsoft.Authorization/roleAssignments/write'", accountID(accountOne))
			if got := l.owner.rolesOf(t, target.oid); len(got) != 0 {
				t.Errorf("assigned all the same: %v", got)
			}
			_, err = must(armauthorization.NewRoleDefinitionsClient(s.cred, l.options()))(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(),
				armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{RoleName: to.Ptr("mine"), AssignableScopes: []*string{to.Ptr(seedGroup)},
					Permissions: []*armauthorization.Permission{{Actions: to.SliceOfPtrs("*")}}}}, nil)
			wantError(t, err, 403, "AuthorizationFailed", "'Microsoft.Authorization/roleDefinitions/write'")
		})
	}
	t.Run("User Access Administrator", func(t *testing.T) {
		s := l.principal("admin")
		l.owner.grant(t, s.oid, "User Access Administrator", accountID(accountOne))
		s.grant(t, target.oid, "Storage Blob Data Reader", accountID(accountOne))
		_, err := s.tryGrant(t, target.oid, "Storage Blob Data Reader", accountID(accountOne))
		wantError(t, err, 409, "RoleAssignmentExists")
		_, err = s.tryGrant(t, target.oid, "Storage Blob Data Reader", accountID(accountTwo))
		wantError(t, err, 403, "AuthorizationFailed", accountID(accountTwo))
		l.owner.grant(t, target.oid, "Storage Blob Data Reader", accountID(accountTwo))
		if _, err := target.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("what does not exist", func(t *testing.T) {
		covers.C(t, sdk, "R-1043")
		create := func(principal, role, scope string, kind *armauthorization.PrincipalType) error {
			_, err := l.owner.assignments(t).Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
				Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &principal, RoleDefinitionID: &role, PrincipalType: kind}}, nil)
			return err
		}
		reader := l.roleID(t, "Storage Blob Data Reader")
		wantError(t, create(uuid.NewString(), reader, accountID(accountOne), nil), 400, "PrincipalNotFound")
		if err := create(uuid.NewString(), reader, accountID(accountOne), to.Ptr(armauthorization.PrincipalTypeServicePrincipal)); err != nil {
			t.Errorf("with a type, replication is not waited for: %v", err)
		}
		nothing := seedSubscription + "/providers/Microsoft.Authorization/roleDefinitions/" + uuid.NewString()
		wantError(t, create(target.oid, nothing, accountID(accountOne), nil), 404, "RoleDefinitionDoesNotExist")
		wantError(t, create(target.oid, reader, seedSubscription+"/resourceGroups/nogroup", nil), 404, "ResourceGroupNotFound")
		if err := create(target.app, reader, accountID(accountOne), nil); err == nil {
			t.Error("the client id passed for the principal id")
		}
	})
	t.Run("custom role outside its scopes", func(t *testing.T) {
		roles := must(armauthorization.NewRoleDefinitionsClient(l.owner.cred, l.options()))(t)
		made, err := roles.CreateOrUpdate(t.Context(), accountID(accountOne), uuid.NewString(), armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
			RoleName: to.Ptr("narrow"), AssignableScopes: []*string{to.Ptr(accountID(accountOne))}, Permissions: []*armauthorization.Permission{{Actions: to.SliceOfPtrs("*/read")}}}}, nil)
		if err != nil {
			t.Fatalf("a role assignable at one account is refused: %v", err)
		}
		_, err = l.owner.assignments(t).Create(t.Context(), accountID(accountTwo), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &target.oid, RoleDefinitionID: made.ID}}, nil)
		var re *azcore.ResponseError
		if !errors.As(err, &re) || re.StatusCode != 400 {
			t.Errorf("assigned outside: %v", err)
		}
	})
}

func TestWhoMayUseAnIdentity(t *testing.T) {
	covers.C(t, sdk, "R-228", "R-1044")
	l := newLab(t, nil)
	uai := l.owner.uai(t, "mine")
	s := l.principal("scientist")
	l.owner.grant(t, s.oid, "AzureML Data Scientist", seedWorkspace)
	n := l.principals(t)
	_, err := s.tryEndpoint(t.Context(), t, "uai", wish(asUser(*uai.ID)))
	wantError(t, err, 403, "LinkedAuthorizationFailed", s.app, s.oid, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", *uai.ID)
	_, err = l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "uai", nil)
	wantError(t, err, 404, "ResourceNotFound")
	if got := l.principals(t); got != n {
		t.Errorf("%d principals, before %d", got, n)
	}
	l.owner.grant(t, s.oid, "Managed Identity Operator", *uai.ID)
	s.endpoint(t, "uai", wish(asUser(*uai.ID)))
}

// TestUserIdentityNeedsItsRoles: a user-assigned identity gets nothing by
// itself; the deployment says what is missing, and no user code runs.
func TestUserIdentityNeedsItsRoles(t *testing.T) {
	covers.C(t, sdk, "R-133", "R-208", "R-209", "R-1031", "R-1032")
	l := newLab(t, nil)
	uai := l.owner.uai(t, "mine")
	principal := *uai.Properties.PrincipalID
	l.owner.endpoint(t, "uai", wish(asUser(*uai.ID)))
	body := l.owner.scorer(t)
	m := body.Properties.(*armmachinelearning.ManagedOnlineDeployment)
	m.EnvironmentVariables["UAI_CLIENT_ID"] = uai.Properties.ClientID
	m.EnvironmentID = to.Ptr(l.owner.image(t, "private", azure.SeedRegistry+".azurecr.io/amlocal/goscorer:1"))
	fail := func(code string, texts ...string) {
		t.Helper()
		err := l.owner.tryDeploy(t, "uai", "blue", body)
		if err == nil {
			t.Fatal("the deployment succeeded")
		}
		wantCode(t, err, code, texts...)
		if got := l.owner.stateOf(t, "uai", "blue"); got != "Failed" {
			t.Errorf("state %q", got)
		}
		if log := l.owner.logs(t, "uai", "blue", armmachinelearning.ContainerTypeInferenceServer); code == "BadArgument" && !strings.Contains(log, "has not written anything yet") {
			t.Errorf("user code ran:\n%s", log)
		}
		if err := l.owner.deleteDeployment(t, "uai", "blue"); err != nil {
			t.Fatal(err)
		}
	}
	fail("BadArgument", "AcrPull", principal, seedRegistry)
	if d, ok := l.e.LastDenial(); !ok || d.Caller.Principal.ObjectID != principal {
		t.Errorf("the last refusal is %+v", d)
	}
	l.owner.grant(t, principal, "AcrPull", seedRegistry)
	fail("BadArgument", "Storage Blob Data Reader", principal)
	l.owner.grant(t, principal, "Storage Blob Data Reader", seedStorage)
	fail("ResourceNotReady", "AuthorizationPermissionMismatch")
	l.owner.grant(t, principal, "Storage Blob Data Reader", accountID(accountOne))
	l.owner.deploy(t, "uai", "blue", body)
	if log := l.owner.said(t, "uai", "blue", "Blob contains: "+helloText); !strings.Contains(log, "Blob contains: "+helloText) {
		t.Errorf("log:\n%s", log)
	}
	if got := l.owner.rolesOf(t, principal); len(got) != 2 { // the same role at two scopes counts once here
		t.Errorf("roles %v", got)
	}
}
