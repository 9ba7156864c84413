package machinelearning

import (
	"slices"
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// authKind is one way a connection authenticates, and the credentials it is
// made of. Each of needs names members of which one has to be there.
type authKind struct {
	name  string
	needs [][]string
	// none says that the kind has no credentials; those sent are dropped.
	none bool
	// keys says that the credentials are names of the user's own, in `keys`.
	keys bool
}

// authKinds are those of the published model (2024-04-01-preview). Which members
// Azure insists on is not published, but for OAuth2; here those without which a
// connection is of no use are required (unverified).
var authKinds = []authKind{
	{name: "AAD", none: true},
	{name: "AccessKey", needs: [][]string{{"accessKeyId"}, {"secretAccessKey"}}},
	{name: "AccountKey", needs: [][]string{{"key", "sas"}}}, // azure-ai-ml sends it as sas
	{name: "ApiKey", needs: [][]string{{"key"}}},
	{name: "CustomKeys", keys: true},
	{name: "ManagedIdentity"},
	{name: "None", none: true},
	{name: "OAuth2", needs: [][]string{{"clientId"}, {"clientSecret"}}},
	{name: "PAT", needs: [][]string{{"pat"}}},
	{name: "SAS", needs: [][]string{{"sas"}}},
	{name: "ServicePrincipal", needs: [][]string{{"clientId"}, {"clientSecret"}, {"tenantId"}}},
	{name: "UsernamePassword", needs: [][]string{{"username"}, {"password"}}},
}

func authKindOf(name string) (authKind, error) {
	names := make([]string, len(authKinds))
	for i, kind := range authKinds {
		if strings.EqualFold(kind.name, name) {
			return kind, nil
		}
		names[i] = kind.name
	}
	if name == "" {
		return authKind{}, errConnection("properties.authType is required.")
	}
	return authKind{}, errConnection("The authType '%s' is not supported; use one of %s.", name, strings.Join(names, ", "))
}

// read checks credentials and drops members that are null.
func (k authKind) read(given arm.Document) (arm.Document, error) {
	if k.none {
		return nil, nil
	}
	if k.keys {
		keys, err := texts("properties.credentials.keys", given.Object("keys"))
		if err == nil && len(keys) == 0 {
			err = errConnection("A connection with the authType %s needs at least one entry in properties.credentials.keys.", k.name)
		}
		if err != nil {
			return nil, err
		}
		return arm.Document{"keys": map[string]any(keys)}, nil
	}
	out, err := texts("properties.credentials", given)
	if err != nil {
		return nil, err
	}
	for _, choice := range k.needs {
		if !slices.ContainsFunc(choice, func(member string) bool { return out.String(member) != "" }) {
			return nil, errConnection("A connection with the authType %s needs properties.credentials.%s.", k.name, choice[0])
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// texts is an object without its nulls, all of whose values have to be strings.
func texts(path string, object arm.Document) (arm.Document, error) {
	out := arm.Document{}
	for name, value := range object {
		if value == nil {
			continue
		}
		if _, ok := value.(string); !ok {
			return nil, errConnection("%s.%s must be a string.", path, name) // the value is a secret: not shown
		}
		out[name] = value
	}
	return out, nil
}

// credential finds what a reference names: for custom keys one of the user's
// own names, else a member of the credentials.
func credential(credentials arm.Document, key string) (string, bool) {
	if keys := credentials.Object("keys"); keys != nil {
		credentials = keys
	}
	value, ok := credentials[key].(string)
	return value, ok
}
