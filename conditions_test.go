package amlocal

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/google/uuid"
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
