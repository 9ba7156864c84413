package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/google/uuid"
)

const blobReader = "Storage Blob Data Reader"

// grant gives a principal a role by the role's name and returns the
// assignment's id.
func (c *cloud) grant(ctx context.Context, principal, role, scope string) (id string, err error) {
	pager := c.roles.NewListPager(scope, &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("roleName eq '" + role + "'")})
	definition := ""
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, d := range page.Value {
			definition = *d.ID
		}
	}
	if definition == "" {
		return "", fmt.Errorf("there is no role %q at %s", role, scope)
	}
	made, err := c.assignments.Create(ctx, scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID: &principal, RoleDefinitionID: &definition, PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
		},
	}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
}

// held lists what a principal was given: the roles' names and where, as
// "role at name-of-the-resource".
func (c *cloud) held(ctx context.Context, principal string) ([]string, error) {
	pager := c.assignments.NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{
		Filter: to.Ptr("principalId%20eq%20'" + principal + "'"), // the SDK puts it into the URL as it is
	})
	var out []string
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Value {
			role, err := c.roles.GetByID(ctx, *a.Properties.RoleDefinitionID, nil)
			if err != nil {
				return nil, err
			}
			scope := *a.Properties.Scope
			out = append(out, *role.Properties.RoleName+" at "+scope[strings.LastIndexByte(scope, '/')+1:])
		}
	}
	slices.Sort(out)
	return out, nil
}
