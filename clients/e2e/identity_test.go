package e2e

import (
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/internal/covers"
)

// onMachine gives a script's environment a managed identity in place of the
// owner's sign-in.
func onMachine(t *testing.T, cmd *exec.Cmd, identity amlocal.PrincipalInfo, dialect string) *exec.Cmd {
	t.Helper()
	e := labOf(t).emulator
	shell, err := e.ShellIdentity(t.Context(), identity.ObjectID)
	if err != nil {
		t.Fatal(err)
	}
	vars, without, err := e.Access().EnvAs(shell, dialect, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vars {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value) // the last one counts
	}
	cmd.Env = slices.DeleteFunc(cmd.Env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(without, name)
	})
	return cmd
}

func labIdentity(t *testing.T, name string) amlocal.PrincipalInfo {
	t.Helper()
	p, err := labOf(t).identity(t, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAzLoginIdentity(t *testing.T) {
	t.Parallel()
	covers.C(t, azureCLI, "R-315", "R-316", "R-319", "R-320")
	for _, dialect := range []string{amlocal.DialectVM, amlocal.DialectCompute} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			mine, other := labIdentity(t, "machine-"+dialect), labIdentity(t, "az-signin-identity")
			got := run(t, onMachine(t, azCommand(t, "identity.sh", mine.ClientID, mine.ResourceID, other.ClientID), mine, dialect))
			user := []map[string]string{{"assignedIdentityInfo": "MSI", "name": "systemAssignedIdentity", "type": "servicePrincipal"}}
			got.want(t, map[string]any{"login": user, "group": "eastus", "byClient": []string{"servicePrincipal"}})
			if dialect == amlocal.DialectVM { // on a compute instance msal has no resource id to send
				got.want(t, map[string]any{"byResource": []string{"servicePrincipal"}})
			}
			raw, err := base64.RawURLEncoding.DecodeString(strings.Split(got.text("token")+"..", ".")[1])
			var claims struct{ Aud, OID string }
			if err != nil || json.Unmarshal(raw, &claims) != nil || claims.OID != mine.ObjectID || claims.Aud != "https://management.azure.com" {
				t.Errorf("token %s %v", raw, err)
			}
			if failure, _ := got["stranger"].(map[string]any); failure["exit"] != 1.0 {
				t.Errorf("another machine's identity: %v", got["stranger"])
			}
		})
	}
}

func TestPythonMachineIdentity(t *testing.T) {
	t.Parallel()
	covers.C(t, "azure-identity (Python)", "R-315", "R-319", "R-320")
	for _, dialect := range []string{amlocal.DialectVM, amlocal.DialectCompute, amlocal.DialectApp} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			mine, other := labIdentity(t, "machine-vm"), labIdentity(t, "az-signin-identity")
			cmd := labOf(t).command(t, filepath.Join(python(t, "python"), "python"), script("python", "identity.py"), mine.ClientID, other.ClientID)
			got := run(t, onMachine(t, cmd, mine, dialect))
			me := []string{mine.ClientID, "https://management.azure.com"}
			got.want(t, map[string]any{"default": me, "machine": me, "byClient": me})
			if got.text("stranger") == "" {
				t.Errorf("another machine's identity: %v", got["stranger"])
			}
		})
	}
}
