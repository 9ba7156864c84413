package amlocal

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// The shapes of names in a world file; docs/world.schema.json has the same.
var (
	worldAccountName    = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	worldContainerName  = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)
	worldVaultName      = regexp.MustCompile(`^[A-Za-z](-?[A-Za-z0-9]){2,23}$`)
	worldSecretName     = regexp.MustCompile(`^[A-Za-z0-9-]{1,127}$`)
	worldConnectionName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`)
	worldIdentityName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$`)
	worldClusterName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)
	worldEndpointName   = regexp.MustCompile(`^[a-zA-Z](-?[a-zA-Z0-9])*$`)
	worldAuthMode       = regexp.MustCompile(`^(key|aml_token|aad_token)?$`)
	worldUserName       = regexp.MustCompile(`^[A-Za-z0-9'._!#^~-]+(@[A-Za-z0-9.-]+)?$`)
	worldScopeShape     = regexp.MustCompile(`^(/|/subscriptions/.+|subscription|(group|account|registry|vault|workspace|endpoint):[^/]+|container:[^/]+/[^/]+)$`)
)

// mistake is something in a world file that cannot be meant.
type mistake struct {
	path, message string // path as yaml.PathString takes it
}

// mistakes are all that can be found without applying the world.
func (w *world) mistakes() (out []mistake) {
	say := func(path, format string, args ...any) {
		out = append(out, mistake{path, fmt.Sprintf(format, args...)})
	}
	missing := func(path string) { say(path, "%s is missing", strings.TrimPrefix(path, "$.")) }
	shape := func(path, value string, want *regexp.Regexp, what string) {
		if value == "" {
			missing(path)
		} else if !want.MatchString(value) {
			say(path, "%q is no name of %s", value, what)
		}
	}
	names := map[string]bool{}
	once := func(path, kind, name string) {
		key := kind + "\x00" + strings.ToLower(name)
		if name != "" && names[key] {
			say(path, "%q is there twice", name)
		}
		names[key] = true
	}
	for i, a := range w.Accounts {
		at := fmt.Sprintf("$.accounts[%d]", i)
		shape(at+".name", a.Name, worldAccountName, "a storage account (3 to 24 lower-case letters and digits)")
		once(at+".name", "account", a.Name)
		for j, c := range a.Containers {
			at := fmt.Sprintf("%s.containers[%d]", at, j)
			shape(at+".name", c.Name, worldContainerName, "a container (3 to 63 lower-case letters, digits and single hyphens)")
			once(at+".name", "container "+a.Name, c.Name)
			for k, b := range c.Blobs {
				at := fmt.Sprintf("%s.blobs[%d]", at, k)
				if b.Name == "" {
					missing(at + ".name")
				}
				if b.File != "" && b.Text != "" {
					say(at+".text", "a blob has a file or a text, not both")
				}
			}
		}
	}
	for i, v := range w.Vaults {
		at := fmt.Sprintf("$.vaults[%d]", i)
		shape(at+".name", v.Name, worldVaultName, "a key vault (3 to 24 letters, digits and single hyphens)")
		if len(v.Name) > 24 {
			say(at+".name", "%q is longer than the 24 characters of a key vault's name", v.Name)
		}
		once(at+".name", "vault", v.Name)
		for j, secret := range v.Secrets {
			at := fmt.Sprintf("%s.secrets[%d]", at, j)
			shape(at+".name", secret.Name, worldSecretName, "a secret (1 to 127 letters, digits and hyphens)")
			once(at+".name", "secret "+v.Name, secret.Name)
			if secret.Value == "" {
				missing(at + ".value")
			}
		}
	}
	for i, c := range w.Connections {
		at := fmt.Sprintf("$.connections[%d]", i)
		shape(at+".name", c.Name, worldConnectionName, "a connection (3 to 33 letters, digits, - and _)")
		once(at+".name", "connection", strings.ToLower(c.Name))
		if c.AuthType == "" {
			missing(at + ".authType")
		}
		if c.Category == "" {
			missing(at + ".category")
		}
	}
	for i, id := range w.Identities {
		at := fmt.Sprintf("$.identities[%d].name", i)
		shape(at, id.Name, worldIdentityName, "an identity (3 to 128 letters, digits, - and _)")
		once(at, "principal", id.Name)
	}
	for i, c := range w.Clusters {
		at := fmt.Sprintf("$.clusters[%d]", i)
		shape(at+".name", c.Name, worldClusterName, "a cluster (1 to 63 letters, digits, - and _)")
		once(at+".name", "cluster", c.Name)
		if c.Kind != "" && c.Kind != "aks" && c.Kind != "arc" {
			say(at+".kind", "a cluster's kind is aks or arc, not %q", c.Kind)
		}
	}
	w.endpointMistakes(say, shape, once)
	w.principalMistakes(say, missing, shape, once)
	for i, issuer := range w.Issuers {
		at := fmt.Sprintf("$.issuers[%d]", i)
		if issuer.Issuer == "" {
			missing(at + ".issuer")
		} else if !strings.HasPrefix(issuer.Issuer, "https://") {
			say(at+".issuer", "issuer %q is no https URL", issuer.Issuer)
		}
		once(at+".issuer", "issuer", issuer.Issuer)
		if issuer.Keys == "" {
			missing(at + ".keys")
		}
	}
	for i, a := range w.Assignments {
		at := fmt.Sprintf("$.assignments[%d]", i)
		if a.Principal == "" {
			missing(at + ".principal")
		} else if why := w.noPrincipal(a.Principal); why != "" {
			say(at+".principal", "%s", why)
		}
		if a.Role == "" {
			missing(at + ".role")
		}
		switch {
		case a.Scope == "":
			missing(at + ".scope")
		case !worldScopeShape.MatchString(a.Scope):
			say(at+".scope", "scope %q is none of subscription, group:, account:, container:ACCOUNT/CONTAINER, registry:, vault:, workspace:, endpoint:, or a resource id", a.Scope)
		}
	}
	for image, argv := range w.Images {
		if len(argv) == 0 || argv[0] == "" {
			say("$.images.'"+strings.ReplaceAll(image, "'", `\'`)+"'", "an image needs the command that stands for it")
		}
	}
	return out
}

func (w *world) endpointMistakes(say func(path, format string, args ...any), shape func(string, string, *regexp.Regexp, string), once func(path, kind, name string)) {
	for i, e := range w.Endpoints {
		at := fmt.Sprintf("$.endpoints[%d]", i)
		shape(at+".name", e.Name, worldEndpointName, "an endpoint (a letter, then letters, digits and single hyphens)")
		if e.Name != "" && (len(e.Name) < 3 || len(e.Name) > 32) {
			say(at+".name", "the name of an endpoint has 3 to 32 characters, not the %d of %q", len(e.Name), e.Name)
		}
		once(at+".name", "endpoint", e.Name)
		if !worldAuthMode.MatchString(e.AuthMode) {
			say(at+".auth_mode", "an endpoint's auth_mode is key, aml_token or aad_token, not %q", e.AuthMode)
		}
		names, ok := e.identities()
		if !ok {
			say(at+".identity", "an endpoint's identity is system, or a list of identities")
		}
		for j, name := range names {
			if !strings.HasPrefix(name, "/") && !slices.ContainsFunc(w.Identities, func(i worldIdentity) bool { return i.Name == name }) {
				say(fmt.Sprintf("%s.identity[%d]", at, j), "%q is no identity of this file, and no resource id", name)
			}
		}
	}
}

// noPrincipal says why a role cannot go to endpoint:NAME; "" if it can, or if
// it is about something else.
func (w *world) noPrincipal(who string) string {
	name, ok := strings.CutPrefix(who, endpointPrefix)
	if !ok {
		return ""
	}
	i := slices.IndexFunc(w.Endpoints, func(e worldEndpoint) bool { return e.Name == name })
	if i < 0 {
		return fmt.Sprintf("%q is no endpoint of this file", name)
	}
	if names, _ := w.Endpoints[i].identities(); len(names) > 0 {
		return fmt.Sprintf("endpoint %q has no identity of its own; name one of its user-assigned identities", name)
	}
	return ""
}

func (w *world) principalMistakes(say func(path, format string, args ...any), missing func(string), shape func(string, string, *regexp.Regexp, string), once func(path, kind, name string)) {
	guid := func(path, value string) {
		if value != "" && !guidShape.MatchString(value) {
			say(path, "%q is no GUID", value)
		}
	}
	for i, u := range w.Principals.Users {
		at := fmt.Sprintf("$.principals.users[%d]", i)
		shape(at+".name", u.Name, worldUserName, "a user")
		once(at+".name", "principal", u.Name)
		guid(at+".objectId", u.ObjectID)
	}
	for i, sp := range w.Principals.ServicePrincipals {
		at := fmt.Sprintf("$.principals.servicePrincipals[%d]", i)
		if strings.TrimSpace(sp.Name) == "" {
			missing(at + ".name")
		}
		once(at+".name", "principal", sp.Name)
		guid(at+".objectId", sp.ObjectID)
		guid(at+".clientId", sp.ClientID)
		for j, f := range sp.Federated {
			at := fmt.Sprintf("%s.federated[%d]", at, j)
			if f.Issuer == "" {
				missing(at + ".issuer")
			} else if !strings.HasPrefix(f.Issuer, "https://") {
				say(at+".issuer", "issuer %q is no https URL", f.Issuer)
			}
			if f.Subject == "" {
				missing(at + ".subject")
			}
		}
	}
	for i, g := range w.Principals.Groups {
		at := fmt.Sprintf("$.principals.groups[%d]", i)
		if strings.TrimSpace(g.Name) == "" {
			missing(at + ".name")
		}
		once(at+".name", "principal", g.Name)
		guid(at+".objectId", g.ObjectID)
		for j, m := range g.Members {
			if m == "" {
				say(fmt.Sprintf("%s.members[%d]", at, j), "a member without a name")
			}
		}
	}
}

// worldError names the line of each mistake.
func worldError(raw []byte, list []mistake) error {
	parsed, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range list {
		where := ""
		if line := lineOf(parsed, m.path); line > 0 {
			where = fmt.Sprintf("line %d: ", line)
		}
		errs = append(errs, errors.New(where+m.message))
	}
	return errors.Join(errs...)
}

// lineOf is the line a path stands on; of a path that is not there, the line
// of what should hold it.
func lineOf(file *ast.File, at string) int {
	for at != "" && at != "$" {
		if p, err := yaml.PathString(at); err == nil {
			if node, err := p.FilterFile(file); err == nil && node != nil {
				if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
					return m.Values[0].Key.GetToken().Position.Line
				}
				return node.GetToken().Position.Line
			}
		}
		if i := strings.LastIndexAny(at, ".["); i > 0 {
			at = at[:i]
		} else {
			break
		}
	}
	return 0
}
