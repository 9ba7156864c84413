package azure

import "context"

// Check is one question to RBAC.
type Check struct {
	// Action is an operation such as
	// "Microsoft.Storage/storageAccounts/listKeys/action"; compared without
	// regard to case.
	Action string `json:"action"`
	// Data says that Action is looked up in dataActions, never in actions.
	Data bool `json:"data"`
	// Scope is the ARM id the operation touches.
	Scope string `json:"scope"`

	// What conditions of role assignments may read of a request for blobs: the
	// blob's name, the prefix of a listing, and "Blob.List" for one.
	Blob         string `json:"blob,omitempty"`
	Prefix       string `json:"prefix,omitempty"`
	SubOperation string `json:"subOperation,omitempty"`
	// Attributes answers for what else conditions may read; nil: for nothing.
	// It is asked while the decision is made and not kept.
	Attributes Attributes `json:"-"`
}

// Attributes are values of a request and of the resource it touches, asked for
// only where the condition of a role assignment reads one.
type Attributes interface {
	// Attribute returns the values of one attribute, and whether it is there.
	// It is called inside the decision and must not wait for anything.
	// The name is written as in Azure's condition language and in lower case,
	// such as "@resource[microsoft.storage/storageaccounts:ishnsenabled]", but
	// for a key whose letter case counts, such as that of a blob index tag.
	Attribute(name string) (values []string, ok bool)
}

// AttributeValues are Attributes that are at hand.
type AttributeValues map[string][]string

// Attribute looks a name up.
func (v AttributeValues) Attribute(name string) ([]string, bool) {
	values, ok := v[name]
	return values, ok
}

// Miss is an assignment that came near and why it did not allow the check.
type Miss struct {
	// Assignment is the ARM id of the role assignment, Role its role's name.
	Assignment string `json:"assignment"`
	Role       string `json:"role"`
	Scope      string `json:"scope"`
	// Reason is one sentence a user can act on.
	Reason string `json:"reason"`
}

// Fix is a built-in role that would have allowed the check, narrowest first.
type Fix struct {
	Role   string `json:"role"`
	RoleID string `json:"roleId"`
	// Scope is the narrowest scope at which assigning it suffices.
	Scope string `json:"scope"`
	// Command is the `az role assignment create` line that applies it.
	Command string `json:"command"`
}

// Decision is RBAC's answer to a Check, with its reasons.
type Decision struct {
	Allowed   bool      `json:"allowed"`
	Principal Principal `json:"principal"`
	Check     Check     `json:"check"`
	// Assignment and Role name what allowed it.
	Assignment string `json:"assignment,omitempty"`
	Role       string `json:"role,omitempty"`
	// Misses and Fixes are filled for a refusal only.
	Misses []Miss `json:"misses,omitempty"`
	Fixes  []Fix  `json:"fixes,omitempty"`
}

// Authorizer decides whether a principal may do something. It never fails:
// what it cannot establish it refuses.
type Authorizer interface {
	Decide(ctx context.Context, who Principal, check Check) Decision
}

// Scheme is how a caller proved who they are.
type Scheme string

// The schemes the planes accept.
const (
	// Anonymous callers sent no credential.
	Anonymous Scheme = "Anonymous"
	// Bearer callers hold an Entra access token: RBAC decides.
	Bearer Scheme = "Bearer"
	// SharedKey callers signed with an account key: the key is the authority.
	SharedKey Scheme = "SharedKey"
	// SAS callers hold a signed URL: its permissions are the authority.
	SAS Scheme = "SAS"
	// EndpointKey callers hold a scoring endpoint's key.
	EndpointKey Scheme = "Key"
)

// Caller is an authenticated request's other end.
type Caller struct {
	Scheme Scheme `json:"scheme"`
	// Principal is zero unless Scheme is Bearer.
	Principal Principal `json:"principal"`
}
