package keyvault_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/keyvault"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

// overtaken lets somebody else write just before the next change begins.
type overtaken struct {
	store.Documents
	by func()
}

func (o *overtaken) Update(ctx context.Context, f func(store.Tx) error) error {
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return o.Documents.Update(ctx, f)
}

// TestPermissionModelChangedMeanwhile: a request that changed nothing about the
// permission model when it came, and does once it is its turn, needs the right
// to change it.
func TestPermissionModelChangedMeanwhile(t *testing.T) {
	covers.R(t, "R-714")
	env, n := armtest.New(t), &neighbours{}
	docs := &overtaken{Documents: env.Documents}
	p, err := keyvault.New(keyvault.Deps{Documents: docs, Clock: env.Clock, Secrets: n, Assignments: n, TenantID: armtest.Tenant})
	if err != nil {
		t.Fatal(err)
	}
	s := env.Serve(p.Types())
	owner, contributor := s.Owner(), s.Grant(s.Principal("contributor"), "Contributor", armtest.Group)
	const policies = `{"location":"eastus","properties":{` + some + `,"enableRbacAuthorization":false,"accessPolicies":[]}}`
	s.Want(http.StatusOK, owner, http.MethodPut, vaults+"kv0", policies)
	for _, change := range []struct{ method, body string }{{http.MethodPut, policies}, {http.MethodPatch, `{"properties":{"enableRbacAuthorization":false}}`}} {
		s.Want(http.StatusOK, contributor, change.method, vaults+"kv0", change.body)
		docs.by = func() {
			s.Want(http.StatusOK, owner, http.MethodPatch, vaults+"kv0", `{"properties":{"enableRbacAuthorization":true}}`)
		}
		s.WantError(http.StatusForbidden, "AuthorizationFailed", contributor, change.method, vaults+"kv0", change.body)
		if v, _ := known(t, p, "kv0"); !v.RBAC {
			t.Errorf("%s changed the model", change.method)
		}
		s.Want(http.StatusOK, owner, http.MethodPatch, vaults+"kv0", `{"properties":{"enableRbacAuthorization":false}}`)
	}
}
