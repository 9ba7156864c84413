package amlocal

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
)

func (l *lab) access(t *testing.T, identity string) (list []IdentityAccess) {
	t.Helper()
	var answer struct{ Value []IdentityAccess }
	l.adminDo(t, http.MethodGet, "access?identity="+identity, nil, http.StatusOK, &answer)
	return answer.Value
}

// azLine is what our own `az role assignment create` lines look like.
var azLine = regexp.MustCompile(`^az role assignment create --assignee-object-id (\S+) --assignee-principal-type (\S+) --role (?:"([^"]*)"|'([^']*)') --scope (\S+)$`)

// runLine does with the SDK what a printed line does with az.
func (s *session) runLine(t *testing.T, line string) string {
	t.Helper()
	m := azLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("not a line to run: %q", line)
	}
	made, err := s.assignments(t).Create(t.Context(), m[5], uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID: &m[1], PrincipalType: (*armauthorization.PrincipalType)(&m[2]), RoleDefinitionID: to.Ptr(s.lab.roleID(t, or(m[3], m[4]))),
		}}, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return *made.ID
}

// TestAccessReport: an endpoint whose image, model and blob each need a role.
// What its report prints suffices for another, and no line can be left out.
func TestAccessReport(t *testing.T) {
	dir, ca := filepath.Join(t.TempDir(), "state"), t.TempDir()
	change := func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca }
	l := newLab(t, change)
	body := l.owner.scorer(t)
	body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentID = to.Ptr(l.owner.image(t, "private", azure.SeedRegistry+".azurecr.io/amlocal/goscorer:1"))
	first := *l.owner.endpoint(t, "first", wish(nil)).Identity.PrincipalID
	l.owner.grant(t, first, "Storage Blob Data Contributor", accountID(accountOne))
	l.owner.grant(t, first, "Storage Blob Data Reader", accountID(accountTwo))
	l.owner.deploy(t, "first", "blue", body)

	report := l.access(t, "first")
	if len(report) != 1 || report[0].Identity.ObjectID != first || report[0].Identity.Kind != "managed identity" {
		t.Fatalf("report %+v", report)
	}
	var got []string
	for _, r := range report[0].Roles {
		got = append(got, r.Role+" at "+r.Scope)
	}
	slices.Sort(got)
	want := []string{
		"AcrPull at " + seedRegistry,
		"Storage Blob Data Reader at " + containerID(azure.SeedStorageAccount, azure.SeedContainer),
		"Storage Blob Data Reader at " + containerID(accountOne, "box"),
	}
	if !slices.EqualFunc(got, want, strings.EqualFold) {
		t.Errorf("roles %q, want %q", got, want)
	}
	var unused []string
	for _, u := range report[0].Unused {
		unused = append(unused, u.Role+" at "+u.Scope)
	}
	slices.Sort(unused)
	if want := []string{"AzureML Metrics Writer (preview) at " + seedWorkspace, "Storage Blob Data Reader at " + accountID(accountTwo)}; !slices.EqualFunc(unused, want, strings.EqualFold) {
		t.Errorf("unused %q, want %q", unused, want)
	}
	// The observations outlive the emulator.
	closeEmulator(t, l.e)
	l = labOf(t, start(t, change))
	var again, text strings.Builder
	WriteAccess(&again, "az", false, l.access(t, first))
	WriteAccess(&text, "text", false, l.access(t, ""))
	for _, part := range []string{"AcrPull at " + seedRegistry, "never used", "What suffices"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the text lacks %q:\n%s", part, text.String())
		}
	}
	if strings.Contains(text.String(), azure.SeedOwnerName) {
		t.Errorf("the owner is in it:\n%s", text.String())
	}

	fresh := *l.owner.endpoint(t, "second", wish(nil)).Identity.PrincipalID
	var lines []string
	for line := range strings.Lines(again.String()) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.Replace(line, first, fresh, 1))
		}
	}
	if len(lines) != len(want) {
		t.Fatalf("lines %q", lines)
	}
	deploy := func(lines []string) error {
		for _, a := range l.assignmentsOf(t, fresh) {
			l.owner.revoke(t, a)
		}
		for _, line := range lines {
			l.owner.runLine(t, line)
		}
		err := l.owner.tryDeploy(t, "second", "blue", body)
		if err := l.owner.deleteDeployment(t, "second", "blue"); err != nil {
			t.Fatal(err)
		}
		return err
	}
	for i, line := range lines {
		if deploy(slices.Delete(slices.Clone(lines), i, i+1)) == nil {
			t.Errorf("it works without %s", line)
		}
	}
	if err := deploy(lines); err != nil {
		t.Error(err)
	}

	// The custom role does the same.
	for _, a := range l.assignmentsOf(t, fresh) {
		l.owner.revoke(t, a)
	}
	custom := l.access(t, first)[0].Custom
	l.assignCustom(t, custom, fresh)
	if err := l.owner.tryDeploy(t, "second", "blue", body); err != nil {
		t.Errorf("with %+v: %v", custom, err)
	}
}

// assignCustom makes the role of a report and assigns it, as its lines do.
func (l *lab) assignCustom(t *testing.T, c *CustomRole, principal string) {
	t.Helper()
	raw, err := json.Marshal(c.Definition)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.Commands[0], string(raw)) || len(c.Commands) != 1+len(c.Scopes) {
		t.Errorf("commands %q", c.Commands)
	}
	var d struct {
		Name                                   string
		Actions, DataActions, AssignableScopes []*string
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	made, err := must(armauthorization.NewRoleDefinitionsClient(l.owner.cred, l.options()))(t).CreateOrUpdate(t.Context(), *d.AssignableScopes[0], uuid.NewString(), armauthorization.RoleDefinition{
		Properties: &armauthorization.RoleDefinitionProperties{RoleName: &d.Name, RoleType: to.Ptr("CustomRole"), AssignableScopes: d.AssignableScopes,
			Permissions: []*armauthorization.Permission{{Actions: d.Actions, DataActions: d.DataActions}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range c.Scopes {
		if _, err := l.owner.assignments(t).Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &principal, RoleDefinitionID: made.ID}}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// assignmentsOf are the ids of what a principal holds.
func (l *lab) assignmentsOf(t *testing.T, principal string) (ids []string) {
	t.Helper()
	filter := "principalId%20eq%20'" + principal + "'"
	pages := l.owner.assignments(t).NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{Filter: &filter})
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Value {
			ids = append(ids, *a.ID)
		}
	}
	return ids
}

func TestAccessReportOfPeople(t *testing.T) {
	l := newLab(t, nil)
	l.add(t, "user", "alice")
	readers := l.add(t, "group", "readers")
	l.adminDo(t, http.MethodPost, "members", map[string]string{"group": "readers", "member": "alice"}, http.StatusCreated, nil)
	l.owner.grantTo(t, readers.ObjectID, "Storage Blob Data Reader", accountID(accountOne))
	l.owner.grantTo(t, readers.ObjectID, "Storage Blob Data Reader", accountID(accountTwo))
	for range 3 {
		if a := l.readRaw(t, l.tokenAs(t, "alice", forStorage), "2024-11-04"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	report := l.access(t, "alice")
	if len(report) != 1 || len(report[0].Uses) != 1 || report[0].Uses[0].Count != 3 || len(report[0].Unused) != 1 || report[0].Unused[0].Group != "readers" || report[0].Unused[0].Command != "" {
		t.Errorf("report %+v", report)
	}
	l.adminDo(t, http.MethodPost, "principals/remove", map[string]string{"principal": "alice"}, http.StatusOK, nil)
	if gone := l.access(t, report[0].Identity.ObjectID); len(gone) != 1 || !gone[0].Gone || len(gone[0].Roles) != 1 {
		t.Errorf("after alice left: %+v", gone)
	}
	l.adminDo(t, http.MethodGet, "access?identity=nobody", nil, http.StatusNotFound, nil)
	if owner := l.access(t, azure.SeedOwnerName); len(owner) != 1 || len(owner[0].Uses) == 0 {
		t.Errorf("the owner, by name: %+v", owner)
	}
}
