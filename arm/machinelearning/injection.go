package machinelearning

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Vaults reads secrets of key vaults; the root package makes it of vault.
type Vaults interface {
	// UsesRoles says whether a vault's permission model is Azure RBAC.
	UsesRoles(ctx context.Context, vault string) (uses, exists bool, err error)
	// Read is a secret's value as a bearer caller would read it: the same
	// role check, audit entry and refusal. decision is zero where it was
	// refused before roles were asked.
	Read(ctx context.Context, who azure.Principal, vault, name, version string) (value string, decision azure.Decision, err error)
}

// Seal closes what may not lie in clear in the state folder; internal/seal
// satisfies it.
type Seal interface {
	Seal(name string, value []byte) []byte
	Open(name string, sealed []byte) ([]byte, error)
}

const (
	readSecrets       = connectionType + "/listsecrets/action"
	roleSecretsReader = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5"
	secretsReaderName = "Azure Machine Learning Workspace Connection Secrets Reader"
	vaultReaderName   = "Key Vault Secrets User"
)

// secretsCheck is the permission to read the secrets of a workspace's
// connections. The documents ask for it at the workspace: a role at a single
// connection is not counted (unverified).
func secretsCheck(workspace string) azure.Check {
	return azure.Check{Action: readSecrets, Scope: workspace}
}

// inject resolves the references in a deployment's variables, as the endpoint's
// identity, once per deployment operation. The values are kept in the plan,
// never in the definition or a log.
func (p *Provider) inject(ctx context.Context, pl *plan, log io.Writer) error {
	variables := pl.doc.Object("properties", "environmentVariables")
	connections := map[string]arm.Document{}
	pl.injected = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		text, _ := variables[name].(string)
		ref, is, err := parseReference(text)
		if !is {
			continue
		}
		value := ""
		if err == nil {
			value, err = p.resolve(ctx, pl, ref, connections)
		}
		if err == nil && strings.ContainsRune(value, 0) {
			err = errors.New("the value holds a NUL character, which no environment variable can")
		}
		if err != nil {
			return errInjection(pl, name, text, err)
		}
		pl.injected[name] = value
		_, _ = fmt.Fprintf(log, "Injected %s from %s\n", name, ref.text)
	}
	return nil
}

func (p *Provider) resolve(ctx context.Context, pl *plan, ref secretReference, connections map[string]arm.Document) (string, error) {
	if ref.vault != "" {
		return p.vaultSecret(ctx, pl, ref)
	}
	key := strings.ToLower(ref.connection)
	connection, read := connections[key]
	if !read {
		var err error
		if connection, err = p.connectionSecrets(ctx, pl, ref.connection); err != nil {
			return "", err
		}
		connections[key] = connection
	}
	value, ok := "", false
	switch ref.part {
	case partCredential:
		value, ok = credential(connection.Object("properties", "credentials"), ref.key)
		if !ok {
			return "", fmt.Errorf("the connection '%s' has no credential '%s'", ref.connection, ref.key)
		}
	case partMetadata:
		if value, ok = connection.Object("properties", "metadata")[ref.key].(string); !ok {
			return "", fmt.Errorf("the connection '%s' has no metadata '%s'", ref.connection, ref.key)
		}
	case partTarget:
		if value = connection.String("properties", "target"); value == "" {
			return "", fmt.Errorf("the connection '%s' has no target", ref.connection)
		}
	default:
		raw, err := json.Marshal(connection)
		if err != nil {
			return "", err
		}
		value = string(raw)
	}
	return value, nil
}

// connectionSecrets is a connection of the endpoint's workspace as listsecrets
// answers it to the endpoint's identity. Metadata and target take the same
// permission: the service reads the connection as a whole.
func (p *Provider) connectionSecrets(ctx context.Context, pl *plan, name string) (out arm.Document, err error) {
	id := pl.workspace.ResourceID().Child("connections", name)
	d := p.deps.Authorizer.Decide(ctx, pl.who, secretsCheck(pl.workspace.ID))
	entry := &audit.Entry{
		RequestID: uuid.NewString(), Time: p.deps.Clock.Now(), Plane: "machinelearning", Operation: "machinelearning.InjectConnectionSecrets",
		Method: http.MethodPost, Path: id.String() + "/listsecrets", Caller: azure.Caller{Scheme: azure.Bearer, Principal: pl.who},
		Instance: pl.instance(), Status: http.StatusOK,
	}
	entry.Decide(d)
	defer func() { p.deps.Audit.Close(entry) }()
	if !d.Allowed {
		entry.Status, entry.Code = http.StatusForbidden, "AuthorizationFailed"
		return nil, fmt.Errorf("it is not authorized to perform the action '%s' over the scope '%s'. Assign it the role %s at that workspace and create the deployment again",
			readSecrets, pl.workspace.ID, secretsReaderName)
	}
	err = p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		rec, ok, err := arm.Get(tx, id.String())
		if err == nil && !ok {
			entry.Status, entry.Code = http.StatusNotFound, "ResourceNotFound"
			err = fmt.Errorf("the workspace '%s' has no connection '%s'", pl.workspace.Name(), name)
		}
		if err != nil {
			return err
		}
		out, err = p.withCredentials(rec)
		return err
	})
	return out, err
}

// vaultSecret is a version of a vault's secret. Vaults with access policies are
// not supported by injection, as documented.
func (p *Provider) vaultSecret(ctx context.Context, pl *plan, ref secretReference) (string, error) {
	roles, exists, err := p.deps.Vaults.UsesRoles(ctx, ref.vault)
	switch {
	case err != nil:
		return "", err
	case exists && !roles:
		return "", fmt.Errorf("the vault '%s' uses access policies; secrets are injected from vaults whose permission model is Azure RBAC only", ref.vault)
	}
	value, d, err := p.deps.Vaults.Read(httpx.WithInstance(ctx, pl.instance()), pl.who, ref.vault, ref.secret, ref.version)
	var refused *httpx.Error
	switch {
	case err == nil:
		return value, nil
	case d.Check.Action != "" && !d.Allowed:
		return "", fmt.Errorf("it is not authorized to read secrets of the vault '%s'. Assign it the role %s at that vault and create the deployment again", ref.vault, vaultReaderName)
	case errors.As(err, &refused):
		return "", fmt.Errorf("the vault '%s' answered %d %s: %s", ref.vault, refused.Status, refused.Code, strings.TrimRight(firstLine(refused.Message), "."))
	}
	return "", err
}

// errInjection is the documented code of every failure to inject, with the
// identity, the variable and the reference.
func errInjection(pl *plan, variable, reference string, reason error) error {
	return deploymentError("SecretsInjectionError", "error-secretsinjectionerror",
		"The environment variable '%s' could not be filled from %s as the endpoint's identity '%s' (object id %s): %v.",
		variable, reference, pl.who.Name, pl.who.ObjectID, reason)
}

// injectedMember of a deployment's Secret holds, sealed, the values injected
// into the revision that serves: an instance that starts again gets the same
// ones, as a restarted or an additional instance does in Azure (unverified).
const injectedMember = "injected"

func injectedSeal(pl *plan) string {
	return "machinelearning/injected" + pl.id.Key() + "/" + pl.revision
}

// keepInjected writes a served revision's values into its deployment's record.
func (p *Provider) keepInjected(rec *arm.Record, pl *plan) error {
	delete(rec.Secret, injectedMember)
	if len(pl.injected) == 0 {
		return nil
	}
	raw, err := json.Marshal(pl.injected)
	if err != nil {
		return fmt.Errorf("injected values of %s: %w", pl.id, err)
	}
	rec.Secret[injectedMember] = base64.StdEncoding.EncodeToString(p.deps.Seal.Seal(injectedSeal(pl), raw))
	return nil
}

// openInjected is keepInjected's other half; an error means that the values
// have to be read again.
func (p *Provider) openInjected(pl *plan) error {
	if pl.sealed == "" {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(pl.sealed)
	if err != nil {
		return err
	}
	if raw, err = p.deps.Seal.Open(injectedSeal(pl), raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, &pl.injected)
}
