package amlocal

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

func connectionID(name string) string { return seedWorkspace + "/connections/" + name }

func (s *session) connections(t *testing.T) *armmachinelearning.WorkspaceConnectionsClient {
	t.Helper()
	return must(armmachinelearning.NewWorkspaceConnectionsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

// custom makes a connection with custom keys.
func (s *session) custom(t *testing.T, name string, keys, metadata map[string]string) {
	t.Helper()
	wire := func(from map[string]string) map[string]*string {
		out := map[string]*string{}
		for k, v := range from {
			out[k] = to.Ptr(v)
		}
		return out
	}
	_, err := s.connections(t).Create(t.Context(), groupName, wsName, name, armmachinelearning.WorkspaceConnectionPropertiesV2BasicResource{
		Properties: &armmachinelearning.CustomKeysWorkspaceConnectionProperties{
			AuthType: to.Ptr(armmachinelearning.ConnectionAuthTypeCustomKeys), Category: to.Ptr(armmachinelearning.ConnectionCategoryCustomKeys), Target: to.Ptr("https://custom.example/"),
			Credentials: &armmachinelearning.CustomKeys{Keys: wire(keys)}, Metadata: wire(metadata)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestConnections: a plain read never holds a credential, listsecrets does, and
// whoever asks needs its own action.
func TestConnections(t *testing.T) {
	covers.C(t, sdk, "R-109", "R-321", "R-702", "R-703")
	l := newLab(t, nil)
	client := l.owner.connections(t)
	made, err := client.Create(t.Context(), groupName, wsName, "aoai", armmachinelearning.WorkspaceConnectionPropertiesV2BasicResource{
		Properties: &armmachinelearning.APIKeyAuthWorkspaceConnectionProperties{
			AuthType: to.Ptr(armmachinelearning.ConnectionAuthTypeAPIKey), Category: to.Ptr(armmachinelearning.ConnectionCategoryAzureOpenAI), Target: to.Ptr("https://aoai.example/"),
			Credentials: &armmachinelearning.WorkspaceConnectionAPIKey{Key: to.Ptr("the-api-key")}, Metadata: map[string]*string{"ApiVersion": to.Ptr("2024-02-01")}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.owner.custom(t, "mine", map[string]string{"ONE": "first-key", "TWO": "second-key"}, map[string]string{"BASE": "https://base.example/"})
	apiKey := func(p armmachinelearning.WorkspaceConnectionPropertiesV2Classification) *armmachinelearning.WorkspaceConnectionAPIKey {
		return p.(*armmachinelearning.APIKeyAuthWorkspaceConnectionProperties).Credentials
	}
	if apiKey(made.Properties) != nil {
		t.Error("the answer to PUT shows the key")
	}
	got, err := client.Get(t.Context(), groupName, wsName, "AOAI", nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := got.Properties.GetWorkspaceConnectionPropertiesV2()
	if apiKey(got.Properties) != nil || *plain.Target != "https://aoai.example/" || *plain.Metadata["ApiVersion"] != "2024-02-01" || *got.ID != connectionID("aoai") {
		t.Errorf("%+v, %+v", got, plain)
	}
	secrets, err := client.ListSecrets(t.Context(), groupName, wsName, "aoai", nil)
	if err != nil {
		t.Fatal(err)
	}
	if creds := apiKey(secrets.Properties); creds == nil || *creds.Key != "the-api-key" {
		t.Errorf("listsecrets: %+v", secrets.Properties)
	}
	names := ""
	for pages := client.NewListPager(groupName, wsName, nil); pages.More(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Value {
			names += *c.Name + " "
		}
	}
	if names != "aoai mine " {
		t.Errorf("the list is %s", names)
	}

	management := l.owner.token(t, forManagement)
	t.Run("patch", func(t *testing.T) {
		a := l.armRaw(t, http.MethodPatch, connectionID("mine"), management, `{"properties":{"authType":"CustomKeys","metadata":{"BASE":"https://other.example/"}}}`)
		if a.status != 200 || strings.Contains(a.body, "first-key") {
			t.Errorf("%d %s", a.status, a.body)
		}
		a = l.armRaw(t, http.MethodPost, connectionID("mine")+"/listSecrets", management, "")
		if a.status != 200 || !strings.Contains(a.body, "first-key") || !strings.Contains(a.body, "https://other.example/") {
			t.Errorf("%d %s", a.status, a.body)
		}
		a = l.armRaw(t, http.MethodPatch, connectionID("mine"), management, `{"properties":{"credentials":{"keys":{"THREE":"third-key"}}}}`)
		if a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		a = l.armRaw(t, http.MethodPost, connectionID("mine")+"/listsecrets", management, "")
		if !strings.Contains(a.body, "third-key") || strings.Contains(a.body, "first-key") {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := l.armRaw(t, http.MethodPatch, connectionID("nothing"), management, `{"properties":{}}`); a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("who may", func(t *testing.T) {
		reader, secretsReader := l.principal("reader"), l.principal("secrets reader")
		l.owner.grant(t, reader.oid, "Reader", seedWorkspace)
		l.owner.grant(t, secretsReader.oid, "Azure Machine Learning Workspace Connection Secrets Reader", seedWorkspace)
		if _, err := reader.connections(t).Get(t.Context(), groupName, wsName, "aoai", nil); err != nil {
			t.Error(err)
		}
		_, err := reader.connections(t).ListSecrets(t.Context(), groupName, wsName, "aoai", nil)
		wantError(t, err, 403, "AuthorizationFailed", "connections/listsecrets/action")
		if _, err := secretsReader.connections(t).ListSecrets(t.Context(), groupName, wsName, "aoai", nil); err != nil {
			t.Error(err)
		}
		_, err = secretsReader.connections(t).Get(t.Context(), groupName, wsName, "aoai", nil)
		wantError(t, err, 403, "AuthorizationFailed", "connections/read")
		_, err = reader.connections(t).Delete(t.Context(), groupName, wsName, "aoai", nil)
		wantError(t, err, 403, "AuthorizationFailed", "connections/delete")
		for name, call := range map[string]func(s *session) error{
			"show": func(s *session) error {
				_, err := s.connections(t).Get(t.Context(), groupName, wsName, "aoai", nil)
				return err
			},
			"list secrets": func(s *session) error {
				_, err := s.connections(t).ListSecrets(t.Context(), groupName, wsName, "aoai", nil)
				return err
			},
		} {
			s := l.principal(name)
			l.mended(t, func() (string, error) { return whyOf(call(s)) })
		}
	})
	t.Run("delete", func(t *testing.T) {
		for range 2 { // the second time there is nothing
			if _, err := client.Delete(t.Context(), groupName, wsName, "aoai", nil); err != nil {
				t.Error(err)
			}
		}
		_, err := client.Get(t.Context(), groupName, wsName, "aoai", nil)
		wantError(t, err, 404, "ResourceNotFound")
		_, err = client.ListSecrets(t.Context(), groupName, wsName, "aoai", nil)
		wantError(t, err, 404, "ResourceNotFound")
	})
}

// TestConnectionKinds sends every documented kind, and what each must refuse.
func TestConnectionKinds(t *testing.T) {
	covers.R(t, "R-702", "R-703")
	l := newLab(t, nil)
	management := l.owner.token(t, forManagement)
	put := func(t *testing.T, name, properties string) answer {
		t.Helper()
		return l.armRaw(t, http.MethodPut, connectionID(name), management, `{"properties":`+properties+`}`)
	}
	for kind, credentials := range map[string]string{
		"AAD": "", "None": "", "ManagedIdentity": `{"clientId":"kind-secret","resourceId":"r"}`,
		"AccessKey": `{"accessKeyId":"id","secretAccessKey":"kind-secret"}`, "AccountKey": `{"key":"kind-secret"}`, "ApiKey": `{"key":"kind-secret"}`,
		"CustomKeys": `{"keys":{"any name":"kind-secret"}}`, "OAuth2": `{"clientId":"c","clientSecret":"kind-secret"}`, "PAT": `{"pat":"kind-secret"}`,
		"SAS": `{"sas":"kind-secret"}`, "ServicePrincipal": `{"clientId":"c","clientSecret":"kind-secret","tenantId":"t"}`,
		"UsernamePassword": `{"username":"u","password":"kind-secret","securityToken":null}`,
	} {
		t.Run(kind, func(t *testing.T) {
			body := `{"authType":"` + strings.ToLower(kind) + `","category":"GenericRest","target":"https://x.example/"`
			if credentials != "" {
				body += `,"credentials":` + credentials
			}
			a := put(t, "kind-"+kind, body+"}")
			if a.status != 200 || !strings.Contains(a.body, `"authType":"`+kind+`"`) || strings.Contains(a.body, "kind-secret") {
				t.Fatalf("%d %s", a.status, a.body)
			}
			a = l.armRaw(t, http.MethodPost, connectionID("kind-"+kind)+"/listsecrets", management, "")
			if a.status != 200 || strings.Contains(a.body, "kind-secret") != (credentials != "") {
				t.Errorf("%d %s", a.status, a.body)
			}
			if credentials != "" && kind != "ManagedIdentity" {
				if a := put(t, "kind-"+kind, body[:strings.Index(body, `,"credentials"`)]+"}"); a.status != 400 {
					t.Errorf("without credentials: %d %s", a.status, a.body)
				}
			}
		})
	}
	for what, properties := range map[string]string{
		"no authType":           `{"category":"Git"}`,
		"no category":           `{"authType":"None"}`,
		"unknown authType":      `{"authType":"Trust","category":"Git"}`,
		"no properties":         `null`,
		"properties a text":     `"x"`,
		"credentials a text":    `{"authType":"ApiKey","category":"OpenAI","credentials":"sk-text"}`,
		"key a number":          `{"authType":"ApiKey","category":"OpenAI","credentials":{"key":7}}`,
		"key empty":             `{"authType":"ApiKey","category":"OpenAI","credentials":{"key":""}}`,
		"no custom keys":        `{"authType":"CustomKeys","category":"CustomKeys","credentials":{"keys":{}}}`,
		"metadata not of texts": `{"authType":"None","category":"Git","metadata":{"a":{}}}`,
		"the old value":         `{"authType":"PAT","category":"Git","value":"{\"pat\":\"old\"}"}`,
	} {
		t.Run(what, func(t *testing.T) {
			if a := put(t, "refused", properties); a.status != 400 || strings.Contains(a.body, "sk-text") {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	if a := put(t, "x", `{"authType":"None","category":"Git"}`); a.status != 400 {
		t.Errorf("a name of one letter: %d %s", a.status, a.body)
	}
	if a := l.armRaw(t, http.MethodPut, seedGroup+"/providers/Microsoft.MachineLearningServices/workspaces/nowhere/connections/fine", management, `{"properties":{"authType":"None","category":"Git"}}`); a.status != 404 {
		t.Errorf("in a workspace that is not there: %d %s", a.status, a.body)
	}
	t.Run("filters", func(t *testing.T) {
		put(t, "of-git", `{"authType":"None","category":"Git","target":"https://git.example/"}`)
		put(t, "of-blobs", `{"authType":"None","category":"AzureBlob","target":"https://git.example/"}`)
		for query, want := range map[string]string{"category=git": "of-git ", "target=https://git.example/": "of-git ", "target=https://git.example/&includeAll=true": "of-blobs of-git "} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://management.azure.com"+seedWorkspace+"/connections?api-version=2023-08-01-preview&"+query, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+management)
			var list struct{ Value []struct{ Name string } }
			if err := json.Unmarshal([]byte(l.do(t, r).body), &list); err != nil {
				t.Fatal(err)
			}
			names := ""
			for _, c := range list.Value {
				names += c.Name + " "
			}
			if names != want {
				t.Errorf("%s: %s, want %s", query, names, want)
			}
		}
	})
	l.nowhere(t, "kind-secret")
}

// nowhere wants the values in no file of the state folder.
func (l *lab) nowhere(t *testing.T, values ...string) {
	t.Helper()
	files := 0
	_ = filepath.WalkDir(l.e.config.StateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil // sockets, and what ended meanwhile
		}
		files++
		for _, value := range values {
			if strings.Contains(string(raw), value) {
				t.Errorf("%s holds %q", path, value)
			}
		}
		return nil
	})
	if files < 3 {
		t.Errorf("%d files were searched", files)
	}
}

// TestWorldConnections: a world file makes connections, sealed like others, and
// what a connection lacks is named with its line.
func TestWorldConnections(t *testing.T) {
	covers.R(t, "R-702", "R-703")
	l := labOf(t, start(t, withWorld(t, `connections:
  - name: from-world
    authType: CustomKeys
    category: CustomKeys
    credentials: {keys: {KEY: world-file-secret}}
    metadata: {BASE: b}
`)))
	management := l.owner.token(t, forManagement)
	if a := l.armRaw(t, http.MethodGet, connectionID("from-world"), management, ""); a.status != 200 || strings.Contains(a.body, "world-file-secret") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := l.armRaw(t, http.MethodPost, connectionID("from-world")+"/listsecrets", management, ""); !strings.Contains(a.body, `"KEY":"world-file-secret"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	l.nowhere(t, "world-file-secret")

	config := Config{Ephemeral: true, CADir: t.TempDir(), Logf: t.Logf}
	withWorld(t, "connections:\n  - name: fine\n    authType: None\n    category: Git\n  - name: lacking\n    authType: ApiKey\n    category: OpenAI\n")(&config)
	e, err := New(t.Context(), config)
	if err == nil {
		closeEmulator(t, e)
		t.Fatal("a connection without its key was made")
	}
	for _, part := range []string{"line 5: ", "lacking", "needs properties.credentials.key"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
}
