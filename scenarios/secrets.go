package scenarios

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"

	"github.com/amlocal/amlocal/azure"
)

// The names of the scenario `secrets`.
const (
	connectionName   = "my-connection"
	connectionTarget = "https://api.example.com/"
	connectionBase   = "https://api.example.com/v1?a=1&b=2"
	passwordName     = "my-password"
	literal          = "stays as it is"

	vaultReader      = "Key Vault Secrets User"
	vaultOfficer     = "Key Vault Secrets Officer"
	connectionReader = "Azure Machine Learning Workspace Connection Secrets Reader"
)

// secretsFlow is the scenario `secrets`: one round for each kind of identity,
// with secrets of both stores.
type secretsFlow struct {
	*session
	scorer string

	apiKey, password string // random, and nowhere but in the stores and the instances
	vaultID          string
	reference        string // of the password
}

func (f *secretsFlow) play(ctx context.Context) error {
	f.apiKey, f.password = rand.Text(), rand.Text()
	if err := f.prepareStores(ctx); err != nil {
		return err
	}
	// The system-assigned identity may read connections by itself, so it is the
	// vault that refuses; the user-assigned one is missing the other role.
	sai := &secretsRound{flow: f.round("my-secrets-sai", ""), secrets: f, refuser: vaultReader}
	if err := sai.play(ctx); err != nil {
		return err
	}
	uai := &secretsRound{flow: f.round("my-secrets-uai", "my-secrets-identity"), secrets: f, refuser: connectionReader}
	if err := uai.play(ctx); err != nil {
		return err
	}
	return f.out.step("delete connection "+connectionName, func() error {
		if _, err := f.cloud.connections.Delete(ctx, group, workspace, connectionName, nil); err != nil {
			return err
		}
		_, err := f.cloud.connections.Get(ctx, group, workspace, connectionName, nil)
		return gone(err)
	})
}

func (f *secretsFlow) round(endpoint, identity string) *flow {
	return &flow{session: f.session, scorer: f.scorer, endpoint: endpoint, blue: "blue", green: "blue", scenario: Scenario{identity: identity}}
}

func (f *secretsFlow) file(name string) string {
	return filepath.Join(f.files, filepath.FromSlash(contentRoot), "managed", "secrets", name)
}

// prepareStores puts a secret into either store.
func (f *secretsFlow) prepareStores(ctx context.Context) error {
	err := f.out.step("create connection "+connectionName, func() error {
		_, err := f.cloud.connections.Create(ctx, group, workspace, connectionName, ml.WorkspaceConnectionPropertiesV2BasicResource{
			Properties: &ml.CustomKeysWorkspaceConnectionProperties{
				AuthType: to.Ptr(ml.ConnectionAuthTypeCustomKeys), Category: to.Ptr(ml.ConnectionCategoryCustomKeys), Target: to.Ptr(connectionTarget),
				Credentials: &ml.CustomKeys{Keys: map[string]*string{"API_KEY": &f.apiKey}},
				Metadata:    map[string]*string{"API_BASE": to.Ptr(connectionBase)},
			}}, nil)
		if err != nil {
			return err
		}
		got, err := f.cloud.connections.Get(ctx, group, workspace, connectionName, nil)
		if err != nil {
			return err
		}
		if shown, ok := got.Properties.(*ml.CustomKeysWorkspaceConnectionProperties); !ok || shown.Credentials != nil {
			return errors.New("a plain read shows its credentials")
		}
		return nil
	})
	if err != nil {
		return err
	}
	ws, err := f.cloud.workspaces.Get(ctx, group, workspace, nil)
	if err != nil {
		return err
	}
	f.vaultID = *ws.Properties.KeyVault
	vault := f.vaultID[strings.LastIndexByte(f.vaultID, '/')+1:]
	err = f.out.step("assign "+vaultOfficer+" on "+vault+" to its owner, who has no data action by being that", func() error {
		_, err := f.cloud.grant(ctx, azure.SeedOwnerObjectID, vaultOfficer, f.vaultID)
		return err
	})
	if err != nil {
		return err
	}
	return f.out.step("set secret "+passwordName+" in "+vault, func() error {
		id, err := f.cloud.setSecret(ctx, vault, passwordName, f.password)
		f.reference = "${{keyvault:" + id + "}}"
		return err
	})
}

// setSecret is `az keyvault secret set`; the id ends in the new version.
func (c *cloud) setSecret(ctx context.Context, vault, name, value string) (id string, err error) {
	token, err := c.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"value": value})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+vault+".vault.azure.net/secrets/"+name+"?api-version=7.4", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token.Token)
	resp, err := c.http.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, raw) // an error: no value is in it
	}
	return made.ID, json.Unmarshal(raw, &made)
}

// secretsRound is what one endpoint goes through.
type secretsRound struct {
	*flow
	secrets *secretsFlow
	refuser string // the role whose lack refuses the first deployment
}

func (f *secretsRound) play(ctx context.Context) error {
	for _, part := range []func(context.Context) error{f.prepare, f.refuse, f.mend, f.cleanUp} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes identity and endpoint, and gives the roles that are not the
// round's point.
func (f *secretsRound) prepare(ctx context.Context) error {
	file, set := "1-sai-create-endpoint.yml", []string(nil)
	if f.scenario.identity != "" {
		err := f.out.step("create user-assigned identity "+f.scenario.identity, func() error {
			made, err := f.cloud.identities.CreateOrUpdate(ctx, group, f.scenario.identity, armmsi.Identity{Location: to.Ptr(location)}, nil)
			if err == nil {
				f.identityID = *made.ID
			}
			return err
		})
		if err != nil {
			return err
		}
		file, set = "1-uai-create-endpoint.yml", []string{"identity.user_assigned_identities[0].resource_id=" + f.identityID}
	}
	definition, err := loadEndpoint(f.secrets.file(file), set...)
	if err != nil {
		return err
	}
	err = f.out.step("create endpoint "+definition.Name, func() error {
		made, err := f.cloud.createEndpoint(ctx, definition)
		if err != nil {
			return err
		}
		f.endpoint = definition.Name
		f.principal, err = f.principalOf(made)
		return err
	})
	if err != nil {
		return err
	}
	if err := f.permitPlatform(ctx); err != nil {
		return err
	}
	if f.refuser != vaultReader {
		if err := f.grantStep(ctx, vaultReader, f.secrets.vaultID); err != nil {
			return err
		}
	}
	return f.out.step("read the identity's roles", func() error {
		roles, err := f.cloud.held(ctx, f.principal)
		f.out.quote(strings.Join(roles, "\n"))
		for _, role := range roles {
			if strings.HasPrefix(role, f.refuser) {
				err = errors.Join(err, fmt.Errorf("it has %s already", role))
			}
		}
		return err
	})
}

func (f *secretsRound) deploy(ctx context.Context) error {
	file := "2-deployment.yml"
	if f.scorer == "go" {
		file = "2-go-deployment.yml"
	}
	d, err := loadDeployment(f.secrets.file(file), "environment_variables.VAULT_PASSWORD="+f.secrets.reference)
	if err != nil {
		return err
	}
	_, err = f.cloud.deploy(ctx, f.endpoint, d)
	return err
}

// refuse deploys without the role.
func (f *secretsRound) refuse(ctx context.Context) error {
	return f.out.step("create deployment "+f.blue+": must fail", func() error {
		err := f.deploy(ctx)
		if err == nil {
			return errors.New("it succeeded without " + f.refuser)
		}
		code, message := serviceError(err)
		f.out.quote(code + ": " + message)
		if code != "SecretsInjectionError" || !strings.Contains(message, f.refuser) || !strings.Contains(message, f.principal) {
			return fmt.Errorf("it failed for another reason: %w", err)
		}
		state, err := f.cloud.provisioningState(ctx, f.endpoint, f.blue)
		if err == nil && state != ml.DeploymentProvisioningStateFailed {
			err = fmt.Errorf("its provisioning state is %s", state)
		}
		return err
	})
}

// mend applies what `why` proposes, deploys again and looks at everything.
func (f *secretsRound) mend(ctx context.Context) error {
	var role, scope string
	err := f.out.step("amlocal why", func() error {
		fix, err := f.denial(ctx)
		role, scope = fix.Role, fix.Scope
		if err == nil && role != f.refuser {
			err = fmt.Errorf("it proposes %s", role)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := f.grantStep(ctx, role, scope); err != nil {
		return err
	}
	if err := f.out.step("delete deployment "+f.blue, func() error { return f.cloud.deleteDeployment(ctx, f.endpoint, f.blue) }); err != nil {
		return err
	}
	if err := f.out.step("create deployment "+f.blue+" again", func() error { return f.deploy(ctx) }); err != nil {
		return err
	}
	if err := f.out.step("read the log of "+f.blue, func() error { return f.readDigests(ctx) }); err != nil {
		return err
	}
	if err := f.out.step("show deployment "+f.blue, func() error { return f.keepsReferences(ctx) }); err != nil {
		return err
	}
	if f.emulator != nil { // the folder of a remote one may be anywhere
		if err := f.out.step("look for the secrets in the state folder", f.searchState); err != nil {
			return err
		}
	}
	return f.scoreStep(ctx, "score", f.blue)
}

// searchState reads every file of the running emulator's state.
func (f *secretsRound) searchState() error {
	files := 0
	err := filepath.WalkDir(f.emulator.Access().StateDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // sockets, and what ended meanwhile
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		files++
		for _, secret := range []string{f.secrets.apiKey, f.secrets.password} {
			if bytes.Contains(raw, []byte(secret)) {
				return fmt.Errorf("%s holds one in clear", path)
			}
		}
		return nil
	})
	if err == nil && files == 0 {
		err = errors.New("there is no file to look into")
	}
	f.out.quote(fmt.Sprintf("in none of %d files", files))
	return err
}

// digest is what the scorers show of a secret.
func digest(name, value string) string {
	sum := sha256.Sum256([]byte(value))
	return fmt.Sprintf("Secret %s: %d characters, sha256 %s", name, len([]rune(value)), hex.EncodeToString(sum[:6]))
}

// readDigests compares what reached the instance, and looks that nothing was
// said in clear.
func (f *secretsRound) readDigests(ctx context.Context) error {
	log, err := f.cloud.logs(ctx, f.endpoint, f.blue, "")
	if err != nil {
		return err
	}
	initializer, err := f.cloud.logs(ctx, f.endpoint, f.blue, ml.ContainerTypeStorageInitializer)
	if err != nil {
		return err
	}
	var told []string
	for line := range strings.Lines(log) {
		if i := strings.Index(line, "Secret "); i >= 0 {
			told = append(told, strings.TrimSpace(line[i:]))
		}
	}
	f.out.quote(strings.Join(told, "\n"))
	for name, value := range map[string]string{
		"API_KEY": f.secrets.apiKey, "API_BASE": connectionBase, "API_TARGET": connectionTarget, "VAULT_PASSWORD": f.secrets.password, "NO_SECRET": literal,
	} {
		if !strings.Contains(log, digest(name, value)) {
			err = errors.Join(err, fmt.Errorf("%s did not arrive", name))
		}
	}
	for _, secret := range []string{f.secrets.apiKey, f.secrets.password} {
		if strings.Contains(log+initializer, secret) {
			err = errors.Join(err, errors.New("a log shows a secret"))
		}
	}
	return err
}

// keepsReferences reads the definition back.
func (f *secretsRound) keepsReferences(ctx context.Context) error {
	got, err := f.cloud.deployments.Get(ctx, group, workspace, f.endpoint, f.blue, nil)
	if err != nil {
		return err
	}
	variables := got.Properties.GetOnlineDeploymentProperties().EnvironmentVariables
	for name, want := range map[string]string{"API_KEY": "${{azureml://connections/" + connectionName + "/credentials/API_KEY}}", "VAULT_PASSWORD": f.secrets.reference} {
		if value := variables[name]; value == nil || *value != want {
			err = errors.Join(err, fmt.Errorf("%s is not the reference any more", name))
		}
	}
	return err
}

func (f *secretsRound) cleanUp(ctx context.Context) error {
	err := f.out.step("delete endpoint "+f.endpoint, func() error { return f.cloud.deleteEndpoint(ctx, f.endpoint) })
	if err != nil || f.identityID == "" {
		return err
	}
	return f.out.step("delete identity "+f.scenario.identity, func() error {
		_, err := f.cloud.identities.Delete(ctx, group, f.scenario.identity, nil)
		return err
	})
}
