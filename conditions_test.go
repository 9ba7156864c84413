package amlocal

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
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

// TestTagConditionsEndToEnd: what conditions read of stored things decides
// over blobs that are alike but for it, and follows when it changes.
func TestTagConditionsEndToEnd(t *testing.T) {
	covers.C(t, "azblob")
	l := newLab(t, nil)
	const of = "Microsoft.Storage/storageAccounts/blobServices/containers"
	narrowed := func(name, role, condition string) *session {
		t.Helper()
		s := l.principal(name)
		if _, err := l.owner.assignments(t).Create(t.Context(), accountID(accountOne), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &s.oid, RoleDefinitionID: to.Ptr(l.roleID(t, role)),
				Condition: &condition, ConditionVersion: to.Ptr("2.0")}}, nil); err != nil {
			t.Fatal(err)
		}
		return s
	}
	keyed := l.owner.keyed(t, accountOne)
	upload := func(c *azblob.Client, box, name string, tags map[string]string) error {
		_, err := c.UploadBuffer(t.Context(), box, name, []byte(name), &azblob.UploadBufferOptions{Tags: tags})
		return err
	}
	for name, tags := range map[string]map[string]string{"ours": {"Project": "Cascade"}, "theirs": {"Project": "Baker"}, "spelled": {"project": "Cascade"}, "bare": nil} {
		if err := upload(keyed, "box", name, tags); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(s *session, box, name string) error {
		_, err := s.blobs(t, accountOne).DownloadStream(t.Context(), box, name, nil)
		return err
	}
	reader := narrowed("reader", "Storage Blob Data Reader", "((!(ActionMatches{'"+of+"/blobs/read'} AND NOT SubOperationMatches{'Blob.List'}))"+
		" OR (@Resource["+of+"/blobs/tags:Project<$key_case_sensitive$>] StringEquals 'Cascade'))")
	if err := reads(reader, "box", "ours"); err != nil {
		t.Errorf("the blob it names: %v", err)
	}
	for _, other := range []string{"theirs", "spelled", "bare"} {
		wantError(t, reads(reader, "box", other), 403, "AuthorizationPermissionMismatch")
	}
	tagged := func(name string) *blob.Client {
		return keyed.ServiceClient().NewContainerClient("box").NewBlobClient(name)
	}
	if _, err := tagged("theirs").SetTags(t.Context(), map[string]string{"Project": "Cascade"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := reads(reader, "box", "theirs"); err != nil {
		t.Errorf("once it is tagged so: %v", err)
	}

	// A request's own tags: new blobs need the tag, and no other key.
	writer := narrowed("writer", "Storage Blob Data Owner", "((!(ActionMatches{'"+of+"/blobs/write'} AND SubOperationMatches{'Blob.Write.WithTagHeaders'})"+
		" AND !(ActionMatches{'"+of+"/blobs/add/action'} AND SubOperationMatches{'Blob.Write.WithTagHeaders'}) AND !(ActionMatches{'"+of+"/blobs/tags/write'}))"+
		" OR (@Request["+of+"/blobs/tags&$keys$&] ForAllOfAnyValues:StringEquals {'Project'} AND @Request["+of+"/blobs/tags:Project<$key_case_sensitive$>] StringEquals 'Cascade'))")
	for _, tt := range []struct {
		tags map[string]string
		ok   bool
	}{{map[string]string{"Project": "Cascade"}, true}, {nil, false}, {map[string]string{"Project": "Baker"}, false}, {map[string]string{"Project": "Cascade", "Other": "x"}, false}} {
		err := upload(writer.blobs(t, accountOne), "box", "new", tt.tags)
		_, setErr := writer.blobs(t, accountOne).ServiceClient().NewContainerClient("box").NewBlobClient("bare").SetTags(t.Context(), tt.tags, nil)
		for how, err := range map[string]error{"upload": err, "set": setErr} {
			if tt.ok && err != nil {
				t.Errorf("%s with %v: %v", how, tt.tags, err)
			} else if !tt.ok {
				wantError(t, err, 403, "AuthorizationPermissionMismatch")
			}
		}
	}

	// A container's metadata, and the account's kind of namespace.
	if _, err := keyed.ServiceClient().NewContainerClient("box").SetMetadata(t.Context(), &container.SetMetadataOptions{Metadata: map[string]*string{"Team": to.Ptr("red")}}); err != nil {
		t.Fatal(err)
	}
	boxed := narrowed("boxed", "Storage Blob Data Reader", "@Resource["+of+"/metadata:Team] StringEquals 'red' AND @Resource[Microsoft.Storage/storageAccounts:isHnsEnabled] BoolEquals false")
	if err := reads(boxed, "box", "bare"); err != nil {
		t.Errorf("the container it names: %v", err)
	}
	wantError(t, reads(boxed, "sibling", "hello.txt"), 403, "AuthorizationPermissionMismatch")
	const hierarchical = "@Resource[Microsoft.Storage/storageAccounts:isHnsEnabled] BoolEquals true"
	wantError(t, reads(narrowed("of the lake", "Storage Blob Data Reader", hierarchical), "box", "bare"), 403, "AuthorizationPermissionMismatch")
	poller, err := l.owner.accounts(t).BeginCreate(t.Context(), groupName, "e2elake", armstorage.AccountCreateParameters{
		Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr(azure.SeedLocation), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)},
		Properties: &armstorage.AccountPropertiesCreateParameters{IsHnsEnabled: to.Ptr(true)}}, nil)
	if _, err := finish(t.Context(), poller, err); err != nil {
		t.Fatal(err)
	}
	lake := l.owner.keyed(t, "e2elake")
	if _, err := lake.CreateContainer(t.Context(), "box", nil); err != nil {
		t.Fatal(err)
	}
	if err := upload(lake, "box", "deep", nil); err != nil {
		t.Fatal(err)
	}
	fisher := l.principal("fisher")
	if _, err := l.owner.assignments(t).Create(t.Context(), accountID("e2elake"), uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &fisher.oid, RoleDefinitionID: to.Ptr(l.roleID(t, "Storage Blob Data Reader")),
			Condition: to.Ptr(hierarchical), ConditionVersion: to.Ptr("2.0")}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := fisher.blobs(t, "e2elake").DownloadStream(t.Context(), "box", "deep", nil); err != nil {
		t.Errorf("in the account with a hierarchical namespace: %v", err)
	}

	// What a listing includes.
	lister := narrowed("lister", "Storage Blob Data Reader", "@Request["+of+"/blobs:include] ForAllOfAnyValues:StringEqualsIgnoreCase {'metadata'}")
	lists := func(include container.ListBlobsInclude) error {
		_, err := lister.blobs(t, accountOne).NewListBlobsFlatPager("box", &azblob.ListBlobsFlatOptions{Include: include}).NextPage(t.Context())
		return err
	}
	if err := lists(container.ListBlobsInclude{Metadata: true}); err != nil {
		t.Errorf("with metadata: %v", err)
	}
	wantError(t, lists(container.ListBlobsInclude{Metadata: true, Copy: true}), 403, "AuthorizationPermissionMismatch")
}
