package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestUpInsideShell starts an emulator in the env shell of another. Its
// instances must not see who is signed in there: DefaultAzureCredential would
// succeed as the owner.
func TestUpInsideShell(t *testing.T) {
	covers.C(t, sdk, "R-206", "R-1001")
	outer := newSite(t)
	outer.start()
	raw, err := outer.command("env", "--format", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var shell map[string]string
	if err := json.Unmarshal(raw, &shell); err != nil {
		t.Fatal(err)
	}
	inner := newSite(t)
	for name, value := range shell {
		inner.extra = append(inner.extra, name+"="+value)
	}
	// And some the shell's user has set by hand.
	inner.extra = append(inner.extra, "AZURE_USERNAME=by-hand", "AZURE_CLIENT_CERTIFICATE_PATH=/by-hand", "AZURE_FEDERATED_TOKEN_FILE=/by-hand",
		"ALL_PROXY=http://by-hand", "IDENTITY_ENDPOINT=http://by-hand", "MSI_SECRET=by-hand", "AWS_SECRET_ACCESS_KEY=by-hand")
	inner.start("--world", inner.world())
	if inner.access().OwnerSecret == outer.access().OwnerSecret {
		t.Fatal("two state folders share the owner's secret")
	}
	o := inner.owner()
	made, err := o.endpoint(t.Context(), "nested")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.deploy(t.Context(), "nested", o.image(t, "instance"), "", map[string]*string{instanceEnv: to.Ptr("1")}); err != nil {
		t.Fatal(err)
	}
	f := ask(t, inner, o.key(t, "nested"))
	if f.Status != 403 || f.Code != "AuthorizationPermissionMismatch" || f.Text != "" {
		t.Errorf("without a role the blob answers %d %s %q: %s", f.Status, f.Code, f.Text, f.Error)
	}
	foreign := []string{shell["HTTPS_PROXY"], shell["AZURE_CLIENT_SECRET"], shell["AZURE_CONFIG_DIR"], outer.home, "by-hand", inner.access().OwnerSecret, inner.access().AdminToken}
	for _, kv := range f.Environment {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "AZURE_") || name == "AMLOCAL_SAVED" || name == "ALL_PROXY" {
			t.Errorf("the instance has %s", name)
		}
		for _, s := range foreign {
			if strings.Contains(value, s) {
				t.Errorf("the instance's %s comes from around the emulator: %s", name, value)
			}
		}
	}

	// The answer to the refusal does it.
	if why, err := inner.run("why"); err != nil || !strings.Contains(why, "Storage Blob Data Reader") || !strings.Contains(why, "nested/blue") {
		t.Errorf("why: %v\n%s", err, why)
	}
	if err := o.grant(t.Context(), uuid.NewString(), *made.Identity.PrincipalID, blobReader, boxScope); err != nil {
		t.Fatal(err)
	}
	if f = ask(t, inner, o.key(t, "nested")); f.Text != helloText {
		t.Errorf("with the role: %+v", f)
	}

	// The outer one runs on, and has not been asked for anything.
	if why, err := outer.run("why"); err == nil || !strings.Contains(why, "nothing was refused") {
		t.Errorf("the outer emulator's why: %v\n%s", err, why)
	}
	if _, err := os.Stat(outer.state); err != nil {
		t.Error(err)
	}
}

func ask(t *testing.T, s *site, key string) (f findings) {
	t.Helper()
	status, body := s.score("nested", key)
	if err := json.Unmarshal([]byte(body), &f); status != 200 || err != nil {
		t.Fatalf("the instance answers %d %s", status, body)
	}
	return f
}
