package amlocal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/process/sandbox"
)

// platformVars are all the variables a bring-your-own instance of these tests
// may see.
var platformVars = []string{
	"PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", "AMLOCAL_PORT_8080", "AMLOCAL_INSTANCE",
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
	"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
	"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "DEFAULT_IDENTITY_CLIENT_ID",
	instanceEnv,
}

// TestNothingLeaksIntoInstances starts an emulator inside the `env` shell of
// another one, with credentials of every kind around it.
func TestNothingLeaksIntoInstances(t *testing.T) {
	covers.C(t, sdk, "R-107", "R-206", "R-502", "R-503", "R-504", "R-516", "R-1001")
	outer := newLab(t, nil)
	canary := map[string]string{}
	for _, v := range outer.e.Access().Env(os.LookupEnv) {
		if v.Name != "SSL_CERT_FILE" && v.Name != "AZURE_LOCATION" && !strings.Contains(strings.ToUpper(v.Name), "NO_PROXY") {
			canary[v.Name] = v.Value
		}
		t.Setenv(v.Name, v.Value)
	}
	for _, name := range []string{
		"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "DEFAULT_IDENTITY_CLIENT_ID",
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING",
		"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX", "ALL_PROXY", "all_proxy", "LD_PRELOAD_NOT", "GODEBUG_NOT", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK",
		"STORAGE_ACCOUNT_NAME", "UAI_CLIENT_ID", "AMLOCAL_SAVED", "SSL_CERT_DIR",
	} {
		canary[name] = "leaked-" + strings.ToLower(name)
		t.Setenv(name, canary[name])
	}
	l := newLab(t, nil)
	made := l.owner.endpoint(t, "tight", wish(nil))
	l.owner.deploy(t, "tight", "blue", l.owner.instance(t))
	env := environment(l.ask(t, "tight", "blue", question{Do: "environment"}).Environment)
	sandboxed := strings.HasPrefix(l.e.Status().Isolation, "sandboxed")
	for name, value := range env {
		// Java reads proxy and trust store from there and nowhere else.
		if !slices.Contains(platformVars, name) && name != "JAVA_TOOL_OPTIONS" {
			t.Errorf("the instance sees %s", name)
		}
		for from, secret := range canary {
			if from != "HOME" && from != "PATH" && secret != "" && strings.Contains(value, secret) {
				t.Errorf("the instance's %s is the surrounding shell's %s", name, from)
			}
		}
	}
	base := l.e.Access().URL()
	if sandboxed {
		base = "http://" + sandbox.IdentityAddress
	}
	if !strings.HasPrefix(env["MSI_ENDPOINT"], base+"/") || strings.ContainsAny(env["MSI_ENDPOINT"], "?#") || env["IDENTITY_ENDPOINT"] != env["MSI_ENDPOINT"] {
		t.Errorf("MSI_ENDPOINT is %s", env["MSI_ENDPOINT"])
	}
	if len(env["MSI_SECRET"]) < 16 || env["IDENTITY_HEADER"] != env["MSI_SECRET"] {
		t.Error("MSI_SECRET is no secret")
	}
	for _, chain := range []bool{false, true} {
		got := l.ask(t, "tight", "blue", question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt", Chain: chain})
		if got.Code != "AuthorizationPermissionMismatch" || got.Text != "" {
			t.Errorf("without a role (whole chain: %v): %+v", chain, got)
		}
		token := l.ask(t, "tight", "blue", question{Do: "token", Resource: forStorage, Chain: chain})
		if token.Error != "" || claimsOf(t, token.Text)["oid"] != *made.Identity.PrincipalID {
			t.Errorf("whole chain: %v: a token of %v (%s), want %s", chain, claimsOf(t, token.Text)["oid"], token.Error, *made.Identity.PrincipalID)
		}
	}
	l.owner.grant(t, *made.Identity.PrincipalID, "Storage Blob Data Reader", containerID(accountOne, "box"))
	if got := l.ask(t, "tight", "blue", question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt", Chain: true}); got.Text != helloText {
		t.Errorf("with the role: %+v", got)
	}
}

func TestIdentityVariables(t *testing.T) {
	covers.C(t, sdk, "R-503", "R-509", "R-510", "R-505")
	for setting, want := range map[machinelearning.IdentityEnv][]string{
		machinelearning.IdentityBoth: {"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET"},
		machinelearning.IdentityMSI:  {"MSI_ENDPOINT", "MSI_SECRET"},
		machinelearning.IdentityApp:  {"IDENTITY_ENDPOINT", "IDENTITY_HEADER"},
	} {
		t.Run(string(setting), func(t *testing.T) {
			l := newLab(t, func(c *Config) { c.IdentityEnv = setting })
			uai := l.owner.uai(t, "mine")
			ends := map[string]string{"sai": "", "uai": *uai.Properties.ClientID}
			principals := []string{*l.owner.endpoint(t, "sai", wish(nil)).Identity.PrincipalID, *uai.Properties.PrincipalID}
			l.owner.endpoint(t, "uai", wish(asUser(*uai.ID)))
			for _, p := range principals {
				l.owner.grant(t, p, "Storage Blob Data Reader", accountID(accountOne))
			}
			for endpoint, client := range ends {
				l.owner.deploy(t, endpoint, "blue", l.owner.instance(t))
				env := environment(l.ask(t, endpoint, "blue", question{Do: "environment"}).Environment)
				var got []string
				for name := range env {
					if strings.HasPrefix(name, "MSI_") || strings.HasPrefix(name, "IDENTITY_") {
						got = append(got, name)
					}
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("%s: %v, want %v", endpoint, got, want)
				}
				if got := l.ask(t, endpoint, "blue", question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt", ClientID: client}); got.Text != helloText {
					t.Errorf("%s reads: %+v", endpoint, got)
				}
			}
		})
	}
}

// TestSecretsOfInstances: one instance's secret is no other's, and none that
// is wrong is taken.
func TestSecretsOfInstances(t *testing.T) {
	covers.R(t, "R-503", "R-511", "R-1004", "R-1008", "R-1009")
	l := newLab(t, nil)
	secrets := map[string]bool{}
	endpoint := ""
	for _, name := range []string{"one", "two"} {
		l.owner.endpoint(t, name, wish(nil))
		for _, d := range []string{"blue", "green"} {
			l.owner.deploy(t, name, d, l.owner.instance(t))
			env := environment(l.ask(t, name, d, question{Do: "environment"}).Environment)
			endpoint = env["MSI_ENDPOINT"]
			secrets[env["MSI_SECRET"]] = true
			if a := l.identityEndpoint(t, endpoint, env["MSI_SECRET"]); a.status != 200 {
				t.Errorf("%s/%s: %d %s", name, d, a.status, a.body)
			}
		}
	}
	if len(secrets) != 4 {
		t.Errorf("%d secrets for 4 instances", len(secrets))
	}
	for _, wrong := range []string{"", "wrong", l.e.Access().OwnerSecret, l.e.Access().AdminToken} {
		if a := l.identityEndpoint(t, endpoint, wrong); a.status != 401 || strings.Contains(a.body, "access_token") {
			t.Errorf("secret %q: %d %s", wrong, a.status, a.body)
		}
	}
	// The files of the state folder that others could read hold no secret.
	_ = filepath.WalkDir(l.e.config.StateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil // sockets, and what ended meanwhile
		}
		// What it takes to take an instance over is its user's alone.
		if info, err := d.Info(); d.Name() == "process.json" && err == nil && info.Mode().Perm() == 0o600 {
			return nil
		}
		for secret := range secrets {
			if strings.Contains(string(raw), secret) {
				t.Errorf("%s holds an instance's secret", path)
			}
		}
		return nil
	})
}
