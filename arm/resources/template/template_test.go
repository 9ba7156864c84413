package template_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/amlocal/amlocal/arm/resources/template"
)

const group = "/subscriptions/s1/resourceGroups/rg"

func place() template.Place {
	return template.Place{
		Subscription: map[string]any{"id": "/subscriptions/s1", "subscriptionId": "s1", "tenantId": "t1"},
		Group:        map[string]any{"id": group, "name": "rg", "location": "eastus", "tags": map[string]any{"a": "b"}},
		Name:         "d1", Tenant: "t1", Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), NewGUID: func() string { return "new" },
	}
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return v
}

// world answers reference() and list*().
type world map[string]string

func (w world) Reference(id, version string) (map[string]any, error) {
	text, ok := w[strings.ToLower(id)+"@"+version]
	if !ok {
		return nil, errors.New("no " + id + "@" + version)
	}
	var out map[string]any
	return out, json.Unmarshal([]byte(text), &out)
}

func (w world) List(id, verb, version string, body any) (any, error) {
	return map[string]any{"of": id, "verb": verb, "version": version, "body": body}, nil
}

// evaluate is the value of one expression, as an output.
func evaluate(t *testing.T, expression string) (any, error) {
	t.Helper()
	quoted, err := json.Marshal(expression)
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := template.New(object(t, `{"parameters":{"p":{"type":"string","defaultValue":"Value"},"n":{"type":"int","defaultValue":3},
		"list":{"type":"array","defaultValue":["a","b"]},"o":{"type":"object","defaultValue":{"k":{"Inner":[10,20]}}},"id":{"type":"string","defaultValue":"[newGuid()]"}},
		"variables":{"v":"[concat(parameters('p'),'-v')]","loop":"[variables('loop')]","copy":[{"name":"many","count":2,"input":"[copyIndex('many',1)]"}]},
		"resources":[{"type":"A.B/things","apiVersion":"1","name":"one"}],
		"outputs":{"x":{"type":"string","value":`+string(quoted)+`}}}`), nil, place())
	if err != nil {
		return nil, err
	}
	out, err := tpl.Outputs(world{group + "/providers/a.b/things/one@1": `{"id":"x","location":"eastus","properties":{"n":7}}`,
		strings.ToLower(group) + "/providers/a.b/things/one@1": `{"id":"x","location":"eastus","properties":{"n":7}}`})
	if err != nil {
		return nil, err
	}
	return out["x"].(map[string]any)["value"], nil
}

func TestFunctions(t *testing.T) {
	for expression, want := range map[string]any{
		"plain":                                                        "plain",
		"[[not one]":                                                   "[not one]",
		"['it''s']":                                                    "it's",
		"[ concat( 'a' , 'b' ) ]":                                      "ab",
		"[Parameters('P')]":                                            "Value",
		"[variables('v')]":                                             "Value-v",
		"[variables('many')]":                                          []any{int64(1), int64(2)},
		"[parameters('o').k.inner[1]]":                                 int64(20),
		"[parameters('o')['k'].Inner[0]]":                              int64(10),
		"[parameters('id')]":                                           "new",
		"[toLower(parameters('p'))]":                                   "value",
		"[if(true(), 'a', variables('no'))]":                           "a",
		"[and(true(), equals(1, 1), not(false()))]":                    true,
		"[or(false(), empty(''))]":                                     true,
		"[equals(json('null'), null())]":                               true,
		"[string(json('{\"a\": [1, true]}'))]":                         `{"a":[1,true]}`,
		"[contains(parameters('list'), 'b')]":                          true,
		"[contains('abc', 'B')]":                                       false,
		"[length(concat(parameters('list'), array('c')))]":             int64(3),
		"[join(split('a-b', '-'), '+')]":                               "a+b",
		"[substring('abcdef', 2, 3)]":                                  "cde",
		"[take(skip('abcdef', 1), 2)]":                                 "bc",
		"[padLeft(7, 3, '0')]":                                         "007",
		"[format('{0}/{1}', 'a', 2)]":                                  "a/2",
		"[add(mul(2, 3), mod(7, div(9, 4)))]":                          int64(7),
		"[min(3, 1, 2)]":                                               int64(1),
		"[base64ToString(base64('é'))]":                                "é",
		"[uriComponent('a b&c')]":                                      "a%20b%26c",
		"[replace('a.b.c', '.', '')]":                                  "abc",
		"[coalesce(null(), 'x')]":                                      "x",
		"[last(createArray(1, 2))]":                                    int64(2),
		"[union(createObject('a', 1), createObject('b', 2)).b]":        int64(2),
		"[string(intersection(createArray(1, 2), createArray(2, 3)))]": "[2]",
		"[tryGet(createObject('a', 1), 'b')]":                          nil,
		"[deployment().name]":                                          "d1",
		"[resourceGroup().location]":                                   "eastus",
		"[subscription().tenantId]":                                    "t1",
		"[environment().suffixes.storage]":                             "core.windows.net",
		"[resourceId('A.B/c', 'x')]":                                   group + "/providers/A.B/c/x",
		"[resourceId('A.B/c/d', 'x', 'y')]":                            group + "/providers/A.B/c/x/d/y",
		"[resourceId('other', 'A.B/c', 'x')]":                          "/subscriptions/s1/resourceGroups/other/providers/A.B/c/x",
		"[resourceId('s2', 'other', 'A.B/c', 'x')]":                    "/subscriptions/s2/resourceGroups/other/providers/A.B/c/x",
		"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'r')]": "/subscriptions/s1/providers/Microsoft.Authorization/roleDefinitions/r",
		"[tenantResourceId('A.B/c', 'x')]":                                         "/providers/A.B/c/x",
		"[extensionResourceId(resourceId('A.B/c', 'x'), 'E.F/g', 'y')]":            group + "/providers/A.B/c/x/providers/E.F/g/y",
		"[guid('a', 'b')]":                               "87d4a0ed-2fdd-5a0c-ac4c-2fb4d0a5b7c5",
		"[length(uniqueString('a'))]":                    int64(13),
		"[equals(uniqueString('a'), uniqueString('b'))]": false,
		"[reference('one').n]":                           int64(7),
		"[reference('one', '1', 'Full').location]":       "eastus",
		"[listKeys('one', '2').verb]":                    "listkeys",
		"[less('a', 'b')]":                               true,
		"[bool('True')]":                                 true,
	} {
		got, err := evaluate(t, expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if strings.HasPrefix(expression, "[guid(") {
			if s, _ := got.(string); len(s) != 36 || s[14] != '5' {
				t.Errorf("%s is %v, want a GUID of version 5", expression, got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", expression, diff)
		}
	}
}

func TestBadExpressions(t *testing.T) {
	for expression, says := range map[string]string{
		"[concat('a']":                    "ends too early",
		"[concat('a',)]":                  "unexpected ')'",
		"['open]":                         "ends too early",
		"[]":                              "ends too early",
		"[parameters('none')]":            "'none' is not found",
		"[variables('loop')]":             "refers to itself",
		"[nothing('a')]":                  "'nothing' is not valid",
		"[toLower()]":                     "does not take 0 arguments",
		"[toLower(1)]":                    "1 is no string",
		"[parameters('o').none]":          "available properties are 'k'",
		"[parameters('list')[2]]":         "no element 2",
		"[substring('abc', 2, 5)]":        "reach beyond",
		"[div(1, 0)]":                     "division by zero",
		"[newGuid()]":                     "default value of a parameter",
		"[resourceId('A.B/c', 'x', 'y')]": "incorrect segment lengths",
		"[reference('two').n]":            "'two' is not defined",
		"[copyIndex()]":                   "no loop",
		"[format('{3}', 'a')]":            "nothing for '{3}'",
		"[" + strings.Repeat("string(", 200) + "'a'" + strings.Repeat(")", 200) + "]": "too deeply",
	} {
		got, err := evaluate(t, expression)
		var bad *template.Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v; want a refusal with %q", expression, got, err, says)
		}
	}
}

func ids(resources []*template.Resource) (out []string) {
	for _, r := range resources {
		if r.Wanted {
			out = append(out, strings.TrimPrefix(r.ID, group+"/providers/"))
		}
	}
	return out
}

func TestResources(t *testing.T) {
	for name, tt := range map[string]struct {
		resources string
		want      []string
	}{
		"in order of need": {`[{"type":"A.B/x","apiVersion":"1","name":"late","dependsOn":["[resourceId('A.B/x','early')]"]},{"type":"A.B/x","apiVersion":"1","name":"early"}]`,
			[]string{"A.B/x/early", "A.B/x/late"}},
		"need by reference": {`[{"type":"A.B/x","apiVersion":"1","name":"late","properties":{"k":"[concat('a', reference(resourceId('A.B/x','early')).p)]"}},{"type":"A.B/x","apiVersion":"1","name":"early"}]`,
			[]string{"A.B/x/early", "A.B/x/late"}},
		"condition": {`[{"type":"A.B/x","apiVersion":"1","name":"no","condition":"[equals('a','b')]"},{"type":"A.B/x","apiVersion":"1","name":"yes","condition":true,"dependsOn":["no"]}]`,
			[]string{"A.B/x/yes"}},
		"loop": {`[{"type":"A.B/x","apiVersion":"1","name":"[concat('n', copyIndex())]","copy":{"name":"all","count":2}},{"type":"A.B/y","apiVersion":"1","name":"after","dependsOn":["all"]}]`,
			[]string{"A.B/x/n0", "A.B/x/n1", "A.B/y/after"}},
		"children": {`[{"type":"A.B/x","apiVersion":"1","name":"p","resources":[{"type":"y","apiVersion":"1","name":"c"}]}]`,
			[]string{"A.B/x/p", "A.B/x/p/y/c"}},
		"extension": {`[{"type":"E.F/g","apiVersion":"1","name":"r","scope":"[resourceId('A.B/x','p')]"},{"type":"E.F/g","apiVersion":"1","name":"s","scope":"A.B/x/p"}]`,
			[]string{"A.B/x/p/providers/E.F/g/r", "A.B/x/p/providers/E.F/g/s"}},
		"symbols": {`{"one":{"type":"A.B/x","apiVersion":"1","name":"1","dependsOn":["two"]},"two":{"type":"A.B/x","apiVersion":"1","name":"2"}}`,
			[]string{"A.B/x/2", "A.B/x/1"}},
	} {
		tpl, err := template.New(object(t, `{"resources":`+tt.resources+`}`), nil, place())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		all, err := tpl.Resources()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, ids(all)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	const x = `{"type":"A.B/x","apiVersion":"1","name":"x"`
	for name, tt := range map[string]struct{ template, parameters, says string }{
		"no resources":     {`{}`, ``, "no 'resources'"},
		"missing":          {`{"parameters":{"need":{"type":"string"}},"resources":[]}`, ``, "'need' is not provided"},
		"unknown":          {`{"resources":[]}`, `{"what":{"value":1}}`, "'what'"},
		"wrong type":       {`{"parameters":{"n":{"type":"int"}},"resources":[]}`, `{"n":{"value":"a"}}`, "Expected 'int'"},
		"not allowed":      {`{"parameters":{"n":{"type":"string","allowedValues":["a"]}},"resources":[]}`, `{"n":{"value":"b"}}`, "not part of the allowed"},
		"twice":            {`{"resources":[` + x + `},` + x + `}]}`, ``, "defined multiple times"},
		"circle":           {`{"resources":[` + x + `,"dependsOn":["y"]},{"type":"A.B/x","apiVersion":"1","name":"y","dependsOn":["x"]}]}`, ``, "Circular"},
		"needs a stranger": {`{"resources":[` + x + `,"dependsOn":["z"]}]}`, ``, "'z' is not defined"},
		"segments":         {`{"resources":[{"type":"A.B/x/y","apiVersion":"1","name":"x"}]}`, ``, "segment lengths"},
		"no version":       {`{"resources":[{"type":"A.B/x","name":"x"}]}`, ``, "no apiVersion"},
		"too many":         {`{"resources":[` + x + `,"copy":{"name":"c","count":100000}}]}`, ``, "0 to 800"},
		"functions":        {`{"functions":[{"namespace":"n"}],"resources":[]}`, ``, "not evaluated"},
		"vault secret":     {`{"parameters":{"n":{"type":"string"}},"resources":[]}`, `{"n":{"reference":{"keyVault":{}}}}`, "vault"},
	} {
		var params map[string]any
		if tt.parameters != "" {
			params = object(t, tt.parameters)
		}
		tpl, err := template.New(object(t, tt.template), params, place())
		if err == nil {
			_, err = tpl.Resources()
		}
		var bad *template.Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestBodies(t *testing.T) {
	tpl, err := template.New(object(t, `{"parameters":{"secret":{"type":"secureString"},"plain":{"type":"string","defaultValue":"p"}},"resources":[
		{"type":"A.B/x","apiVersion":"1","name":"x","location":"[resourceGroup().location]","comments":"no","properties":{
			"[concat('k','1')]":"v","big":12345678901234567,"float":1.50,"nothing":"[json('null')]","secret":"[parameters('secret')]",
			"copy":[{"name":"list","count":2,"input":{"i":"[copyIndex('list')]"}}]}},
		{"type":"Microsoft.Resources/deployments","apiVersion":"1","name":"outer","properties":{"mode":"Incremental","template":{"resources":["[parameters('plain')]"]}}},
		{"type":"Microsoft.Resources/deployments","apiVersion":"1","name":"inner","resourceGroup":"other","properties":{"mode":"Incremental",
			"expressionEvaluationOptions":{"scope":"inner"},"parameters":{"a":{"value":"[parameters('plain')]"}},"template":{"resources":["[parameters('a')]"]}}}]}`),
		object(t, `{"secret":{"value":"s3cret"}}`), place())
	if err != nil {
		t.Fatal(err)
	}
	all, err := tpl.Resources()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"location":"eastus","properties":{"big":12345678901234567,"float":1.50,"k1":"v","list":[{"i":0},{"i":1}],"nothing":null,"secret":"s3cret"}}`,
		`{"properties":{"mode":"Incremental","template":{"resources":["p"]}}}`,
		`{"properties":{"expressionEvaluationOptions":{"scope":"inner"},"mode":"Incremental","parameters":{"a":{"value":"p"}},"template":{"resources":["[parameters('a')]"]}}}`,
	} {
		body, err := all[i].Body(world{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(body)
		if err != nil || string(got) != want {
			t.Errorf("%s\n%s, %v, want\n%s", all[i].Name, got, err, want)
		}
	}
	if all[2].ID != "/subscriptions/s1/resourceGroups/other/providers/Microsoft.Resources/deployments/inner" {
		t.Error(all[2].ID)
	}
	shown, err := json.Marshal(tpl.Parameters())
	if err != nil || bytes.Contains(shown, []byte("s3cret")) || !bytes.Contains(shown, []byte(`"plain":{"type":"String","value":"p"}`)) {
		t.Errorf("shown: %s, %v", shown, err)
	}
}

// Whatever an expression says, it is evaluated or refused.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"[concat('a', variables('v'))]", "[resourceId('A.B/c','x')]", "[if(true(),1,2)]", "[a(b(c[0].d)))]", "[[x]", "['']", "[-1]", "[padLeft('a',9999999)]", "[range(0,99)]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := template.New(map[string]any{"variables": map[string]any{"v": text}, "resources": []any{
			map[string]any{"type": "A.B/x", "apiVersion": "1", "name": "x", "properties": map[string]any{"k": text}}}}, nil, place())
		if err != nil {
			t.Fatal(err)
		}
		all, err := tpl.Resources()
		if err != nil {
			t.Fatal(err)
		}
		_, err = all[0].Body(world{})
		var bad *template.Error
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%q: %T %v", text, err, err)
		}
	})
}
