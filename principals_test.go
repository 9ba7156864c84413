package amlocal

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
)

// admin calls the admin API as the commands do.
func (l *lab) admin(t *testing.T, method, path string, body any, token string) (status int, raw []byte) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, l.e.Access().URL()+"/_amlocal/"+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, raw
}

// do calls the admin API with the folder's token and wants a status.
func (l *lab) adminDo(t *testing.T, method, path string, body any, want int, into any) string {
	t.Helper()
	status, raw := l.admin(t, method, path, body, l.e.Access().AdminToken)
	if status != want {
		t.Fatalf("%s %s: %d %s, want %d", method, path, status, raw, want)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	return string(raw)
}

func (l *lab) add(t *testing.T, kind, name string) (info PrincipalInfo) {
	t.Helper()
	l.adminDo(t, http.MethodPost, "principals", NewPrincipal{Type: kind, Name: name}, http.StatusCreated, &info)
	return info
}

// tokenAs is what `amlocal token` prints.
func (l *lab) tokenAs(t *testing.T, as, resource string) string {
	t.Helper()
	var a TokenAnswer
	l.adminDo(t, http.MethodPost, "token", map[string]string{"as": as, "resource": resource}, http.StatusOK, &a)
	return a.AccessToken
}

// grantTo assigns a role without stating the principal's type: the directory
// has to know it.
func (s *session) grantTo(t *testing.T, principal, role, scope string) string {
	t.Helper()
	made, err := s.assignments(t).Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &principal, RoleDefinitionID: to.Ptr(s.lab.roleID(t, role))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return *made.ID
}

func TestServicePrincipalSignsIn(t *testing.T) {
	l := newLab(t, nil)
	sp := l.add(t, "sp", "ci")
	if sp.ClientID == "" || sp.Secret == "" || sp.TenantID != azure.SeedTenantID {
		t.Fatalf("made %+v", sp)
	}
	s := l.session(sp.ClientID, sp.Secret)
	_, err := s.accounts(t).GetProperties(t.Context(), groupName, accountOne, nil)
	wantError(t, err, 403, "AuthorizationFailed", sp.ObjectID)
	l.owner.grantTo(t, sp.ObjectID, "Reader", accountID(accountOne))
	if _, err := s.accounts(t).GetProperties(t.Context(), groupName, accountOne, nil); err != nil {
		t.Error(err)
	}
	if claims := claimsOf(t, l.tokenAs(t, "ci", forManagement)); claims["oid"] != sp.ObjectID || claims["appid"] != sp.ClientID || claims["idtyp"] != "app" {
		t.Errorf("claims %v", claims)
	}
	var second PrincipalInfo
	l.adminDo(t, http.MethodPost, "principals/secret", map[string]string{"principal": sp.ClientID}, http.StatusCreated, &second)
	for _, secret := range []string{sp.Secret, second.Secret} {
		if _, err := l.session(sp.ClientID, secret).accounts(t).GetProperties(t.Context(), groupName, accountOne, nil); err != nil {
			t.Errorf("with the secret %s…: %v", secret[:4], err)
		}
	}
	if list := l.adminDo(t, http.MethodGet, "principals", nil, http.StatusOK, nil); strings.Contains(list, sp.Secret) || strings.Contains(list, second.Secret) || !strings.Contains(list, sp.ClientID) {
		t.Errorf("the list shows a secret, or not the principal: %s", list)
	}
	l.adminDo(t, http.MethodPost, "principals/remove", map[string]string{"principal": "ci"}, http.StatusOK, nil)
	if _, err := l.session(sp.ClientID, sp.Secret).accounts(t).GetProperties(t.Context(), groupName, accountOne, nil); err == nil || !strings.Contains(err.Error(), "AADSTS700016") {
		t.Errorf("the removed one signs in: %v", err)
	}
}

// TestGroups: a role of a group counts for its members, the nested ones too,
// until they leave it, and across a restart.
func TestGroups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	ca := t.TempDir()
	change := func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca }
	l := newLab(t, change)
	alice, team, readers := l.add(t, "user", "alice"), l.add(t, "group", "team"), l.add(t, "group", "readers")
	if alice.UserPrincipalName != "alice@"+azure.SeedTenantDomain {
		t.Errorf("made %+v", alice)
	}
	join := func(group, member string) {
		l.adminDo(t, http.MethodPost, "members", map[string]string{"group": group, "member": member}, http.StatusCreated, nil)
	}
	leave := func(group, member string) {
		l.adminDo(t, http.MethodPost, "members/remove", map[string]string{"group": group, "member": member}, http.StatusOK, nil)
	}
	reads := func(want int) {
		t.Helper()
		token := l.tokenAs(t, "alice", forStorage)
		if a := l.readRaw(t, token, "2024-11-04"); a.status != want {
			t.Errorf("alice reads: %d %s, want %d", a.status, a.body, want)
		}
	}
	join("team", "alice")
	l.owner.grantTo(t, readers.ObjectID, "Storage Blob Data Reader", accountID(accountOne))
	reads(403)
	join("readers", team.ObjectID)
	reads(200)
	claims := claimsOf(t, l.tokenAs(t, alice.UserPrincipalName, forStorage))
	if claims["upn"] != alice.UserPrincipalName || claims["idtyp"] != "user" || claims["oid"] != alice.ObjectID || claims["scp"] != "user_impersonation" {
		t.Errorf("claims %v", claims)
	}
	closeEmulator(t, l.e)
	l = labOf(t, start(t, func(c *Config) { change(c) }))
	reads(200)
	leave("team", "alice")
	reads(403)
	join("readers", "alice")
	reads(200)
	l.adminDo(t, http.MethodPost, "principals/remove", map[string]string{"principal": "readers"}, http.StatusOK, nil)
	reads(403)
}

func TestPrincipalsRefuse(t *testing.T) {
	l := newLab(t, nil)
	l.add(t, "user", "alice")
	l.add(t, "group", "outer")
	l.add(t, "group", "inner")
	l.add(t, "group", "twin")
	l.add(t, "group", "twin")
	uai := l.owner.uai(t, "mine")
	member := func(group, member string) map[string]string {
		return map[string]string{"group": group, "member": member}
	}
	l.adminDo(t, http.MethodPost, "members", member("outer", "inner"), http.StatusCreated, nil)
	for _, tt := range []struct {
		name, path string
		body       any
		status     int
		text       string
	}{
		{"no name", "principals", NewPrincipal{Type: "user"}, 400, "needs a name"},
		{"strange type", "principals", NewPrincipal{Type: "robot", Name: "r"}, 400, "or an sp, not"},
		{"second alice", "principals", NewPrincipal{Type: "user", Name: "ALICE"}, 400, "there is a user"},
		{"no user principal name", "principals", NewPrincipal{Type: "user", Name: "a b"}, 400, "no user principal name"},
		{"object id", "principals", NewPrincipal{Type: "group", Name: "g", ObjectID: "x"}, 400, "no GUID"},
		{"the owner's object id", "principals", NewPrincipal{Type: "group", Name: "g", ObjectID: azure.SeedOwnerObjectID}, 400, "belongs to"},
		{"client id of a group", "principals", NewPrincipal{Type: "group", Name: "g", ClientID: uuid.NewString()}, 400, "only a service principal"},
		{"unknown field", "principals", map[string]string{"kind": "user"}, 400, "unknown field"},
		{"cycle", "members", member("inner", "outer"), 400, "cannot be a member of itself"},
		{"into a user", "members", member("alice", "inner"), 400, "only a group has members"},
		{"stranger", "members", member("outer", "nobody"), 404, "no such principal as"},
		{"ambiguous", "members", member("twin", "alice"), 400, "several"},
		{"not a member", "members/remove", member("outer", "alice"), 400, "no direct member"},
		{"group's token", "token", map[string]string{"as": "outer", "resource": forStorage}, 400, "cannot sign in"},
		{"stranger's token", "token", map[string]string{"as": "nobody", "resource": forStorage}, 404, "no such principal as"},
		{"strange resource", "token", map[string]string{"as": "alice", "resource": "https://example.com"}, 400, "AADSTS500011"},
		{"the owner's end", "principals/remove", map[string]string{"principal": azure.SeedOwnerName}, 400, "seeded owner"},
		{"an identity's end", "principals/remove", map[string]string{"principal": "mine"}, 400, "goes with it"},
		{"an identity's secret", "principals/secret", map[string]string{"principal": *uai.Properties.ClientID}, 400, "no secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if raw := l.adminDo(t, http.MethodPost, tt.path, tt.body, tt.status, nil); !strings.Contains(raw, tt.text) {
				t.Errorf("%s lacks %q", raw, tt.text)
			}
		})
	}
	for _, path := range []string{"principals", "members", "token", "principals/secret", "principals/remove", "members/remove"} {
		if status, _ := l.admin(t, http.MethodPost, path, map[string]string{"as": "alice", "resource": forStorage}, "wrong"); status != 401 {
			t.Errorf("%s without the admin token: %d", path, status)
		}
	}
	if claims := claimsOf(t, l.tokenAs(t, "mine", forStorage)); claims["oid"] != *uai.Properties.PrincipalID || claims["xms_mirid"] == nil {
		t.Errorf("the identity's token: %v", claims)
	}
}
