package authorization

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/rbac"
)

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

func newGUID() string { return uuid.NewString() }

// isGUID accepts the one spelling Azure does: five groups with dashes.
func isGUID(s string) bool {
	_, err := uuid.Parse(s)
	return err == nil && len(s) == 36
}

// roleID is a role definition's id as assignments and lists spell it: below the
// subscription of the scope, or tenant-wide.
func roleID(scope, guid string) string {
	segs := strings.Split(strings.Trim(scope, "/"), "/")
	base := "/"
	if len(segs) > 1 && strings.EqualFold(segs[0], "subscriptions") {
		base = "/subscriptions/" + segs[1]
	}
	return extensionID(base, definitionType, rbac.RoleGUID(guid))
}

// definitionBody is a role definition as served at a scope. rec is nil for a
// built-in role.
func definitionBody(scope string, def rbac.Definition, rec *arm.Record) arm.Document {
	properties := arm.Document{}
	if rec != nil {
		properties = rec.Document.Clone().Object("properties")
	}
	properties = properties.Merge(arm.Document{
		"roleName": def.Name, "type": string(def.Type), "description": def.Description,
		"assignableScopes": def.AssignableScopes, "permissions": def.Permissions,
	})
	for _, name := range []string{"createdOn", "updatedOn", "createdBy", "updatedBy"} {
		properties.Default(nil, name)
	}
	return arm.Document{"id": roleID(scope, def.ID), "name": def.ID, "type": definitionType, "properties": properties}
}
