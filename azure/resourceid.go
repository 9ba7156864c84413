package azure

import (
	"fmt"
	"strings"

	armid "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
)

// ResourceID is a parsed ARM resource id. The zero value is not valid.
//
// The grammar is azcore's parser; this type adds the two forms the emulator
// needs everywhere: the canonical spelling that clients insist on
// (`/resourceGroups/`, see String) and the case-free form that keys are made of
// (Key).
type ResourceID struct {
	id *armid.ResourceID
}

// ParseResourceID parses an ARM id in whatever case the caller spelled it.
// A trailing slash is tolerated.
func ParseResourceID(s string) (ResourceID, error) {
	id, err := armid.ParseResourceID(strings.TrimRight(s, "/"))
	if err != nil {
		return ResourceID{}, fmt.Errorf("resource id %q: %w", s, err)
	}
	return ResourceID{id}, nil
}

// MustParseResourceID is ParseResourceID for ids written in source code.
func MustParseResourceID(s string) ResourceID {
	id, err := ParseResourceID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// IsZero reports whether r was never set.
func (r ResourceID) IsZero() bool { return r.id == nil }

// String is the id with ARM's canonical `subscriptions` and `resourceGroups`
// segments; names and type segments keep the spelling they were given.
func (r ResourceID) String() string {
	if r.id == nil {
		return ""
	}
	return r.id.String()
}

// Key is the lower-cased id: equal for two spellings of one resource.
func (r ResourceID) Key() string { return strings.ToLower(r.String()) }

// Type is the full resource type, e.g. "Microsoft.Storage/storageAccounts".
// It keeps the caller's spelling; compare with strings.EqualFold.
func (r ResourceID) Type() string { return r.id.ResourceType.String() }

// Namespace is the provider namespace, e.g. "Microsoft.Storage".
func (r ResourceID) Namespace() string { return r.id.ResourceType.Namespace }

// Name is the last name segment.
func (r ResourceID) Name() string { return r.id.Name }

// SubscriptionID is empty for a tenant-level id.
func (r ResourceID) SubscriptionID() string { return r.id.SubscriptionID }

// ResourceGroup is empty above resource groups.
func (r ResourceID) ResourceGroup() string { return r.id.ResourceGroupName }

// Parent is the enclosing resource, resource group or subscription; ok is
// false at the tenant root.
func (r ResourceID) Parent() (parent ResourceID, ok bool) {
	if r.id == nil || r.id.Parent == nil || r.id.Parent == armid.RootResourceID {
		return ResourceID{}, false
	}
	return ResourceID{r.id.Parent}, true
}

// Ancestor returns r itself or the nearest enclosing resource of the given
// full type, compared without regard to case.
func (r ResourceID) Ancestor(resourceType string) (ResourceID, bool) {
	for cur, ok := r, r.id != nil; ok; cur, ok = cur.Parent() {
		if strings.EqualFold(cur.Type(), resourceType) {
			return cur, true
		}
	}
	return ResourceID{}, false
}

// Child is the id of a direct child: kind is one type segment, e.g.
// "deployments".
func (r ResourceID) Child(kind, name string) ResourceID {
	return MustParseResourceID(r.String() + "/" + kind + "/" + name)
}

// Extension is the id of an extension resource on r, e.g. a role assignment:
// kind is "Microsoft.Authorization/roleAssignments".
func (r ResourceID) Extension(kind, name string) ResourceID {
	return MustParseResourceID(r.String() + "/providers/" + kind + "/" + name)
}
