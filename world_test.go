package amlocal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/amlocal/amlocal/azure"
)

// TestWorldSchema: the published schema and the loader take and refuse the
// same files.
func TestWorldSchema(t *testing.T) {
	raw, err := os.ReadFile("docs/world.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	const guid = "11111111-2222-3333-4444-555555555555"
	for _, tt := range []struct {
		name, text string
		line       int // of the mistake; 0: there is none
	}{
		{"nothing", "{}", 0},
		{"empty lists", "accounts:\nidentities: []\nprincipals:\nassignments:\nimages: {}\n", 0},
		{"everything", `
accounts:
  - name: mystorage
    resourceGroup: amlocal-rg
    location: eastus
    containers:
      - name: my-container
        blobs:
          - {name: a/b.txt, text: hello}
          - {name: c.txt, file: c.txt}
          - {name: empty}
vaults:
  - {name: my-vault, resourceGroup: amlocal-rg, location: eastus, rbac: false, secrets: [{name: api-key, value: x}]}
  - {name: Other}
connections:
  - {name: my-keys, authType: CustomKeys, category: CustomKeys, target: https://x.example/, credentials: {keys: {A: b}}, metadata: {C: d}}
  - {name: open_feed, authType: None, category: PythonFeed}
identities: [{name: my-uai}]
endpoints:
  - {name: my-endpoint, auth_mode: aad_token, identity: [my-uai, /subscriptions/x], tags: {team: red}}
  - {name: abc, identity: system}
  - {name: Other-1, auth_mode: key}
clusters: [{name: aks-1}, {name: Arc_2, kind: arc, resourceGroup: amlocal-rg, location: westus}]
principals:
  users: [{name: alice}, {name: bob@example.com, objectId: ` + guid + `}]
  servicePrincipals:
    - {name: ci, clientId: ` + guid + `, certificate: ci.pem, federated: [{issuer: "https://a", subject: b}, {issuer: "https://a", subject: c, audience: d}]}
  groups: [{name: readers, members: [alice, other]}, {name: other}]
issuers: [{issuer: "https://a", keys: jwks.json}]
assignments:
  - {principal: readers, role: Storage Blob Data Reader, scope: "container:mystorage/my-container"}
  - {principal: ci, role: Reader, scope: subscription}
  - {principal: "endpoint:abc", role: Reader, scope: "endpoint:my-endpoint"}
images:
  a/b:1: [run, -port, "8080"]
`, 0},
		{"unknown field", "accounts:\n  - name: mystorage\n    kind: StorageV2\n", 3},
		{"unknown list", "identities: []\nusers: []\n", 2},
		{"account without a name", "accounts:\n  - name: mystorage\n  - location: eastus\n", 3},
		{"account's name", "accounts:\n  - name: My-Storage\n", 2},
		{"container's name", "accounts:\n  - name: mystorage\n    containers:\n      - name: a--b\n", 4},
		{"container's name, short", "accounts:\n  - name: mystorage\n    containers:\n      - name: ok1\n      - name: ab\n", 5},
		{"blob without a name", "accounts:\n  - name: mystorage\n    containers:\n      - name: box\n        blobs:\n          - text: x\n", 6},
		{"blob with both", "accounts:\n  - name: mystorage\n    containers:\n      - name: box\n        blobs:\n          - name: a\n            file: a\n            text: x\n", 8},
		{"vault's name", "vaults:\n  - name: a--b\n", 2},
		{"vault's name, long", "vaults:\n  - name: a-b-c-d-e-f-g-h-i-j-k-l-m\n", 2},
		{"secret's name", "vaults:\n  - name: my-vault\n    secrets:\n      - {name: a_b, value: x}\n", 4},
		{"secret without a value", "vaults:\n  - name: my-vault\n    secrets:\n      - name: a\n", 4},
		{"connection's name", "connections:\n  - name: ab\n    authType: None\n    category: Git\n", 2},
		{"connection without authType", "connections:\n  - name: abc\n    category: Git\n", 2},
		{"connection without category", "connections:\n  - name: abc\n    authType: None\n", 2},
		{"identity's name", "identities:\n  - name: a\n", 2},
		{"cluster's name", "clusters:\n  - name: -a\n", 2},
		{"cluster's kind", "clusters:\n  - name: a\n    kind: eks\n", 3},
		{"endpoint's name", "endpoints:\n  - name: 1ab\n", 2},
		{"endpoint's name, short", "endpoints:\n  - name: ab\n", 2},
		{"endpoint's name, long", "endpoints:\n  - name: a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q\n", 2},
		{"endpoint without a name", "endpoints:\n  - auth_mode: key\n", 2},
		{"endpoint's auth mode", "endpoints:\n  - name: abc\n    auth_mode: password\n", 3},
		{"endpoint's identity", "endpoints:\n  - name: abc\n    auth_mode: key\n    identity: mine\n", 4},
		{"endpoint without an identity", "endpoints:\n  - name: abc\n    identity: []\n", 3},
		{"endpoint's traffic", "endpoints:\n  - name: abc\n    traffic: {blue: 100}\n", 3},
		{"user's name", "principals:\n  users:\n    - name: a b\n", 3},
		{"user without a name", "principals:\n  users:\n    - objectId: " + guid + "\n", 3},
		{"object id", "principals:\n  groups:\n    - name: g\n      objectId: 12\n", 4},
		{"client id", "principals:\n  servicePrincipals:\n    - name: s\n      clientId: mine\n", 4},
		{"group without a name", "principals:\n  groups:\n    - members: [alice]\n", 3},
		{"empty member", "principals:\n  groups:\n    - name: g\n      members:\n        - \"\"\n", 5},
		{"secret in a file", "principals:\n  servicePrincipals:\n    - name: s\n      secret: x\n", 4},
		{"password in a file", "principals:\n  users:\n    - name: s\n      password: x\n", 4},
		{"trusted issuer", "principals:\n  servicePrincipals:\n    - name: s\n      federated:\n        - {issuer: a, subject: b}\n", 5},
		{"trust in anyone", "principals:\n  servicePrincipals:\n    - name: s\n      federated:\n        - issuer: https://a\n", 5},
		{"issuer", "issuers:\n  - {issuer: a, keys: b}\n", 2},
		{"issuer without keys", "issuers:\n  - {issuer: https://a}\n", 2},
		{"kind of principal", "principals:\n  robots: []\n", 2},
		{"assignment without a role", "assignments:\n  - principal: a\n    scope: subscription\n", 2},
		{"assignment without a principal", "assignments:\n  - role: Reader\n    scope: subscription\n", 2},
		{"assignment without a scope", "assignments:\n  - principal: a\n    role: Reader\n", 2},
		{"scope", "assignments:\n  - principal: a\n    role: Reader\n    scope: everywhere\n", 4},
		{"container scope without container", "assignments:\n  - principal: a\n    role: Reader\n    scope: container:mystorage\n", 4},
		{"image without a command", "images:\n  a/b:1: [x]\n  c/d:1: []\n", 3},
		{"not a list", "accounts: mystorage\n", 1},
		{"not a map", "- accounts\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tree any
			if err := yaml.Unmarshal([]byte(tt.text), &tree); err != nil {
				t.Fatal(err)
			}
			problem := conforms(schema, schema, jsonTree(t, tree), "")
			if (problem == "") != (tt.line == 0) {
				t.Errorf("schema: %q", problem)
			}
			path := filepath.Join(t.TempDir(), "world.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			w, err := readWorld(path)
			switch {
			case tt.line == 0 && err != nil:
				t.Errorf("loader: %v", err)
			case tt.line == 0 && tt.name == "everything" && (len(w.Accounts) != 1 || len(w.Principals.Groups) != 2 || len(w.raw) == 0):
				t.Errorf("read %+v", w)
			case tt.line != 0 && err == nil:
				t.Error("the loader takes it")
			case tt.line != 0 && !regexp.MustCompile(fmt.Sprintf(`(line %d: |\[%d:\d+\])`, tt.line, tt.line)).MatchString(err.Error()):
				t.Errorf("the error does not name line %d: %v", tt.line, err)
			}
		})
	}
	for _, builtIn := range []string{"scenarios/worlds/sai.yaml", "scenarios/worlds/uai.yaml", "scenarios/worlds/secrets.yaml"} {
		text, err := os.ReadFile(builtIn)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := yaml.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		if problem := conforms(schema, schema, jsonTree(t, tree), ""); problem != "" {
			t.Errorf("%s: %s", builtIn, problem)
		}
	}
}

// jsonTree is a value as JSON readers see it.
func jsonTree(t *testing.T, v any) (out any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// conforms checks a value against the keywords our schema uses, and fails on
// any other; the answer is "" or where it does not conform.
func conforms(root, schema map[string]any, v any, at string) string {
	for keyword, arg := range schema {
		bad := false
		switch keyword {
		case "$schema", "title", "description", "$defs":
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/$defs/")
			if problem := conforms(root, root["$defs"].(map[string]any)[name].(map[string]any), v, at); problem != "" {
				return problem
			}
		case "type":
			kinds, ok := arg.([]any)
			if !ok {
				kinds = []any{arg}
			}
			bad = !slices.Contains(kinds, any(kindOfJSON(v)))
		case "pattern":
			if s, ok := v.(string); ok {
				bad = !regexp.MustCompile(arg.(string)).MatchString(s)
			}
		case "minLength":
			if s, ok := v.(string); ok {
				bad = len(s) < int(arg.(float64))
			}
		case "maxLength":
			if s, ok := v.(string); ok {
				bad = len(s) > int(arg.(float64))
			}
		case "minItems":
			if list, ok := v.([]any); ok {
				bad = len(list) < int(arg.(float64))
			}
		case "required":
			if m, ok := v.(map[string]any); ok {
				for _, name := range arg.([]any) {
					if _, there := m[name.(string)]; !there {
						bad = true
					}
				}
			}
		case "not":
			bad = conforms(root, arg.(map[string]any), v, at) == ""
		case "items":
			if list, ok := v.([]any); ok {
				for i, item := range list {
					if problem := conforms(root, arg.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i)); problem != "" {
						return problem
					}
				}
			}
		case "properties", "additionalProperties":
			m, _ := v.(map[string]any)
			known, _ := schema["properties"].(map[string]any)
			for name, value := range m {
				sub, ok := known[name].(map[string]any)
				if !ok {
					if sub, ok = schema["additionalProperties"].(map[string]any); !ok {
						return at + "." + name + ": unknown"
					}
				}
				if problem := conforms(root, sub, value, at+"."+name); problem != "" {
					return problem
				}
			}
		default:
			return "the schema uses " + keyword + ", which this test does not know"
		}
		if bad {
			return fmt.Sprintf("%s: %v: %s %v", at, v, keyword, arg)
		}
	}
	return ""
}

func kindOfJSON(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case bool:
		return "boolean"
	}
	return "number"
}

func withWorld(t *testing.T, text string) func(*Config) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "world.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.World = path }
}

func TestWorldPrincipals(t *testing.T) {
	const bob, ci = "11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555"
	l := labOf(t, start(t, withWorld(t, `
accounts:
  - name: `+accountOne+`
    containers: [{name: box, blobs: [{name: hello.txt, text: `+helloText+`}]}]
identities: [{name: my-uai}]
principals:
  users: [{name: alice}, {name: bob, objectId: `+bob+`}]
  servicePrincipals: [{name: ci, clientId: `+ci+`}]
  groups:
    - {name: outer, members: [inner, ci, my-uai]}
    - {name: inner, members: [alice]}
assignments:
  - {principal: outer, role: Storage Blob Data Reader, scope: "container:`+accountOne+`/box"}
`)))
	for who, want := range map[string]int{"alice": 200, "bob": 403, "ci": 200, "my-uai": 200, bob: 403, ci: 200} {
		if a := l.readRaw(t, l.tokenAs(t, who, forStorage), "2024-11-04"); a.status != want {
			t.Errorf("%s reads: %d %s, want %d", who, a.status, a.body, want)
		}
	}
	// A service principal of a world has no secret until one is asked for.
	var made PrincipalInfo
	l.adminDo(t, http.MethodPost, "principals/secret", map[string]string{"principal": "ci"}, http.StatusCreated, &made)
	if _, err := l.session(ci, made.Secret).blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil); err != nil {
		t.Error(err)
	}
}

func TestWorldMistakes(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown role", "identities: [{name: one}]\nassignments:\n  - {principal: one, role: Reader, scope: subscription}\n  - {principal: one, role: Riter, scope: subscription}\n", "line 4: "},
		{"unknown principal", "assignments:\n\n  - principal: nobody\n    role: Reader\n    scope: subscription\n", "line 3: "},
		{"unknown account", "identities: [{name: one}]\nassignments:\n  - {principal: one, role: Reader, scope: \"account:nothere\"}\n", "line 3: "},
		{"twice", "accounts:\n  - name: mystorage\n  - name: mystorage\n", "line 3: "},
		{"an identity and a user of one name", "identities: [{name: one}]\nprincipals:\n  users:\n    - name: one\n", "line 4: "},
		{"an endpoint twice", "endpoints:\n  - name: abc\n  - name: ABC\n", "line 3: "},
		{"an endpoint's identity", "identities: [{name: one}]\nendpoints:\n  - name: abc\n    identity:\n      - one\n      - two\n", "line 6: \"two\" is no identity"},
		{"an identity that is not there", "endpoints:\n  - name: abc\n    identity: [" + seedGroup + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/gone]\n", "line 2: endpoint abc: "},
		{"no identity of its own", "identities: [{name: one}]\nendpoints: [{name: abc, identity: [one]}]\nassignments:\n  - principal: endpoint:abc\n    role: Reader\n    scope: subscription\n", "line 4: endpoint \"abc\" has no identity of its own"},
		{"unknown endpoint", "assignments:\n  - principal: endpoint:abc\n    role: Reader\n    scope: subscription\n", "line 2: "},
		{"two mistakes", "accounts:\n  - name: A\n  - name: B\n", "line 2: \"A\" is no name"},
		{"unknown member", "principals:\n  groups: [{name: g, members: [nobody]}]\n", "member nobody of group g"},
		{"cycle", "principals:\n  groups: [{name: g, members: [h]}, {name: h, members: [g]}]\n", "cannot be a member of itself"},
		{"the owner's id", "principals:\n  groups: [{name: g, objectId: " + azure.SeedOwnerObjectID + "}]\n", "belongs to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Ephemeral: true, CADir: t.TempDir(), Logf: t.Logf}
			withWorld(t, tt.text)(&c)
			e, err := New(t.Context(), c)
			if err == nil {
				closeEmulator(t, e)
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v lacks %q", err, tt.want)
			}
		})
	}
}
