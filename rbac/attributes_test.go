package rbac

import (
	"context"
	"errors"
	"testing"

	"github.com/amlocal/amlocal/azure"
)

func TestBlobConditions(t *testing.T) {
	const (
		name   = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name]"
		path   = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path]"
		prefix = "@Request[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:prefix]"
		guard  = "(!(ActionMatches{'" + blobRead + "'} AND NOT SubOperationMatches{'Blob.List'}) OR "
	)
	// The names of groups must not be taken for the names of containers.
	const odd = "/subscriptions/s1/resourceGroups/containers/providers/Microsoft.Storage/storageAccounts/one/blobServices/default/containers/box"
	const (
		current = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:isCurrentVersion]"
		tag     = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags:"
		tagKeys = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags&$keys$&]"
	)
	tagged := azure.Check{Action: blobRead, Data: true, Scope: leastBox, Blob: "in/a.txt", Attributes: azure.AttributeValues{
		"@resource[microsoft.storage/storageaccounts/blobservices/containers/blobs/tags:Project]": {"Cascade"},
		"@resource[microsoft.storage/storageaccounts/blobservices/containers/blobs/tags&$keys$&]": {"Project", "Owner"},
		"@resource[microsoft.storage/storageaccounts/blobservices/containers/metadata:key]":       {"v"},
	}}
	read := azure.Check{Action: blobRead, Data: true, Scope: leastBox, Blob: "in/a.txt"}
	list := azure.Check{Action: blobRead, Data: true, Scope: leastBox, SubOperation: "Blob.List", Prefix: "in/"}
	for _, tt := range []struct {
		condition string
		check     azure.Check
		want      bool
	}{
		{name + " StringEquals 'box'", read, true},
		{name + " StringEquals 'BOX'", read, false},
		{name + " StringEqualsIgnoreCase 'BOX'", read, true},
		{name + " StringEquals 'providers'", azure.Check{Action: blobRead, Data: true, Scope: odd, Blob: "x"}, false},
		{name + " StringEquals 'box'", azure.Check{Action: blobRead, Data: true, Scope: odd, Blob: "x"}, true},
		{name + " StringNotEquals 'box'", read, false},
		{name + " StringNotEquals 'other'", read, true},
		{name + " StringLike 'b?x'", read, true},
		{name + " StringNotLike 'b*'", read, false},
		{name + " ForAnyOfAnyValues:StringEquals {'a', 'box'}", read, true},
		{name + " ForAnyOfAnyValues:StringEquals {'a', 'b'}", read, false},
		{"@Resource[Microsoft.Storage/storageAccounts:name] StringEquals 'one'", read, true},
		{path + " StringStartsWith 'in/'", read, true},
		{path + " StringLike 'in/*.txt'", read, true},
		{path + " StringLike 'in/*.csv'", read, false},
		{path + " StringNotStartsWith 'in/'", read, false},
		{path + " StringStartsWith 'in/'", list, false}, // a listing has no path
		{path + " StringNotStartsWith 'out/'", list, false},
		{guard + path + " StringStartsWith 'out/')", list, true},
		{guard + path + " StringStartsWith 'out/')", read, false},
		{prefix + " StringStartsWith 'in'", list, true},
		{prefix + " StringStartsWith 'out'", list, false},
		{prefix + " StringStartsWith ''", read, false},
		{name + " StringEquals 'box' AND " + path + " StringEquals 'in/a.txt'", read, true},
		{"NOT " + name + " StringEquals 'other'", read, true},
		{name + " ForAnyOfAnyValues:StringNotEquals {'a', 'box'}", read, true}, // it differs from 'a'
		{name + " ForAnyOfAllValues:StringNotEquals {'a', 'box'}", read, false},
		{name + " ForAnyOfAllValues:StringNotEquals {'a', 'b'}", read, true},
		{"Exists " + path, read, true},
		{"Exists " + path, list, false},
		{"NOT Exists " + prefix, read, true},
		{name + " StringEquals @Resource[Microsoft.Storage/storageAccounts:name]", read, false},
		{current + " BoolEquals true", read, true},
		{current + " BoolNotEquals True", read, false},
		{current + " BoolEquals true", list, false},
		{"@Environment[UtcNow] DateTimeGreaterThan '2020-01-01T00:00:00.0Z'", read, true},
		{"@Environment[UtcNow] DateTimeLessThan '2020-01-01T00:00:00.0Z'", read, false},
		{"@Environment[isPrivateLink] BoolEquals true", read, false},
		{"@Environment[Microsoft.Network/privateEndpoints] StringEqualsIgnoreCase '/p'", read, false},
		{"NOT Exists @Environment[Microsoft.Network/privateEndpoints]", read, true},
		{tag + "Project<$key_case_sensitive$>] StringEquals 'Cascade'", tagged, true},
		{tag + "project<$key_case_sensitive$>] StringEquals 'Cascade'", tagged, false}, // another key
		{tag + "Project<$key_case_sensitive$>] StringEquals 'Cascade'", read, false},
		{tagKeys + " ForAllOfAnyValues:StringEquals {'Project', 'Owner', 'Site'}", tagged, true},
		{tagKeys + " ForAllOfAnyValues:StringEquals {'Project'}", tagged, false},
		{tagKeys + " ForAnyOfAnyValues:StringEquals {'Project'}", tagged, true},
		{tagKeys + " ForAllOfAllValues:StringNotLike {'X*', 'Y*'}", tagged, true},
		{tagKeys + " StringEquals 'Project'", tagged, false}, // several on the left need a quantifier
		{"@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/metadata:KEY] StringEquals 'v'", tagged, true},
	} {
		x := New(BuiltIn())
		if err := x.Put(Assignment{ID: "a", RoleDefinitionID: sbdr, PrincipalID: "p", Scope: "/subscriptions/s1", Condition: tt.condition}); err != nil {
			t.Fatal(err)
		}
		if got := x.Decide(context.Background(), azure.Principal{ObjectID: "p"}, tt.check).Allowed; got != tt.want {
			t.Errorf("%s on %+v: %t", tt.condition, tt.check, got)
		}
		if err := CheckCondition(tt.condition); err != nil {
			t.Errorf("%s: %v", tt.condition, err)
		}
	}
	for _, strange := range []string{
		"@Principal[a:b] StringEquals 'x'", name + " NumericEquals 3", name + " StringEquals {'a', 'b'}",
		"@Environment[UtcNow] DateTimeGreaterThan 'soon'", current + " BoolEquals perhaps", current + " BoolNotEquals 1", current + " StringEquals 'true'",
		name + " StringEquals " + current, name + " ForSomeValues:StringEquals {'a'}", tag + "Project] StringEquals 'x'",
		"ForAllOfAllValues:" + name + " StringEquals 'x'",
	} {
		if err := CheckCondition(strange); !errors.Is(err, ErrAttribute) {
			t.Errorf("%s: %v", strange, err)
		}
	}
	for _, broken := range []string{"(", "ActionMatches{", "SubOperationMatches{Blob.List}", "AND"} {
		if err := CheckCondition(broken); err == nil || errors.Is(err, ErrAttribute) {
			t.Errorf("%s: %v", broken, err)
		}
	}
}
