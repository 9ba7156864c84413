package amlocal

import (
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

func (s *session) definitions(t *testing.T) *armauthorization.RoleDefinitionsClient {
	t.Helper()
	return must(armauthorization.NewRoleDefinitionsClient(s.cred, s.lab.options()))(t)
}

// role is the body of a custom role.
func role(name string, scopes []string, permission armauthorization.Permission) armauthorization.RoleDefinition {
	return armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
		RoleName: &name, RoleType: to.Ptr("CustomRole"), AssignableScopes: to.SliceOfPtrs(scopes...), Permissions: []*armauthorization.Permission{&permission}}}
}

func actions(list ...string) armauthorization.Permission {
	return armauthorization.Permission{Actions: to.SliceOfPtrs(list...)}
}

// roleNames lists the custom roles seen at a scope, or the one of a name.
func (s *session) roleNames(t *testing.T, scope, filter string) (names []string) {
	t.Helper()
	pages := s.definitions(t).NewListPager(scope, &armauthorization.RoleDefinitionsClientListOptions{Filter: &filter})
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Value {
			names = append(names, *d.Properties.RoleName)
		}
	}
	slices.Sort(names)
	return names
}

// TestCustomRoleLife makes, assigns, uses, changes and deletes a role.
func TestCustomRoleLife(t *testing.T) {
	covers.C(t, sdk, "R-909", "R-910", "R-913", "R-914", "R-916", "R-1047")
	l := newLab(t, nil)
	l.owner.endpoint(t, "keyed", wish(nil))
	s := l.principal("operator")
	name := uuid.NewString()
	upper := strings.ToUpper(oe[:1]) + oe[1:]
	made, err := l.owner.definitions(t).CreateOrUpdate(t.Context(), seedGroup, name, role("Endpoint caller", []string{seedGroup}, actions(upper+"*/ACTION")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := made.Properties; *p.RoleName != "Endpoint caller" || *p.RoleType != "CustomRole" || len(p.AssignableScopes) != 1 || *p.AssignableScopes[0] != seedGroup {
		t.Errorf("made %+v", p)
	}
	keys := func() error {
		_, err := s.endpoints(t).ListKeys(t.Context(), groupName, wsName, "keyed", nil)
		return err
	}
	wantError(t, keys(), 403, "AuthorizationFailed", "listKeys/action")
	assign := func(scope string) (string, error) {
		a, err := l.owner.assignments(t).Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &s.oid, RoleDefinitionID: made.ID}}, nil)
		if err != nil {
			return "", err
		}
		return *a.ID, nil
	}
	_, err = assign("/subscriptions/" + strings.Split(seedGroup, "/")[2])
	wantError(t, err, 400, "RoleDefinitionNotAssignableAtScope", "Endpoint caller", "assignable scopes")
	id, err := assign(seedWorkspace)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys(); err != nil {
		t.Errorf("with the wildcard role: %v", err) // it grants more than scoring
	}
	_, err = s.endpoints(t).Get(t.Context(), groupName, wsName, "keyed", nil)
	wantError(t, err, 403, "AuthorizationFailed", "onlineEndpoints/read")

	for filter, want := range map[string][]string{
		"type eq 'CustomRole'": {"Endpoint caller"}, "roleName eq 'endpoint CALLER'": {"Endpoint caller"},
		"roleName eq 'AcrPull'": {"AcrPull"}, "roleName eq 'nothing'": nil,
	} {
		if got := l.owner.roleNames(t, seedGroup, filter); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	_, err = l.owner.definitions(t).Delete(t.Context(), seedGroup, name, nil)
	wantError(t, err, 400, "RoleDefinitionHasAssignments")

	// A change reaches the assignments that are there.
	if _, err := l.owner.definitions(t).CreateOrUpdate(t.Context(), seedGroup, name, role("Endpoint reader", []string{seedGroup}, actions(oe[:len(oe)-1]+"/read")), nil); err != nil {
		t.Fatal(err)
	}
	wantError(t, keys(), 403, "AuthorizationFailed", "listKeys/action")
	if _, err := s.endpoints(t).Get(t.Context(), groupName, wsName, "keyed", nil); err != nil {
		t.Error(err)
	}
	got, err := l.owner.definitions(t).Get(t.Context(), seedWorkspace, name, nil)
	if err != nil || *got.Properties.RoleName != "Endpoint reader" {
		t.Errorf("shown as %+v, %v", got.Properties, err)
	}
	l.owner.revoke(t, id)
	if _, err := l.owner.definitions(t).Delete(t.Context(), seedGroup, name, nil); err != nil {
		t.Error(err)
	}
	_, err = assign(seedWorkspace)
	wantError(t, err, 404, "RoleDefinitionDoesNotExist", name)
}

// TestCustomRolesRefused: who may define roles, and what cannot be one.
func TestCustomRolesRefused(t *testing.T) {
	covers.C(t, sdk, "R-915")
	l := newLab(t, nil)
	const subscription = "/subscriptions/a0a0a0a0-0000-4000-8000-000000000002"
	if _, err := l.owner.definitions(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), role("Taken", []string{seedGroup}, actions("*/read")), nil); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, id string
		body     armauthorization.RoleDefinition
		status   int
		code     string
	}{
		{"no assignable scope", uuid.NewString(), role("a", nil, actions("*/read")), 400, "InvalidRoleDefinition"},
		{"the root", uuid.NewString(), role("a", []string{"/"}, actions("*/read")), 403, "AuthorizationFailed"},
		{"a group that is not there", uuid.NewString(), role("a", []string{subscription + "/resourceGroups/nowhere"}, actions("*/read")), 400, "InvalidAssignableScope"},
		{"no name", uuid.NewString(), role("", []string{seedGroup}, actions("*/read")), 400, "InvalidRoleDefinition"},
		{"a taken name", uuid.NewString(), role("TAKEN", []string{seedGroup}, actions("*/read")), 409, "RoleDefinitionWithSameNameExists"},
		{"a built-in name", uuid.NewString(), role("acrpull", []string{seedGroup}, actions("*/read")), 409, "RoleDefinitionWithSameNameExists"},
		{"a built-in role", ownerRole, role("mine", []string{seedGroup}, actions("*/read")), 400, "BuiltInRoleDefinitionUpdateNotPermitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := l.owner.definitions(t).CreateOrUpdate(t.Context(), seedGroup, tt.id, tt.body, nil)
			wantError(t, err, tt.status, tt.code)
		})
	}
	t.Run("roles that may define roles", func(t *testing.T) {
		for name, allowed := range map[string]bool{"Contributor": false, "Reader": false, "User Access Administrator": true, "Owner": true} {
			s := l.principal(name)
			l.owner.grant(t, s.oid, name, seedGroup)
			_, err := s.definitions(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), role("by "+name, []string{seedGroup}, actions("*/read")), nil)
			if allowed && err != nil {
				t.Errorf("%s: %v", name, err)
			} else if !allowed {
				wantError(t, err, 403, "AuthorizationFailed", "Microsoft.Authorization/roleDefinitions/write")
			}
		}
		s := l.principal("definer")
		l.customRole(t, s.oid, "defines", seedGroup, []string{"Microsoft.Authorization/roleDefinitions/write"})
		if _, err := s.definitions(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), role("by a definer", []string{seedGroup}, actions("*/read")), nil); err != nil {
			t.Error(err)
		}
		_, err := s.definitions(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), role("wider", []string{subscription}, actions("*/read")), nil)
		wantError(t, err, 403, "AuthorizationFailed", subscription)
	})
}

// TestScoringByRole: in aad_token mode the score action decides, at the
// endpoint or anywhere above, in actions and not in data actions; the token has
// to be for Azure Machine Learning.
func TestScoringByRole(t *testing.T) {
	covers.C(t, sdk, "R-405", "R-408", "R-412", "R-910", "R-912", "R-1046")
	l := newLab(t, nil)
	l.owner.endpoint(t, "aad", wish(func(e *armmachinelearning.OnlineEndpoint) {
		e.Properties.AuthMode = to.Ptr(armmachinelearning.EndpointAuthModeAADToken)
	}))
	l.owner.deploy(t, "aad", "blue", l.owner.instance(t))
	if err := l.owner.traffic(t, "aad", map[string]int32{"blue": 100}); err != nil {
		t.Fatal(err)
	}
	score := oe[:len(oe)-1] + "/score/action"
	for _, tt := range []struct {
		name, scope string
		permission  armauthorization.Permission
		want        int
	}{
		{"at the endpoint", endpointID("aad"), actions(score), 200},
		{"at the workspace", seedWorkspace, actions(score), 200},
		{"at the group, by wildcard", seedGroup, actions(oe[:len(oe)-1] + "/*/action"), 200},
		{"spelt otherwise", seedWorkspace, actions(strings.ToLower(score)), 200},
		{"as a data action", seedWorkspace, armauthorization.Permission{Actions: to.SliceOfPtrs("*/read"), DataActions: to.SliceOfPtrs(score)}, 401},
		{"taken out again", seedWorkspace, armauthorization.Permission{Actions: to.SliceOfPtrs("*"), NotActions: to.SliceOfPtrs(score)}, 401},
		{"managing only", seedWorkspace, actions(oe[:len(oe)-1]+"/write", oe[:len(oe)-1]+"/read", oe[:len(oe)-1]+"/delete"), 401},
		{"at another endpoint", endpointID("aad") + "2", actions(score), 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := l.principal(tt.name)
			made, err := l.owner.definitions(t).CreateOrUpdate(t.Context(), seedGroup, uuid.NewString(), role(tt.name, []string{seedGroup}, tt.permission), nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(tt.scope, "aad2") {
				l.owner.endpoint(t, "aad2", wish(nil))
			}
			if _, err := l.owner.assignments(t).Create(t.Context(), tt.scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
				Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &s.oid, RoleDefinitionID: made.ID}}, nil); err != nil {
				t.Fatal(err)
			}
			// the token is what the clients' invoke obtains in this mode.
			if a := l.score(t, "aad", "", s.token(t, forML), envQuestion); a.status != tt.want {
				t.Errorf("%d %s, want %d", a.status, a.body, tt.want)
			}
			if a := l.score(t, "aad", "", s.token(t, forManagement), envQuestion); a.status != 401 {
				t.Errorf("with a management token: %d", a.status)
			}
		})
	}
}
