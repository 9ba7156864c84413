package machinelearning

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// The built-in roles a system-assigned identity gets with its endpoint.
const (
	roleAcrPull        = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
	roleBlobDataReader = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
	roleMetricsWriter  = "635dd51f-9968-44d3-b7fb-6d9a6bd613ae"
)

// identityWish is what a body asks for.
type identityWish struct {
	kind string   // "SystemAssigned", "UserAssigned" or "SystemAssigned,UserAssigned"
	user []string // ids of user-assigned identities, sorted, canonical
}

// readIdentity reads the identity object; nil body or type means
// system-assigned, the documented default.
func readIdentity(doc arm.Document) (identityWish, error) {
	wish := identityWish{kind: "SystemAssigned"}
	obj := doc.Object("identity")
	if obj == nil {
		return wish, nil
	}
	if kind := strings.ReplaceAll(obj.String("type"), " ", ""); kind != "" {
		canonical, ok := oneOf(strings.ReplaceAll(kind, "_", ""), "SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned", "None")
		if !ok || canonical == "None" {
			return wish, errInvalid("The identity type '%s' is not supported; use SystemAssigned or UserAssigned.", kind)
		}
		wish.kind = canonical
	}
	for id := range obj.Object("userAssignedIdentities") {
		parsed, err := azure.ParseResourceID(id)
		if err != nil || !strings.EqualFold(parsed.Type(), "Microsoft.ManagedIdentity/userAssignedIdentities") {
			return wish, errInvalid("'%s' is not the resource id of a user-assigned identity.", id)
		}
		wish.user = append(wish.user, parsed.String())
	}
	sort.Slice(wish.user, func(i, j int) bool { return strings.ToLower(wish.user[i]) < strings.ToLower(wish.user[j]) })
	switch uses := strings.Contains(wish.kind, "UserAssigned"); {
	case uses && len(wish.user) == 0:
		return wish, errInvalid("identity.userAssignedIdentities must name at least one identity when identity.type is %s.", wish.kind)
	case !uses && len(wish.user) > 0:
		return wish, errInvalid("identity.userAssignedIdentities is only allowed when identity.type includes UserAssigned.")
	}
	return wish, nil
}

// same compares a wish with the identity an endpoint already has.
func (wish identityWish) same(have identityWish) bool {
	if wish.kind != have.kind || len(wish.user) != len(have.user) {
		return false
	}
	for i := range wish.user {
		if !strings.EqualFold(wish.user[i], have.user[i]) {
			return false
		}
	}
	return true
}

// mayAssign checks the caller's right to use each user-assigned identity.
func mayAssign(r *arm.Request, wish identityWish) error {
	for _, id := range wish.user {
		check := azure.Check{Action: "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", Scope: id}
		if d, ok := r.Ask(check); !ok {
			return errLinked(d, r.ID)
		}
	}
	return nil
}

// createIdentity makes the identity object of a new endpoint; a
// system-assigned one gets its automatic roles.
func (p *Provider) createIdentity(tx store.Tx, endpoint azure.ResourceID, ws *arm.Record, wish identityWish, createdBy string, enforced bool) (map[string]any, error) {
	out, system, err := p.makeIdentity(tx, endpoint, ws.Name()+"/onlineEndpoints/"+endpoint.Name(), wish)
	if err == nil && system != nil {
		err = p.grantAutomatic(tx, *system, ws, createdBy, enforced)
	}
	return out, err
}

// makeIdentity makes an identity object, with the service principal of a
// system-assigned one.
func (p *Provider) makeIdentity(tx store.Tx, owner azure.ResourceID, name string, wish identityWish) (out map[string]any, system *azure.Principal, err error) {
	out = map[string]any{"type": wish.kind}
	if strings.Contains(wish.kind, "SystemAssigned") {
		system = &azure.Principal{
			ObjectID: uuid.NewString(), AppID: uuid.NewString(), TenantID: p.deps.TenantID, Type: azure.ServicePrincipal,
			Name: name, ResourceID: owner.String(),
		}
		if err := p.deps.Directory.PutPrincipal(tx, *system); err != nil {
			return nil, nil, err
		}
		out["principalId"], out["tenantId"] = system.ObjectID, system.TenantID
	}
	if len(wish.user) > 0 {
		users := map[string]any{}
		for _, id := range wish.user {
			principal, ok := p.deps.Identities.Identity(tx, id)
			if !ok {
				return nil, nil, errInvalid("The user-assigned identity '%s' does not exist.", id)
			}
			users[principal.ResourceID] = map[string]any{"principalId": principal.ObjectID, "clientId": principal.AppID}
		}
		out["userAssignedIdentities"] = users
	}
	return out, system, nil
}

// grantAutomatic gives a system-assigned identity its three roles: AcrPull on
// the workspace's registry, Storage Blob Data Reader on its default storage
// account, AzureML Metrics Writer on the workspace. With enforced, which is its
// creator's to ask for, it may also read the secrets of the workspace's
// connections.
func (p *Provider) grantAutomatic(tx store.Tx, principal azure.Principal, ws *arm.Record, createdBy string, enforced bool) error {
	type grant struct{ role, scope string }
	grants := []grant{
		{roleAcrPull, ws.Document.String("properties", "containerRegistry")},
		{roleBlobDataReader, ws.Document.String("properties", "storageAccount")},
		{roleMetricsWriter, ws.ID},
	}
	if enforced {
		grants = append(grants, grant{roleSecretsReader, ws.ID})
	}
	for _, g := range grants {
		if g.scope == "" {
			continue
		}
		if _, err := p.deps.Assignments.Assign(tx, principal, g.role, g.scope, createdBy); err != nil {
			var refused *httpx.Error
			if errors.As(err, &refused) && refused.Code == codeAssignmentLimit {
				return errOutOfQuota("The endpoint's identity needs role assignments, and the subscription has no room for them: %s", refused.Message)
			}
			return fmt.Errorf("automatic role assignment at %s: %w", g.scope, err)
		}
	}
	return nil
}

// Identities are the principals an endpoint's instances may act as.
type Identities struct {
	System *azure.Principal
	User   []azure.Principal
}

// First is the identity the control plane itself uses for the endpoint: the
// system-assigned one, else the first user-assigned one.
func (ids Identities) First() (azure.Principal, bool) {
	if ids.System != nil {
		return *ids.System, true
	}
	if len(ids.User) > 0 {
		return ids.User[0], true
	}
	return azure.Principal{}, false
}

// IdentitiesOf finds the identities of the endpoint that a deployment (its
// ARM id) belongs to. Identities deleted meanwhile are left out.
func (p *Provider) IdentitiesOf(ctx context.Context, deployment string) (ids Identities, err error) {
	id, err := azure.ParseResourceID(deployment)
	if err != nil {
		return ids, err
	}
	endpoint, ok := id.Ancestor(endpointType)
	if !ok {
		return ids, fmt.Errorf("%s is not below an online endpoint", deployment)
	}
	err = p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		rec, err := must(tx, endpoint)
		if err != nil {
			return err
		}
		ids = p.identities(tx, rec)
		return nil
	})
	return ids, err
}

func (p *Provider) identities(tx store.ReadTx, endpoint *arm.Record) (ids Identities) {
	if oid := endpoint.Document.String("identity", "principalId"); oid != "" {
		if principal, ok := p.deps.Directory.Principal(tx, oid); ok {
			ids.System = &principal
		}
	}
	users := endpoint.Document.Object("identity", "userAssignedIdentities")
	names := make([]string, 0, len(users))
	for id := range users {
		names = append(names, id)
	}
	sort.Strings(names)
	for _, id := range names {
		// An identity deleted and made again is another principal: the
		// endpoint keeps the one it was given.
		if principal, ok := p.deps.Directory.Principal(tx, users.String(id, "principalId")); ok {
			ids.User = append(ids.User, principal)
		}
	}
	return ids
}
