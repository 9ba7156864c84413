package authorization

import (
	"context"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/rbac"
	"github.com/amlocal/amlocal/store"
)

// What a condition may read of a role assignment that is written or deleted,
// by which a right to assign roles is narrowed to some roles or principals.
const (
	ofRequest  = "@request[microsoft.authorization/roleassignments:"
	ofResource = "@resource[microsoft.authorization/roleassignments:"
)

func attributes(of, role, principal, principalType string) azure.AttributeValues {
	values := azure.AttributeValues{}
	for name, value := range map[string]string{
		"roledefinitionid": rbac.RoleGUID(role), "principalid": strings.ToLower(principal), "principaltype": principalType,
	} {
		if value != "" {
			values[of+name+"]"] = []string{value}
		}
	}
	return values
}

// requestAttributes are those of the assignment a body asks for.
func (p *Provider) requestAttributes(r *arm.Request) azure.Attributes {
	body := r.PeekDocument().Object("properties")
	return p.AttributesOf(r.Context(), body.String("roleDefinitionId"), body.String("principalId"), body.String("principalType"))
}

// AttributesOf are those of a request for an assignment. A principal's type is
// the directory's where the request does not say it.
func (p *Provider) AttributesOf(ctx context.Context, role, principal, principalType string) azure.Attributes {
	if principalType == "" {
		_ = p.deps.Documents.View(ctx, func(tx store.ReadTx) error { // unread: it is not there
			who, _ := p.deps.Directory.Principal(tx, strings.ToLower(principal))
			principalType = string(who.Type)
			return nil
		})
	}
	return attributes(ofRequest, role, principal, principalType)
}

// resourceAttributes are those of the assignment that is there.
func (p *Provider) resourceAttributes(r *arm.Request) azure.Attributes {
	var have rbac.Assignment
	err := p.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		rec, ok, err := arm.Get(tx, r.ID.String())
		if ok {
			have = assignmentOf(rec)
		}
		return err
	})
	if err != nil {
		return nil
	}
	return attributes(ofResource, have.RoleDefinitionID, have.PrincipalID, string(have.PrincipalType))
}
