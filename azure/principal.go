package azure

import "time"

// PrincipalType is the `principalType` of a role assignment.
type PrincipalType string

// The principal types Microsoft.Authorization knows and we support.
const (
	User             PrincipalType = "User"
	Group            PrincipalType = "Group"
	ServicePrincipal PrincipalType = "ServicePrincipal"
)

// Principal is who a token speaks for.
type Principal struct {
	// ObjectID is the directory object id (`oid`), the id role assignments use.
	ObjectID string `json:"objectId"`
	// AppID is the client id (`appid`); empty for users and groups.
	AppID string `json:"appId,omitempty"`
	// TenantID is the home tenant.
	TenantID string `json:"tenantId"`
	// Type is what a role assignment calls it.
	Type PrincipalType `json:"type"`
	// Name is the display name, or the user principal name of a user.
	Name string `json:"name"`
	// ResourceID is the ARM id behind a managed identity: the user-assigned
	// identity itself, or the resource a system-assigned identity belongs to.
	// Empty for everything else.
	ResourceID string `json:"resourceId,omitempty"`
	// MembershipsAsOf is when the groups it counts as a member of were looked
	// up: with its token. Zero: they are looked up now.
	MembershipsAsOf time.Time `json:"-"`
}

// IsManagedIdentity reports whether the principal belongs to an ARM resource.
func (p Principal) IsManagedIdentity() bool { return p.ResourceID != "" }
