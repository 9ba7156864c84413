package amlocal

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestBlobConditionsEndToEnd: an assignment's condition narrows it to one
// container and path, in the form the portal writes.
func TestBlobConditionsEndToEnd(t *testing.T) {
	l := newLab(t, nil)
	s := l.principal("narrowed")
	assign := func(condition string) error {
		_, err := l.owner.assignments(t).Create(t.Context(), accountID(accountOne), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &s.oid, RoleDefinitionID: to.Ptr(l.roleID(t, "Storage Blob Data Reader")),
				Condition: &condition, ConditionVersion: to.Ptr("2.0")}}, nil)
		return err
	}
	wantError(t, assign("(ActionMatches{"), 400, "InvalidCondition")
	wantError(t, assign("@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:Team] StringEquals 'red'"), 400, "InvalidCondition", "attributes")
	const read = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
	if err := assign("((!(ActionMatches{'" + read + "'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'box'" +
		" AND (SubOperationMatches{'Blob.List'} OR @Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'hello*')))"); err != nil {
		t.Fatal(err)
	}
	blobs := s.blobs(t, accountOne)
	if _, err := l.owner.keyed(t, accountOne).UploadBuffer(t.Context(), "box", "secret.txt", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
		t.Error(err)
	}
	if _, err := blobs.NewListBlobsFlatPager("box", nil).NextPage(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := blobs.DownloadStream(t.Context(), "sibling", "hello.txt", nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	_, err = blobs.DownloadStream(t.Context(), "box", "secret.txt", nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	denial, _ := l.e.LastDenial()
	var why strings.Builder
	Explain(&why, denial)
	if !strings.Contains(why.String(), "only under a condition, which this request does not fulfil") || !strings.Contains(why.String(), "StringLike 'hello*'") {
		t.Errorf("it does not show the condition:\n%s", why.String())
	}
}

// TestDelegatedAssignments: whoever may assign roles under a condition may
// assign and remove those it names, and no others. The conditions are in the
// form the portal's templates write.
func TestDelegatedAssignments(t *testing.T) {
	covers.R(t, "R-322", "R-1041")
	covers.C(t, "azure-sdk-for-go")
	l := newLab(t, nil)
	delegate, worker := l.principal("delegate"), l.principal("worker")
	reader, contributor := l.roleID(t, "Storage Blob Data Reader"), l.roleID(t, "Storage Blob Data Contributor")
	guid := func(id string) string { return id[strings.LastIndex(id, "/")+1:] }
	condition := "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR (" +
		"@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + strings.ToUpper(guid(reader)) + "}" +
		" AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {'ServicePrincipal'}))" +
		" AND ((!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})) OR (" +
		"@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAllValues:GuidNotEquals {" + guid(contributor) + ", " + guid(l.roleID(t, "Owner")) + "}))"
	if _, err := l.owner.assignments(t).Create(t.Context(), accountID(accountOne), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &delegate.oid, ConditionVersion: to.Ptr("2.0"), Condition: &condition,
			RoleDefinitionID: to.Ptr(l.roleID(t, "Role Based Access Control Administrator"))}}, nil); err != nil {
		t.Fatal(err)
	}
	assign := func(role, name string) error {
		_, err := delegate.assignments(t).Create(t.Context(), accountID(accountOne), name, armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &worker.oid, RoleDefinitionID: &role}}, nil)
		return err
	}
	name := uuid.NewString()
	if err := assign(reader, name); err != nil {
		t.Errorf("the role it names: %v", err)
	}
	wantError(t, assign(contributor, uuid.NewString()), 403, "AuthorizationFailed", "roleAssignments/write")
	if _, err := worker.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
		t.Errorf("the role it assigned: %v", err)
	}
	theirs := uuid.NewString()
	if _, err := l.owner.assignments(t).Create(t.Context(), accountID(accountOne), theirs, armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &worker.oid, RoleDefinitionID: &contributor}}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := delegate.assignments(t).Delete(t.Context(), accountID(accountOne), theirs, nil)
	wantError(t, err, 403, "AuthorizationFailed", "roleAssignments/delete")
	if _, err := delegate.assignments(t).Delete(t.Context(), accountID(accountOne), name, nil); err != nil {
		t.Errorf("removing what it may: %v", err)
	}

	// A name stands for one assignment, wherever it is.
	_, err = l.owner.assignments(t).Create(t.Context(), accountID(accountTwo), theirs, armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &worker.oid, RoleDefinitionID: &reader}}, nil)
	wantError(t, err, 400, "RoleAssignmentUpdateNotPermitted")
}
