package scenarios

import (
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/internal/covers"
)

// run plays a scenario the way `amlocal scenario run` does.
func run(t *testing.T, name string, change func(*Options)) string {
	t.Helper()
	o := testOptions(t)
	out := new(lines)
	o.Out = out
	change(&o)
	if err := Run(t.Context(), name, o); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out.String()
}

// inOrder checks that the parts appear one after another.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		_, after, found := strings.Cut(rest, p)
		if !found {
			t.Fatalf("no %q at its place in:\n%s", p, text)
		}
		rest = after
	}
}

// story is what both scenarios tell, whatever runs in the deployments.
func story(scorer, account, endpoint string, before ...string) []string {
	return slices.Concat([]string{
		"runner=process scorer=" + scorer + " because ", "\n",
		"create storage account " + account,
		"upload hello.txt",
		"create endpoint " + endpoint,
	}, before, []string{
		"assign Storage Blob Data Reader on " + account,
		"read the identity's roles",
		"Storage Blob Data Reader at " + account,
		"create deployment blue\n",
		"all traffic to blue",
		"Blob contains: Hello from a blob",
		"score\n          | [",
		"remove the role on " + account,
		"create deployment green: must fail",
		"ResourceNotReady: ",
		"AuthorizationPermissionMismatch",
		"score blue, which still answers\n          | [",
		"amlocal why",
		"(managed identity, object id ",
		"blobs/read (data action)",
		"asked by " + endpoint + "/green",
		"403 AuthorizationPermissionMismatch",
		"What came near:",
		"which does not contain",
		`az role assignment create --assignee-object-id `,
		`--role "Storage Blob Data Reader" --scope /subscriptions/`,
		"assign Storage Blob Data Reader on " + containerName,
		"delete deployment green",
		"create deployment green again\n",
		"Blob contains: Hello from a blob",
		"score green\n          | [",
		"delete endpoint " + endpoint,
		"delete storage account " + account,
		"ok: scenario ",
	})
}

var systemAssigned = []string{
	"AcrPull at amlocalwsregistry", "AzureML Metrics Writer (preview) at amlocal-ws", "Storage Blob Data Reader at amlocalwsstorage",
}

func TestSAI(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-113", "R-118", "R-121", "R-122", "R-123", "R-127", "R-128", "R-129", "R-206", "R-1001", "R-1033")
	text := run(t, "sai", func(o *Options) { o.Scorer = "go" })
	inOrder(t, text, story("go", "saidemostorage", "my-sai-endpoint")...)
	contains(t, "the automatic roles", text, systemAssigned...)
}

func TestUAI(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-131", "R-133", "R-134", "R-136", "R-137", "R-140", "R-216", "R-227", "R-1001", "R-1033")
	text := run(t, "uai", func(o *Options) { o.Scorer = "go" })
	inOrder(t, text, story("go", "uaidemostorage", "my-uai-endpoint",
		"assign AcrPull on amlocalwsregistry", "assign Storage Blob Data Reader on amlocalwsstorage")...)
	contains(t, "exactly three roles", text, "read the identity's roles\n"+
		"          | AcrPull at amlocalwsregistry\n"+
		"          | Storage Blob Data Reader at amlocalwsstorage\n"+
		"          | Storage Blob Data Reader at uaidemostorage\n ")
	inOrder(t, text, "delete endpoint my-uai-endpoint", "delete identity my-uai\n")
}

// TestPythonStory is the whole story with the how-to's script, without a way
// out: the environment is made beforehand.
func TestPythonStory(t *testing.T) {
	needPython(t)
	covers.C(t, goSDK, "R-517", "R-518", "R-520", "R-1033", "R-1035")
	text := run(t, "sai", func(o *Options) { o.Offline = true })
	inOrder(t, text, story("python", "saidemostorage", "my-sai-endpoint")...)
	contains(t, "the script's own frames", text, "Traceback (most recent call last):", `score_managedidentity.py", line `, "in init")
}

// secretsStory is what the scenario secrets tells, whatever runs in the
// deployments.
var secretsStory = []string{
	"create connection my-connection",
	"set secret my-password in amlocal-ws-vault",
	"create endpoint my-secrets-sai",
	"Azure Machine Learning Workspace Connection Secrets Reader at amlocal-ws",
	"create deployment blue: must fail",
	"SecretsInjectionError: The environment variable 'VAULT_PASSWORD'",
	"Key Vault Secrets User",
	"amlocal why",
	"Microsoft.KeyVault/vaults/secrets/getSecret/action (data action)",
	"asked by my-secrets-sai/blue",
	`--role "Key Vault Secrets User" --scope /subscriptions/`,
	"create deployment blue again\n",
	"Secret API_KEY: 26 characters, sha256 ",
	"Secret VAULT_PASSWORD: 26 characters, sha256 ",
	"show deployment blue",
	"look for the secrets in the state folder\n          | in none of ",
	"score\n          | [",
	"delete endpoint my-secrets-sai",
	"create user-assigned identity my-secrets-identity",
	"create deployment blue: must fail",
	"SecretsInjectionError: The environment variable 'API_",
	"connections/listsecrets/action",
	"amlocal why",
	"asked by my-secrets-uai/blue",
	`--role "Azure Machine Learning Workspace Connection Secrets Reader" --scope /subscriptions/`,
	"create deployment blue again\n",
	"Secret API_KEY: 26 characters, sha256 ",
	"Secret VAULT_PASSWORD: 26 characters, sha256 ",
	"score\n          | [",
	"delete identity my-secrets-identity",
	"ok: scenario secrets",
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	covers.C(t, goSDK, "R-213", "R-218", "R-221", "R-702", "R-703", "R-704", "R-705", "R-706", "R-707", "R-708", "R-709", "R-710", "R-711", "R-713", "R-1054")
	inOrder(t, run(t, "secrets", func(o *Options) { o.Scorer = "go" }), secretsStory...)
}

// TestSecretsInPython is the same story with a script that has no code for it.
func TestSecretsInPython(t *testing.T) {
	needPython(t)
	covers.C(t, goSDK, "R-709", "R-710", "R-711")
	inOrder(t, run(t, "secrets", func(o *Options) { o.Offline = true }), append([]string{"scorer=python"}, secretsStory...)...)
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"nothing", func(*Options) {}, "there is no scenario"},
		{"sai", func(o *Options) { o.Runner = "kube" }, `--runner "kube"`},
		{"sai", func(o *Options) { o.Scorer = "java" }, `--scorer "java"`},
		{"sai", func(o *Options) { o.Variant = "fortran" }, `variant "fortran"`},
		{"sai", func(o *Options) { o.Scorer, o.IdentityEnv = "go", "none" }, `--identity-env "none"`},
		{"sai", func(o *Options) { o.Scorer, o.GoScorer = "go", "/nowhere/goscorer" }, "/nowhere/goscorer"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			o := testOptions(t)
			tt.change(&o)
			if err := Run(t.Context(), tt.name, o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestChooseWithoutPython(t *testing.T) {
	o := testOptions(t)
	t.Setenv("PATH", t.TempDir())
	c, err := choose(t.Context(), o)
	if want := "runner=process scorer=go because --runner process was asked for and there is no Python 3.10 to 3.13 with venv"; err != nil || c.String() != want {
		t.Errorf("chose %q (%v), want %q", c, err, want)
	}
}

func TestChooseOffline(t *testing.T) {
	if found, err := findPython(t.Context(), false); err != nil || found == "" {
		covers.NotRun(t, "python", "there is no Python 3.10 to 3.13 with venv")
	}
	o := testOptions(t)
	o.CacheDir, o.Offline = t.TempDir(), true
	t.Setenv("UV_CACHE_DIR", t.TempDir())
	c, err := choose(t.Context(), o)
	if err != nil || c.scorer != "go" || !strings.Contains(c.because, "not all in the cache") {
		t.Errorf("chose %q (%v)", c, err)
	}
}

func TestUsable(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"3.9.1": false, "3.10.0": true, "3.13.2": true, "3.14.0": false, "2.7.18": false, "": false, "x": false} {
		if got := usable(version, false); got != want {
			t.Errorf("usable(%q) = %v", version, got)
		}
	}
	if !usable("3.14.0", true) {
		t.Error("--conda=relax takes any newer Python")
	}
}
