package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// signInAs gives a script a user with a password, and a managed identity with
// its token for exchange.
func signInAs(t *testing.T, cmd *exec.Cmd, name string) *exec.Cmd {
	t.Helper()
	e := labOf(t).emulator
	user, err := e.AddPrincipal(t.Context(), amlocal.NewPrincipal{Type: "user", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddMember(t.Context(), "signers", user.ObjectID); err != nil { // who may read the subscription
		t.Fatal(err)
	}
	identity, err := labOf(t).identity(t, name+"-identity")
	if err != nil {
		t.Fatal(err)
	}
	token, err := e.Token(t.Context(), identity.ObjectID, "api://AzureADTokenExchange")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, user.UserPrincipalName)
	cmd.Env = append(cmd.Env, "USER_PASSWORD="+user.Password, "IDENTITY="+identity.ObjectID, "IDENTITY_TOKEN="+token.Raw)
	return cmd
}

func TestPythonSignIn(t *testing.T) {
	t.Parallel()
	covers.C(t, "azure-identity (Python)", "R-315", "R-316")
	cmd := signInAs(t, labOf(t).command(t, filepath.Join(python(t, "python"), "python"), script("python", "signin.py")), "py-signin")
	got := run(t, cmd)
	const arm = "https://management.azure.com"
	client, upn := got.text("client"), "py-signin@"+azure.SeedTenantDomain
	got.want(t, map[string]any{
		"certificate": []string{client, "2", arm}, "chain": []string{client, "2", arm}, "assertion": []string{client, "2", arm}, "workload": []string{client, "2", arm},
		"password": []string{upn, "0", arm}, "refreshed": []string{upn, "0", "https://storage.azure.com"},
		"device": []string{upn, "0", arm}, "browser": []string{upn, "0", arm},
	})
	got.wantText(t, "strange", "AADSTS700027")
	got.wantText(t, "mismatch", "AADSTS70021")
	got.wantText(t, "wrong", "AADSTS50126")
}

func TestAzSignIn(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-315", "R-316")
	got := run(t, signInAs(t, azCommand(t, "signin.sh", "az-signin-app"), "az-signin"))
	user := []map[string]string{{"name": "az-signin@" + azure.SeedTenantDomain, "type": "user"}}
	got.want(t, map[string]any{
		"keys": []string{"AsymmetricX509Cert"}, "trust": "identity", "certificate": []string{"servicePrincipal"}, "federated": []string{"servicePrincipal"},
		"group": "eastus", "federatedGroup": "eastus", "password": user, "device": user, "deviceGroup": "eastus", "token": "Bearer",
		"me": user[0]["name"], "gone": nil, "identityTrusted": []string{"outside"},
	})
	if outside := labIdentity(t, "az-outside-identity"); !slices.Equal(got.texts("identity"), []string{outside.ClientID}) {
		t.Errorf("the identity from outside is %v, want %s", got["identity"], outside.ClientID)
	}
	got.wantText(t, "page", "is signed in to Microsoft Azure CLI")
	for key, want := range map[string]string{"wrongPassword": "AADSTS50126", "refused": "AADSTS700027"} {
		failure, _ := got[key].(map[string]any)
		if text, _ := failure["error"].(string); failure["exit"] != 1.0 || !strings.Contains(text, want) {
			t.Errorf("%s is %v, want exit 1 and %s", key, got[key], want)
		}
	}
}
