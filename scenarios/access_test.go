package scenarios

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"

	"github.com/amlocal/amlocal"
)

// TestAccessReportOfTheFlow: the report of the documented flow, given to a
// fresh endpoint in place of every role it has, makes the flow pass; without
// any one line of it the deployment fails.
func TestAccessReportOfTheFlow(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ctx := t.Context()
	f := flowOf(t, s, "sai", "go")
	must(t, f.permit(ctx))
	must(t, f.serve(ctx))
	reports, err := s.emulator.AccessReport(ctx, f.principal)
	must(t, err)
	if len(reports) != 1 || len(reports[0].Roles) < 2 || len(reports[0].Without) != 0 {
		t.Fatalf("report %+v", reports)
	}
	roles := reports[0].Roles

	d, err := loadEndpoint(f.file(f.scenario.endpointFile), "name=fresh-endpoint")
	must(t, err)
	made, err := f.cloud.createEndpoint(ctx, d)
	must(t, err)
	fresh := *f
	fresh.endpoint, fresh.principal = d.Name, *made.Identity.PrincipalID
	try := func(lines []amlocal.RoleLine) error {
		fresh.strip(ctx, t)
		for _, l := range lines {
			grant(t, &fresh, l.Role, l.Scope)
		}
		err := fresh.deploy(ctx, "blue")
		if err != nil {
			must(t, fresh.cloud.deleteDeployment(ctx, fresh.endpoint, "blue"))
		}
		return err
	}
	for i, left := range roles {
		lines := append(append([]amlocal.RoleLine{}, roles[:i]...), roles[i+1:]...)
		if try(lines) == nil {
			t.Fatalf("it works without %s at %s", left.Role, left.Scope)
		}
	}
	if err := try(roles); err != nil {
		t.Fatalf("with %+v: %v", roles, err)
	}
	must(t, fresh.cloud.allTraffic(ctx, fresh.endpoint, "blue"))
	must(t, fresh.readLog(ctx, "blue"))
	must(t, fresh.scoreStep(ctx, "score", ""))
}

// strip takes every role from the flow's identity.
func (f *flow) strip(ctx context.Context, t *testing.T) {
	t.Helper()
	pager := f.cloud.assignments.NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{
		Filter: to.Ptr("principalId%20eq%20'" + f.principal + "'"),
	})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		must(t, err)
		for _, a := range page.Value {
			revoke(t, f, *a.ID)
		}
	}
}
