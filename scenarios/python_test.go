package scenarios

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/arm/machinelearning"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// pose puts the deployer's own credential into this process's environment, as
// `amlocal env` does to a shell: nothing of it may reach a deployment, or
// DefaultAzureCredential would succeed as the owner.
func pose(t *testing.T, s *session) {
	t.Helper()
	for _, v := range s.emulator.Access().Env(os.LookupEnv) {
		if strings.HasPrefix(v.Name, "AZURE_") {
			t.Setenv(v.Name, v.Value)
		}
	}
}

// TestScripts runs every documented revision of the script, unmodified, with
// both kinds of identity, under each setting of the identity variables: with
// the role it reads the blob, without it is refused.
func TestScripts(t *testing.T) {
	needPython(t)
	covers.C(t, goSDK, "R-206", "R-501", "R-502", "R-503", "R-504", "R-505", "R-506", "R-507", "R-508", "R-509", "R-510", "R-512", "R-513", "R-514",
		"R-516", "R-517", "R-518", "R-520", "R-521", "R-522", "R-523", "R-602", "R-1001", "R-1033")
	for _, env := range []machinelearning.IdentityEnv{machinelearning.IdentityBoth, machinelearning.IdentityMSI, machinelearning.IdentityApp} {
		t.Run(string(env), func(t *testing.T) {
			s := start(t, func(o *Options) { o.IdentityEnv, o.Offline = env, true })
			if env == machinelearning.IdentityBoth {
				pose(t, s)
			} else {
				t.Parallel()
			}
			for _, sc := range blobScenarios() {
				t.Run(sc.Name, func(t *testing.T) {
					f := flowOf(t, s, sc.Name, "python")
					must(t, f.permit(t.Context()))
					for _, variant := range slices.Sorted(maps.Keys(scripts)) {
						t.Run(variant, func(t *testing.T) { f.reads(t, variant) })
					}
					revoke(t, f, f.assignment)
					for _, variant := range slices.Sorted(maps.Keys(scripts)) {
						if env == machinelearning.IdentityBoth || variant == "sdk" {
							t.Run(variant+" without role", func(t *testing.T) { f.isRefused(t, variant) })
						}
					}
				})
			}
		})
	}
}

// reads deploys a variant, under its own name, and looks at its log and score.
func (f *flow) reads(t *testing.T, variant string) {
	f.variant = variant
	must(t, f.deploy(t.Context(), variant))
	initializer, err := f.cloud.logs(t.Context(), f.endpoint, variant, ml.ContainerTypeStorageInitializer)
	must(t, err)
	contains(t, "nothing is built twice", initializer, "is in the cache")
	must(t, f.scoreStep(t.Context(), "score "+variant, variant))
	log := f.logOnceItSays(t, variant, "Request processed")
	want := 1
	if variant == "managedidentity" {
		want = 2 // REST, then the SDK
	}
	if got := strings.Count(log, "Blob contains: "+f.text); got != want {
		t.Errorf("the blob's text is %d times in the log, want %d:\n%s", got, want, log)
	}
	inOrder(t, log, "Blob contains: ", "Model loaded", "Init complete", "Request received", "Request processed")
	if variant != "sdk" {
		contains(t, "the log", log, "Token acquired over REST", "Reading blob over REST")
	}
}

// logOnceItSays reads a deployment's log when a line has arrived: what a server
// prints travels by a pipe, and may come after its answer.
func (f *flow) logOnceItSays(t *testing.T, deployment, line string) string {
	t.Helper()
	for range 1200 {
		log, err := f.cloud.logs(t.Context(), f.endpoint, deployment, "")
		must(t, err)
		if strings.Contains(log, line) {
			return log
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the log of %s never says %q", deployment, line)
	return ""
}

func (f *flow) isRefused(t *testing.T, variant string) {
	f.variant = variant
	d, err := f.definition("green")
	must(t, err)
	code, message, log, _ := mustFail(t, f, d)
	if code != "ResourceNotReady" {
		t.Errorf("code %s", code)
	}
	contains(t, "the error", message, "Traceback (most recent call last):", mismatch)
	contains(t, "the log", log, mismatch)
	entry, ok := f.emulator.LastDenial()
	if !ok || entry.Caller.Principal.ObjectID != f.principal {
		t.Errorf("the last refusal is %+v, want one of %s", entry.Caller, f.principal)
	}
}

// scriptFlow deploys scripts of the tests' own.
type scriptFlow struct {
	*flow
	dir string
}

func scriptsOn(t *testing.T, name string) *scriptFlow {
	t.Helper()
	needPython(t)
	s := start(t, func(o *Options) { o.Offline = true })
	return &scriptFlow{flowOf(t, s, name, "python"), t.TempDir()}
}

func (f *scriptFlow) script(t *testing.T, name, text string) *deploymentFile {
	t.Helper()
	dir := filepath.Join(f.dir, name)
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "score.py"), []byte(text), 0o600))
	d, err := f.definition(name, "code_configuration.code="+dir, "code_configuration.scoring_script=score.py")
	must(t, err)
	return d
}

// TestBrokenScripts end Failed with their own traceback, quickly.
func TestBrokenScripts(t *testing.T) {
	f := scriptsOn(t, "sai")
	covers.C(t, goSDK, "R-517", "R-1035")
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"raises", "def init():\n    raise RuntimeError('no luck today')\n\ndef run(data):\n    return 1\n",
			[]string{"Traceback (most recent call last):", "score.py\", line 2, in init", "RuntimeError: no luck today"}},
		{"import-error", "import nothing_like_it\n\ndef init():\n    pass\n\ndef run(data):\n    return 1\n",
			[]string{"ModuleNotFoundError: No module named 'nothing_like_it'"}},
		{"syntax-error", "def init(:\n    pass\n", []string{"SyntaxError", "score.py\", line 1"}},
		{"no-run", "def init():\n    pass\n", []string{"run"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, message, log, _ := mustFail(t, f.flow, f.script(t, tt.name, tt.text))
			if code != "ResourceNotReady" {
				t.Errorf("code %s", code)
			}
			contains(t, "the error", message, tt.want...)
			if tt.name == "raises" {
				contains(t, "the log", log, tt.want...)
			}
		})
	}
	t.Run("run raises", func(t *testing.T) {
		covers.C(t, goSDK, "R-1036")
		d := f.script(t, "run-raises", "def init():\n    pass\n\ndef run(data):\n    raise ValueError('not these rows')\n")
		_, err := f.cloud.deploy(t.Context(), f.endpoint, d)
		must(t, err)
		status, answer, err := f.cloud.score(t.Context(), f.endpoint, d.Name, []byte("{}"))
		if err != nil || status != 424 {
			t.Errorf("scored %d %s (%v), want 424", status, answer, err)
		}
		f.logOnceItSays(t, d.Name, "ValueError: not these rows")
	})
}

// probe tells what a script finds around it: its variables, and the claims of
// tokens for three audiences, asked for over REST as the how-to does.
const probe = `
import base64, json, logging, os, requests

def claims(resource):
    url = os.environ["MSI_ENDPOINT"] + "?resource=" + resource
    if "UAI_CLIENT_ID" in os.environ:
        url += "&clientid=" + os.environ["UAI_CLIENT_ID"]
    answer = requests.get(url, headers={"secret": os.environ["MSI_SECRET"], "Metadata": "true"})
    answer.raise_for_status()
    body = answer.json()
    int(body["expires_on"])
    header, payload, _ = body["access_token"].split(".")
    read = lambda part: json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return {**read(payload), "alg": read(header)["alg"], "token_type": body["token_type"]}

def init():
    refused = requests.get(os.environ["MSI_ENDPOINT"] + "?resource=https://storage.azure.com/", headers={"secret": "guess", "Metadata": "true"})
    found = {
        "env": {k: v for k, v in os.environ.items()},
        "claims": {r: claims(r) for r in ("https://storage.azure.com/", "https://vault.azure.net", "https://management.azure.com/")},
        "guess": [refused.status_code, refused.headers["Content-Type"], "access_token" in refused.text],
        "model": os.path.exists(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "sklearn_regression_model.pkl")),
    }
    logging.getLogger().setLevel(logging.INFO)
    logging.info("PROBE %s", json.dumps(found))

def run(data):
    return data
`

type found struct {
	Env    map[string]string
	Claims map[string]struct {
		Aud, OID, AppID, TID, Alg string
		Exp                       int64
		TokenType                 string `json:"token_type"`
	}
	Guess []any
	Model bool
}

func (f *scriptFlow) probe(t *testing.T, name string) found {
	t.Helper()
	_, err := f.cloud.deploy(t.Context(), f.endpoint, f.script(t, name, probe))
	must(t, err)
	_, rest, _ := strings.Cut(f.logOnceItSays(t, name, "PROBE "), "PROBE ")
	line, _, _ := strings.Cut(rest, "\n")
	var got found
	must(t, json.Unmarshal([]byte(line), &got))
	return got
}

func TestAroundTheScript(t *testing.T) {
	covers.C(t, goSDK, "R-107", "R-137", "R-207", "R-501", "R-502", "R-503", "R-504", "R-505", "R-506", "R-507", "R-508", "R-518", "R-519", "R-524", "R-525", "R-1008")
	for _, sc := range blobScenarios() {
		t.Run(sc.Name, func(t *testing.T) {
			f := scriptsOn(t, sc.Name)
			pose(t, f.session)
			must(t, f.permitPlatform(t.Context()))
			blue, green := f.probe(t, "blue"), f.probe(t, "green")
			if blue.Env["MSI_SECRET"] == green.Env["MSI_SECRET"] || blue.Env["MSI_SECRET"] == "" {
				t.Error("every instance has a secret of its own")
			}
			for _, got := range []found{blue, green} {
				f.checkClaims(t, got)
				f.checkEnv(t, got)
			}
		})
	}
}

func (f *scriptFlow) checkClaims(t *testing.T, got found) {
	t.Helper()
	for asked, c := range got.Claims {
		if strings.TrimRight(c.Aud, "/") != strings.TrimRight(asked, "/") || c.OID != f.principal || c.TID != azure.SeedTenantID || c.Alg != "RS256" || c.TokenType != "Bearer" || c.Exp == 0 {
			t.Errorf("claims for %s: %+v; the identity is %s", asked, c, f.principal)
		}
		if f.clientID != "" && c.AppID != f.clientID {
			t.Errorf("appid %s, want %s", c.AppID, f.clientID)
		}
	}
	if len(got.Claims) != 3 {
		t.Errorf("claims %v", got.Claims)
	}
	if got.Guess[0] != 401.0 || !strings.HasPrefix(got.Guess[1].(string), "application/json") || got.Guess[2] != false {
		t.Errorf("a guessed secret got %v", got.Guess)
	}
	if !got.Model {
		t.Error("the model is not where the script looks for it")
	}
}

func (f *scriptFlow) checkEnv(t *testing.T, got found) {
	t.Helper()
	for name, want := range map[string]string{"STORAGE_ACCOUNT_NAME": f.scenario.account, "STORAGE_CONTAINER_NAME": containerName, "FILE_NAME": fileName, "UAI_CLIENT_ID": f.clientID} {
		if got.Env[name] != want {
			t.Errorf("%s=%s, want %s", name, got.Env[name], want)
		}
	}
	if strings.Contains(got.Env["MSI_ENDPOINT"], "?") || got.Env["MSI_ENDPOINT"] == "" || got.Env["IDENTITY_ENDPOINT"] != got.Env["MSI_ENDPOINT"] {
		t.Errorf("MSI_ENDPOINT=%s, IDENTITY_ENDPOINT=%s", got.Env["MSI_ENDPOINT"], got.Env["IDENTITY_ENDPOINT"])
	}
	if dir := filepath.ToSlash(got.Env["AZUREML_MODEL_DIR"]); !strings.HasSuffix(dir, "/1") || !strings.Contains(dir, "/azureml-models/") {
		t.Errorf("AZUREML_MODEL_DIR=%s", dir)
	}
	var leaked []string
	for name := range got.Env {
		if strings.HasPrefix(name, "AZURE_") {
			leaked = append(leaked, name)
		}
	}
	if len(leaked) > 0 {
		slices.Sort(leaked)
		t.Errorf("of the deployer's: %v", leaked)
	}
}
