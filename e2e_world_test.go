package amlocal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/internal/covers"
)

// withEndpoints is the usual world with an identity, and endpoints of both
// kinds that stand there from the start.
func withEndpoints(t *testing.T) string {
	t.Helper()
	path := writeWorld(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := "identities: [{name: my-uai}]\nendpoints:\n" +
		"  - {name: standing, tags: {team: red}}\n" +
		"  - {name: standing-too, auth_mode: aad_token, identity: [my-uai]}\n" +
		"principals:\n  users: [{name: alice}]\nassignments:\n" +
		"  - {principal: \"endpoint:standing\", role: Storage Blob Data Contributor, scope: \"container:" + accountOne + "/box\"}\n" +
		"  - {principal: alice, role: AzureML Data Scientist, scope: \"endpoint:standing-too\"}\n"
	if err := os.WriteFile(path, append(text, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWorldEndpoints: a flow begins with the account, the identity and the
// endpoint that a world file made, and a second start makes nothing again.
func TestWorldEndpoints(t *testing.T) {
	covers.C(t, sdk, "R-110")
	dir, ca, world := filepath.Join(t.TempDir(), "state"), t.TempDir(), withEndpoints(t)
	lab := func() *lab {
		return labOf(t, start(t, func(c *Config) { c.Ephemeral, c.StateDir, c.CADir, c.World = false, dir, ca, world }))
	}
	l := lab()
	endpoint := func(name string) armmachinelearning.OnlineEndpoint {
		t.Helper()
		got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if state := *got.Properties.ProvisioningState; state != armmachinelearning.EndpointProvisioningStateSucceeded {
			t.Errorf("%s is %s", name, state)
		}
		return got.OnlineEndpoint
	}
	system, user := endpoint("standing"), endpoint("standing-too")
	if *system.Properties.AuthMode != armmachinelearning.EndpointAuthModeKey || *system.Tags["team"] != "red" || system.Identity.PrincipalID == nil {
		t.Errorf("standing: %+v", system)
	}
	if *user.Properties.AuthMode != armmachinelearning.EndpointAuthModeAADToken || user.Identity.PrincipalID != nil || len(user.Identity.UserAssignedIdentities) != 1 {
		t.Errorf("standing-too: %+v", user)
	}
	// A scope of the file is that endpoint alone.
	alice := l.tokenAs(t, "alice", forManagement)
	for name, want := range map[string]int{"standing": 403, "standing-too": 200} {
		if a := l.armRaw(t, "GET", endpointID(name), alice, ""); a.status != want {
			t.Errorf("alice reads %s: %d %s, want %d", name, a.status, a.body, want)
		}
	}
	// The endpoint's own identity reads what the file lets it read.
	l.owner.deploy(t, "standing", "blue", l.owner.instance(t))
	read := question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt"}
	if got := l.ask(t, "standing", "blue", read); got.Text != helloText {
		t.Errorf("it reads %+v", got)
	}
	read.Container = "sibling"
	if got := l.ask(t, "standing", "blue", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("it reads the sibling: %+v", got)
	}
	closeEmulator(t, l.e)

	l = lab()
	if again := endpoint("standing"); *again.Identity.PrincipalID != *system.Identity.PrincipalID {
		t.Errorf("the second start made it again: %s, was %s", *again.Identity.PrincipalID, *system.Identity.PrincipalID)
	}
	if roles := l.owner.rolesOf(t, *system.Identity.PrincipalID); len(roles) != 4 {
		t.Errorf("its roles are %v, want the three automatic ones and the file's", roles)
	}
}
