package amlocal

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

const csr = "Azure Machine Learning Workspace Connection Secrets Reader"

// enforcing asks for the automatic role on connections' secrets.
func enforcing(value string) func(*armmachinelearning.OnlineEndpoint) {
	return func(e *armmachinelearning.OnlineEndpoint) {
		e.Properties.Properties = map[string]*string{"enforce_access_to_default_secret_stores": to.Ptr(value)}
	}
}

// asking is a deployment of this test binary with these variables.
func (s *session) asking(t *testing.T, variables map[string]string) armmachinelearning.OnlineDeployment {
	t.Helper()
	body := s.instance(t)
	for name, value := range variables {
		body.Properties.(*armmachinelearning.ManagedOnlineDeployment).EnvironmentVariables[name] = to.Ptr(value)
	}
	return body
}

// sees is the environment of a deployment's instance.
func (l *lab) sees(t *testing.T, endpoint, deployment string) map[string]string {
	t.Helper()
	return environment(l.ask(t, endpoint, deployment, question{Do: "environment"}).Environment)
}

func ref(inner string) string { return "${{azureml://connections/" + inner + "}}" }

// TestConnectionInjection: each documented form, for both kinds of identity and
// both ways to the role.
func TestConnectionInjection(t *testing.T) {
	covers.C(t, sdk, "R-213", "R-220", "R-221", "R-704", "R-705", "R-706", "R-707", "R-709", "R-710", "R-711")
	l := newLab(t, nil)
	l.owner.custom(t, "mine", map[string]string{"PASS_WORD": "injected-pass-word"}, map[string]string{"BASE": "https://base.example/?a=1&b=2"})
	uai := l.owner.uai(t, "mine")
	l.owner.grant(t, *uai.Properties.PrincipalID, csr, seedWorkspace)
	l.owner.endpoint(t, "by-uai", wish(asUser(*uai.ID)))
	l.owner.endpoint(t, "by-flag", wish(enforcing("enabled")))
	byHand := l.owner.endpoint(t, "by-hand", wish(nil))
	l.owner.grant(t, *byHand.Identity.PrincipalID, csr, seedWorkspace)

	variables := map[string]string{
		"WHOLE": ref("mine"), "CREDENTIAL": ref("MINE/credentials/PASS_WORD"), "METADATA": ref("mine/metadata/BASE"), "TARGET": ref("mine/target"),
		"LITERAL": "a literal with $, {, } and azureml://connections/mine/target",
	}
	for _, endpoint := range []string{"by-flag", "by-hand", "by-uai"} {
		t.Run(endpoint, func(t *testing.T) {
			l.owner.deploy(t, endpoint, "blue", l.owner.asking(t, variables))
			env := l.sees(t, endpoint, "blue")
			for name, want := range map[string]string{"CREDENTIAL": "injected-pass-word", "METADATA": "https://base.example/?a=1&b=2", "TARGET": "https://custom.example/", "LITERAL": variables["LITERAL"]} {
				if env[name] != want {
					t.Errorf("%s=%q, want %q", name, env[name], want)
				}
			}
			var whole arm.Document
			if err := json.Unmarshal([]byte(env["WHOLE"]), &whole); err != nil || whole.String("properties", "credentials", "keys", "PASS_WORD") != "injected-pass-word" || whole.String("name") != "mine" {
				t.Errorf("WHOLE=%s (%v)", env["WHOLE"], err)
			}
			// show keeps the references, and so does an update of what it shows.
			got, err := l.owner.deployments(t).Get(t.Context(), groupName, wsName, endpoint, "blue", nil)
			if err != nil {
				t.Fatal(err)
			}
			shown := got.Properties.GetOnlineDeploymentProperties().EnvironmentVariables
			for name, want := range variables {
				if *shown[name] != want {
					t.Errorf("show has %s=%s", name, *shown[name])
				}
			}
			got.Tags = map[string]*string{"again": to.Ptr("yes")}
			l.owner.deploy(t, endpoint, "blue", got.OnlineDeployment)
			if env := l.sees(t, endpoint, "blue"); env["CREDENTIAL"] != "injected-pass-word" {
				t.Errorf("after the update CREDENTIAL=%s", env["CREDENTIAL"])
			}
			entry := l.lastOf(t, "machinelearning.InjectConnectionSecrets", endpoint+"/blue")
			if d := entry.Decisions[0]; !d.Allowed || d.Check.Scope != seedWorkspace || !strings.HasSuffix(entry.Path, "/connections/mine/listsecrets") && !strings.HasSuffix(entry.Path, "/connections/MINE/listsecrets") {
				t.Errorf("%+v", entry)
			}
		})
	}
	t.Run("values are read at the operation, not before or after", func(t *testing.T) {
		l.owner.custom(t, "mine", map[string]string{"PASS_WORD": "injected-second"}, map[string]string{"BASE": "b"})
		if env := l.sees(t, "by-uai", "blue"); env["CREDENTIAL"] != "injected-pass-word" {
			t.Errorf("a running instance has CREDENTIAL=%s", env["CREDENTIAL"])
		}
		l.owner.deploy(t, "by-uai", "blue", l.owner.asking(t, variables))
		if env := l.sees(t, "by-uai", "blue"); env["CREDENTIAL"] != "injected-second" {
			t.Errorf("the next revision has CREDENTIAL=%s", env["CREDENTIAL"])
		}
	})
	l.unseen(t, "injected-pass-word", "injected-second")
}

// lastOf is the newest audit entry of an operation for an instance.
func (l *lab) lastOf(t *testing.T, operation, instance string) audit.Entry {
	t.Helper()
	for _, entry := range l.e.audit.Recent(2000, false) {
		if entry.Operation == operation && entry.Instance == instance {
			return entry
		}
	}
	t.Fatalf("no %s for %s", operation, instance)
	return audit.Entry{}
}

// unseen wants the values nowhere in clear: not in a file of the state folder,
// not in a deployment's log, not in the audit log, not in what explains it.
func (l *lab) unseen(t *testing.T, values ...string) {
	t.Helper()
	l.nowhere(t, values...)
	entries := l.e.audit.Recent(2000, false)
	raw, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	for _, entry := range entries {
		Explain(&told, entry)
	}
	texts := map[string]string{"the audit log": string(raw), "why": told.String()}
	for _, d := range l.e.Status().Deployments {
		endpoint, name, _ := strings.Cut(d.Name, "/")
		for _, kind := range armmachinelearning.PossibleContainerTypeValues() {
			texts["the log "+string(kind)+" of "+d.Name] = l.owner.logs(t, endpoint, name, kind)
		}
	}
	status, err := json.Marshal(l.e.Status())
	if err != nil {
		t.Fatal(err)
	}
	texts["status"] = string(status)
	for where, text := range texts {
		for _, value := range values {
			if strings.Contains(text, value) {
				t.Errorf("%s holds %q", where, value)
			}
		}
	}
}

// TestInjectedAgain: the values outlive the emulator, sealed, and an instance
// that starts again has them although the role and the connection are gone.
func TestInjectedAgain(t *testing.T) {
	covers.C(t, sdk, "R-704", "R-705", "R-711")
	dir, ca := t.TempDir(), t.TempDir()
	first := newLab(t, func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca })
	first.owner.custom(t, "mine", map[string]string{"KEY": "lasting-secret"}, nil)
	made := first.owner.endpoint(t, "lasting", wish(nil))
	assignment := first.owner.grant(t, *made.Identity.PrincipalID, csr, seedWorkspace)
	first.owner.deploy(t, "lasting", "green", first.owner.asking(t, map[string]string{"KEY": ref("mine/credentials/KEY")}))
	first.owner.revoke(t, assignment)
	if _, err := first.owner.connections(t).Delete(t.Context(), groupName, wsName, "mine", nil); err != nil {
		t.Fatal(err)
	}
	first.nowhere(t, "lasting-secret")
	closeEmulator(t, first.e)
	first.nowhere(t, "lasting-secret")

	second := labOf(t, start(t, func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca }))
	second.eventually(t, "green", envQuestion)
	if env := second.sees(t, "lasting", "green"); env["KEY"] != "lasting-secret" {
		t.Errorf("after the restart KEY=%q", env["KEY"])
	}
	second.unseen(t, "lasting-secret")
}

// TestInjectionRefused: every documented failure has the one code, and its
// message names variable, reference and identity, never a value.
func TestInjectionRefused(t *testing.T) {
	covers.C(t, sdk, "R-214", "R-1054", "R-1055")
	l := newLab(t, nil)
	l.owner.custom(t, "mine", map[string]string{"KEY": "refused-secret"}, map[string]string{"BASE": "b"})
	plain := l.owner.endpoint(t, "plain", wish(enforcing("disabled")))
	rich := l.owner.endpoint(t, "rich", wish(enforcing("Enabled")))
	fails := func(t *testing.T, endpoint, value string, texts ...string) {
		t.Helper()
		err := l.owner.tryDeploy(t, endpoint, "blue", l.owner.asking(t, map[string]string{"ASKED": value}))
		wantCode(t, err, "SecretsInjectionError", append(texts, "ASKED")...)
		if got := l.owner.stateOf(t, endpoint, "blue"); got != "Failed" {
			t.Errorf("the state is %s", got)
		}
		if log := l.owner.logs(t, endpoint, "blue", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, "ASKED") {
			t.Errorf("the log says nothing:\n%s", log)
		}
		if err := l.owner.deleteDeployment(t, endpoint, "blue"); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		value string
		texts []string
	}{
		"unknown connection": {ref("other/target"), []string{"connection 'other'"}},
		"unknown credential": {ref("mine/credentials/NOKEY"), []string{"no credential 'NOKEY'"}},
		"credential's case":  {ref("mine/credentials/key"), []string{"no credential 'key'"}},
		"unknown metadata":   {ref("mine/metadata/KEY"), []string{"no metadata 'KEY'"}},
		"malformed":          {ref("mine/credential/KEY"), []string{"it is none of"}},
		"a part of the text": {"Bearer " + ref("mine/credentials/KEY"), []string{"whole value"}},
		"no version":         {"${{keyvault:https://" + azure.SeedKeyVault + ".vault.azure.net/secrets/s}}", []string{"a version"}},
	} {
		t.Run(name, func(t *testing.T) { fails(t, "rich", tt.value, append(tt.texts, *rich.Identity.PrincipalID)...) })
	}
	for name, part := range map[string]string{"whole": "", "credential": "/credentials/KEY", "metadata": "/metadata/BASE", "target": "/target"} {
		t.Run("no role for "+name, func(t *testing.T) {
			fails(t, "plain", ref("mine"+part), "listsecrets/action", csr, seedWorkspace, *plain.Identity.PrincipalID, "mine")
		})
	}
	t.Run("wrong roles", func(t *testing.T) {
		for role, scope := range map[string]string{"Reader": seedWorkspace, "Storage Blob Data Reader": seedGroup, csr: connectionID("mine")} {
			assignment := l.owner.grant(t, *plain.Identity.PrincipalID, role, scope)
			fails(t, "plain", ref("mine/target"), csr)
			l.owner.revoke(t, assignment)
		}
	})
	t.Run("why mends it", func(t *testing.T) {
		lines := l.mended(t, func() (string, error) {
			err := l.owner.tryDeploy(t, "plain", "blue", l.owner.asking(t, map[string]string{"ASKED": ref("mine/credentials/KEY")}))
			if err == nil {
				return "", nil
			}
			if err := l.owner.deleteDeployment(t, "plain", "blue"); err != nil {
				t.Fatal(err)
			}
			denial, ok := l.e.LastDenial()
			if !ok || denial.Caller.Principal.ObjectID != *plain.Identity.PrincipalID || denial.Instance != "plain/blue" {
				t.Fatalf("the last refusal is %+v", denial)
			}
			return denial.RequestID, err
		})
		if len(lines) != 1 || !strings.Contains(lines[0], csr) || !strings.Contains(lines[0], "--scope "+seedWorkspace) {
			t.Errorf("it took %q", lines)
		}
		if env := l.sees(t, "plain", "blue"); env["ASKED"] != "refused-secret" {
			t.Errorf("ASKED=%s", env["ASKED"])
		}
	})
	l.unseen(t, "refused-secret")
}

// TestFailedUpdateKeepsValues: the revision that serves keeps its values when an
// update cannot get its own.
func TestFailedUpdateKeepsValues(t *testing.T) {
	covers.C(t, sdk, "R-1055", "R-711")
	l := newLab(t, nil)
	l.owner.custom(t, "mine", map[string]string{"KEY": "kept-secret"}, nil)
	l.owner.endpoint(t, "plain", wish(enforcing("enabled")))
	l.owner.deploy(t, "plain", "blue", l.owner.asking(t, map[string]string{"KEY": ref("mine/credentials/KEY")}))
	err := l.owner.tryDeploy(t, "plain", "blue", l.owner.asking(t, map[string]string{"KEY": ref("gone/credentials/KEY")}))
	wantCode(t, err, "SecretsInjectionError", "connection 'gone'")
	if env := l.sees(t, "plain", "blue"); env["KEY"] != "kept-secret" {
		t.Errorf("KEY=%s", env["KEY"])
	}
}

// TestEnforcedSecretStores: with the property the creator's own permission
// decides, at the endpoint and at each deployment.
func TestEnforcedSecretStores(t *testing.T) {
	covers.C(t, sdk, "R-213", "R-214", "R-215", "R-218", "R-219", "R-220", "R-222", "R-712", "R-715", "R-1051", "R-1052", "R-1053")
	l := newLab(t, nil)
	everything := []string{"Microsoft.MachineLearningServices/workspaces/*", "Microsoft.ManagedIdentity/*"}
	narrow := l.principal("without listsecrets")
	l.customRole(t, narrow.oid, "All but secrets", seedGroup, everything, "Microsoft.MachineLearningServices/workspaces/connections/listsecrets/action")
	before := l.principals(t)
	flag := func(name string) string {
		got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := got.Properties.Properties["enforce_access_to_default_secret_stores"]; v != nil {
			return *v
		}
		return ""
	}

	t.Run("creator without the permission", func(t *testing.T) {
		_, err := narrow.tryEndpoint(t.Context(), t, "refused", wish(enforcing("enabled")))
		wantError(t, err, 403, "AuthorizationFailed", narrow.oid, "connections/listsecrets/action", seedWorkspace)
		_, err = l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "refused", nil)
		wantError(t, err, 404, "ResourceNotFound")
		if n := l.principals(t); n != before {
			t.Errorf("%d principals were left", n-before)
		}
	})
	t.Run("user-assigned identity", func(t *testing.T) {
		uai := l.owner.uai(t, "mine")
		_, err := l.owner.tryEndpoint(t.Context(), t, "refused", wish(func(e *armmachinelearning.OnlineEndpoint) {
			asUser(*uai.ID)(e)
			enforcing("enabled")(e)
		}))
		wantError(t, err, 400, "BadRequest", "system-assigned")
		l.owner.endpoint(t, "uai-off", wish(func(e *armmachinelearning.OnlineEndpoint) {
			asUser(*uai.ID)(e)
			enforcing("disabled")(e)
		}))
		if roles := l.owner.rolesOf(t, *uai.Properties.PrincipalID); len(roles) != 0 {
			t.Errorf("roles %v", roles)
		}
		if _, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, "refused", nil); err == nil {
			t.Error("the endpoint was made")
		}
	})
	t.Run("no such value", func(t *testing.T) {
		_, err := l.owner.tryEndpoint(t.Context(), t, "refused", wish(enforcing("yes")))
		wantError(t, err, 400, "BadRequest", "enabled or disabled")
	})
	three := []string{"AcrPull", "AzureML Metrics Writer (preview)", "Storage Blob Data Reader"}
	t.Run("off needs nothing and gives nothing", func(t *testing.T) {
		for name, change := range map[string]func(*armmachinelearning.OnlineEndpoint){"unset": nil, "off": enforcing("disabled")} {
			made := narrow.endpoint(t, name, wish(change))
			if roles := slices.Sorted(maps.Keys(l.owner.rolesOf(t, *made.Identity.PrincipalID))); !slices.Equal(roles, three) {
				t.Errorf("%s: roles %v", name, roles)
			}
		}
		if flag("off") != "disabled" || flag("unset") != "" {
			t.Errorf("read back as %q and %q", flag("off"), flag("unset"))
		}
		narrow.deploy(t, "off", "blue", l.owner.instance(t))
	})
	t.Run("on gives the role", func(t *testing.T) {
		for _, role := range []string{"AzureML Data Scientist", "Contributor"} { // both by wildcard
			name := strings.ToLower(strings.ReplaceAll(role, " ", "-"))
			s := l.principal(name)
			l.owner.grant(t, s.oid, role, seedWorkspace)
			made := s.endpoint(t, name, wish(enforcing("enabled")))
			roles := l.owner.rolesOf(t, *made.Identity.PrincipalID)
			if len(roles) != 4 || !strings.EqualFold(roles[csr], seedWorkspace) {
				t.Errorf("%s: roles %v", role, roles)
			}
			if flag(name) != "enabled" {
				t.Errorf("read back as %q", flag(name))
			}
		}
	})
	t.Run("deployments of others", func(t *testing.T) {
		l.owner.endpoint(t, "shared", wish(enforcing("enabled")))
		err := narrow.tryDeploy(t, "shared", "blue", l.owner.instance(t))
		wantError(t, err, 403, "AuthorizationFailed", narrow.oid, "connections/listsecrets/action")
		if got := l.owner.stateOf(t, "shared", "blue"); got != "" {
			t.Errorf("the deployment is %s", got)
		}
		l.owner.deploy(t, "shared", "blue", l.owner.instance(t))
		l.mended(t, func() (string, error) { return whyOf(narrow.tryDeploy(t, "shared", "green", l.owner.instance(t))) })
	})
	t.Run("references in an endpoint's definition stay text", func(t *testing.T) {
		made := l.owner.endpoint(t, "texts", wish(func(e *armmachinelearning.OnlineEndpoint) {
			e.Properties.Properties = map[string]*string{"asked": to.Ptr(ref("mine/target"))}
		}))
		if got := made.Properties.Properties["asked"]; got == nil || *got != ref("mine/target") {
			t.Errorf("it reads back as %v", got)
		}
	})
	t.Run("it is fixed", func(t *testing.T) {
		for name, other := range map[string]string{"shared": "disabled", "off": "enabled"} {
			got, err := l.owner.endpoints(t).Get(t.Context(), groupName, wsName, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			body := got.OnlineEndpoint
			body.Tags = map[string]*string{"kept": to.Ptr("yes")}
			if _, err := l.owner.tryEndpoint(t.Context(), t, name, body); err != nil {
				t.Errorf("the same again: %v", err)
			}
			enforcing(other)(&body)
			_, err = l.owner.tryEndpoint(t.Context(), t, name, body)
			wantError(t, err, 400, "BadRequest", "cannot be changed")
		}
	})
	t.Run("why mends the creation", func(t *testing.T) {
		s := l.principal("to be mended")
		l.customRole(t, s.oid, "All but secrets too", seedGroup, everything, "Microsoft.MachineLearningServices/workspaces/connections/listsecrets/action")
		l.mended(t, func() (string, error) {
			_, err := s.tryEndpoint(t.Context(), t, "mended", wish(enforcing("enabled")))
			return whyOf(err)
		})
	})
}

// TestConnectionsGoWithTheirWorkspace: nothing of them is left to be served.
func TestConnectionsGoWithTheirWorkspace(t *testing.T) {
	l := newLab(t, nil)
	l.owner.custom(t, "mine", map[string]string{"KEY": "gone-secret"}, nil)
	if a := l.armRaw(t, http.MethodDelete, seedWorkspace, l.owner.token(t, forManagement), ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	err := l.e.store.View(t.Context(), func(tx store.ReadTx) error {
		if _, ok, err := arm.Get(tx, connectionID("mine")); err != nil || ok {
			t.Errorf("the connection is still there (%v)", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
