package amlocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm/kubernetes"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// world is a world file; docs/world.md describes it.
type world struct {
	Accounts    []worldAccount      `yaml:"accounts"`
	Vaults      []worldVault        `yaml:"vaults"`
	Connections []worldConnection   `yaml:"connections"`
	Identities  []worldIdentity     `yaml:"identities"`
	Clusters    []worldCluster      `yaml:"clusters"`
	Endpoints   []worldEndpoint     `yaml:"endpoints"`
	Principals  worldPrincipals     `yaml:"principals"`
	Issuers     []worldIssuer       `yaml:"issuers"`
	Assignments []worldAssignment   `yaml:"assignments"`
	Images      map[string][]string `yaml:"images"`

	raw []byte // the file, to name lines
}

type worldAccount struct {
	Name          string           `yaml:"name"`
	ResourceGroup string           `yaml:"resourceGroup"`
	Location      string           `yaml:"location"`
	Containers    []worldContainer `yaml:"containers"`
}

type worldContainer struct {
	Name  string      `yaml:"name"`
	Blobs []worldBlob `yaml:"blobs"`
}

type worldBlob struct {
	Name string `yaml:"name"`
	File string `yaml:"file"`
	Text string `yaml:"text"`
}

// worldVault is a key vault, with roles unless it says otherwise.
type worldVault struct {
	Name          string        `yaml:"name"`
	ResourceGroup string        `yaml:"resourceGroup"`
	Location      string        `yaml:"location"`
	RBAC          *bool         `yaml:"rbac"`
	Secrets       []worldSecret `yaml:"secrets"`
}

type worldSecret struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// worldConnection is a connection of the seeded workspace.
type worldConnection struct {
	Name        string         `yaml:"name"`
	AuthType    string         `yaml:"authType"`
	Category    string         `yaml:"category"`
	Target      string         `yaml:"target"`
	Credentials map[string]any `yaml:"credentials"`
	Metadata    map[string]any `yaml:"metadata"`
}

type worldIdentity struct {
	Name          string `yaml:"name"`
	ResourceGroup string `yaml:"resourceGroup"`
	Location      string `yaml:"location"`
}

// worldCluster is a Kubernetes cluster that can be attached as a compute.
type worldCluster struct {
	Name          string `yaml:"name"`
	Kind          string `yaml:"kind"` // aks or arc; empty is aks
	ResourceGroup string `yaml:"resourceGroup"`
	Location      string `yaml:"location"`
}

func (c worldCluster) id() string {
	kind := kubernetes.ManagedClusters
	if c.Kind == "arc" {
		kind = kubernetes.ConnectedClusters
	}
	return groupID(c.ResourceGroup) + "/providers/" + kind + "/" + c.Name
}

type worldAssignment struct {
	Principal string `yaml:"principal"`
	Role      string `yaml:"role"`
	Scope     string `yaml:"scope"`
}

// readWorld reads a world file strictly: unknown fields are errors that name
// their line.
func readWorld(path string) (*world, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("world file: %w", err)
	}
	w := &world{raw: raw}
	if err := yaml.UnmarshalWithOptions(raw, w, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("world file %s: %s", path, yaml.FormatError(err, false, true))
	}
	if list := w.mistakes(); len(list) > 0 {
		return nil, fmt.Errorf("world file %s: %w", path, worldError(raw, list))
	}
	return w, nil
}

// applyWorld makes the world with the same requests a client would send, as
// the owner: whatever a provider refuses is refused here too.
func (e *Emulator) applyWorld(ctx context.Context, w *world) error {
	c, err := e.ownerClient(ctx)
	if err != nil {
		return err
	}
	principals := map[string]string{} // names to object ids
	if err := e.applyPrincipals(ctx, w, principals); err != nil {
		return err
	}
	if err := e.applyCredentials(ctx, c, w); err != nil {
		return err
	}
	ids := map[string]string{} // what "account:NAME", "identity:NAME" and so on mean
	for _, a := range w.Accounts {
		id := groupID(a.ResourceGroup) + "/providers/Microsoft.Storage/storageAccounts/" + a.Name
		ids["account:"+a.Name] = id
		body := map[string]any{"location": or(a.Location, azure.SeedLocation), "kind": "StorageV2", "sku": map[string]any{"name": "Standard_LRS"}}
		if err := c.put(ctx, id, body, nil); err != nil {
			return fmt.Errorf("account %s: %w", a.Name, err)
		}
		for _, container := range a.Containers {
			if err := e.applyContainer(ctx, c, id, a.Name, container); err != nil {
				return fmt.Errorf("container %s/%s: %w", a.Name, container.Name, err)
			}
		}
	}
	for _, v := range w.Vaults {
		if ids["vault:"+v.Name], err = e.applyVault(ctx, c, v); err != nil {
			return fmt.Errorf("vault %s: %w", v.Name, err)
		}
	}
	for n, connection := range w.Connections {
		if err := applyConnection(ctx, c, connection); err != nil {
			return worldError(w.raw, []mistake{{fmt.Sprintf("$.connections[%d]", n), fmt.Sprintf("connection %s: %v", connection.Name, err)}})
		}
	}
	for _, i := range w.Identities {
		id := groupID(i.ResourceGroup) + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + i.Name
		var made struct{ Properties struct{ PrincipalID string } }
		if err := c.put(ctx, id, map[string]any{"location": or(i.Location, azure.SeedLocation)}, &made); err != nil {
			return fmt.Errorf("identity %s: %w", i.Name, err)
		}
		ids["identity:"+i.Name], principals[i.Name] = id, made.Properties.PrincipalID
	}
	for _, k := range w.Clusters {
		if err := c.put(ctx, k.id(), map[string]any{"location": or(k.Location, azure.SeedLocation)}, nil); err != nil {
			return fmt.Errorf("cluster %s: %w", k.Name, err)
		}
	}
	if err := e.applyEndpoints(ctx, c, w, ids, principals); err != nil {
		return err
	}
	if err := e.applyMembers(ctx, w, principals); err != nil {
		return err
	}
	for n, a := range w.Assignments {
		if err := e.applyAssignment(ctx, c, a, ids, principals); err != nil {
			return worldError(w.raw, []mistake{{fmt.Sprintf("$.assignments[%d]", n), fmt.Sprintf("assignment of %q to %s: %v", a.Role, a.Principal, err)}})
		}
	}
	return nil
}

func (e *Emulator) applyContainer(ctx context.Context, c *ownerClient, account, accountName string, container worldContainer) error {
	if err := c.put(ctx, account+"/blobServices/default/containers/"+container.Name, map[string]any{}, nil); err != nil {
		return err
	}
	acct, _, err := e.storage.Account(ctx, accountName)
	if err != nil {
		return err
	}
	for _, b := range container.Blobs {
		data := []byte(b.Text)
		if b.File != "" {
			if data, err = os.ReadFile(filepath.Join(e.config.WorldFiles, filepath.FromSlash(b.File))); err != nil {
				return err
			}
		}
		if err := c.putBlob(ctx, acct, container.Name, b.Name, data); err != nil {
			return fmt.Errorf("blob %s: %w", b.Name, err)
		}
	}
	return nil
}

// applyVault makes a vault and its secrets, which nobody has the right to set
// yet: they go into the store directly.
func (e *Emulator) applyVault(ctx context.Context, c *ownerClient, v worldVault) (id string, err error) {
	id = groupID(v.ResourceGroup) + "/providers/Microsoft.KeyVault/vaults/" + v.Name
	if err := c.put(ctx, id, map[string]any{"location": or(v.Location, azure.SeedLocation), "properties": map[string]any{
		"tenantId": azure.SeedTenantID, "sku": map[string]any{"family": "A", "name": "standard"},
		"enableRbacAuthorization": v.RBAC == nil || *v.RBAC, "accessPolicies": []any{},
	}}, nil); err != nil {
		return "", err
	}
	found, _, err := e.vaults.Vault(ctx, v.Name)
	if err != nil {
		return "", err
	}
	return id, e.store.Update(ctx, func(tx store.Tx) error {
		for _, secret := range v.Secrets {
			if err := e.vaults.Put(tx, found, secret.Name, secret.Value); err != nil {
				return fmt.Errorf("secret %s: %w", secret.Name, err)
			}
		}
		return nil
	})
}

func applyConnection(ctx context.Context, c *ownerClient, w worldConnection) error {
	properties := map[string]any{"authType": w.AuthType, "category": w.Category}
	if w.Target != "" {
		properties["target"] = w.Target
	}
	if w.Credentials != nil {
		properties["credentials"] = w.Credentials
	}
	if w.Metadata != nil {
		properties["metadata"] = w.Metadata
	}
	return c.put(ctx, seedWorkspace+"/connections/"+w.Name, map[string]any{"properties": properties}, nil)
}

func (e *Emulator) applyAssignment(ctx context.Context, c *ownerClient, a worldAssignment, ids, principals map[string]string) error {
	scope, err := worldScope(a.Scope, ids)
	if err != nil {
		return err
	}
	role, ok := e.rbac.DefinitionByName(a.Role)
	if !ok {
		if role, ok = e.rbac.Definition(a.Role); !ok {
			return fmt.Errorf("there is no such role")
		}
	}
	principal, err := e.worldPrincipal(ctx, a.Principal, principals)
	if err != nil {
		return err
	}
	properties := map[string]any{
		"roleDefinitionId": seedSubscription + "/providers/Microsoft.Authorization/roleDefinitions/" + role.ID,
		"principalId":      principal,
	}
	return c.put(ctx, scope+"/providers/Microsoft.Authorization/roleAssignments/"+uuid.NewString(), map[string]any{"properties": properties}, nil)
}

func worldScope(scope string, ids map[string]string) (string, error) {
	if strings.HasPrefix(scope, "/") {
		return scope, nil
	}
	kind, name, _ := strings.Cut(scope, ":")
	switch kind {
	case "subscription":
		return seedSubscription, nil
	case "group":
		return groupID(name), nil
	case "registry":
		return groupID("") + "/providers/Microsoft.ContainerRegistry/registries/" + name, nil
	case "vault":
		return or(ids[scope], groupID("")+"/providers/Microsoft.KeyVault/vaults/"+name), nil
	case "workspace":
		return groupID("") + "/providers/Microsoft.MachineLearningServices/workspaces/" + name, nil
	case "endpoint":
		return or(ids[scope], endpointsID(name)), nil
	case "account":
		return or(ids[scope], groupID("")+"/providers/Microsoft.Storage/storageAccounts/"+name), nil
	case "container":
		account, container, ok := strings.Cut(name, "/")
		if ok {
			base, err := worldScope("account:"+account, ids)
			return base + "/blobServices/default/containers/" + container, err
		}
	}
	return "", fmt.Errorf("scope %q is none of subscription, group:, account:, container:ACCOUNT/CONTAINER, registry:, vault:, workspace:, endpoint:, or a resource id", scope)
}

func groupID(name string) string {
	return seedSubscription + "/resourceGroups/" + or(name, azure.SeedResourceGroup)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// imagesFile keeps the commands that stand for images, so that deployments
// start again without the world file.
const imagesFile = "images.json"

// images are the commands that stand for images: those of the world file, kept
// from then on.
func (e *Emulator) images() (map[string][]string, error) {
	out := map[string][]string{}
	if err := readJSON(e.path(imagesFile), &out); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if e.config.World == "" {
		return out, nil
	}
	w, err := readWorld(e.config.World)
	if err != nil || len(w.Images) == 0 {
		return out, err
	}
	maps.Copy(out, w.images())
	return out, writeJSON(e.path(imagesFile), out)
}

// images resolves the world's image commands: a program without a slash is
// looked for beside this binary first, then on PATH by the runner.
func (w *world) images() map[string][]string {
	out := make(map[string][]string, len(w.Images))
	self, _ := os.Executable() // "" leaves everything to PATH
	for image, argv := range w.Images {
		argv = append([]string{}, argv...)
		if len(argv) > 0 && !strings.ContainsRune(argv[0], '/') && self != "" {
			if beside := filepath.Join(filepath.Dir(self), argv[0]); isFile(beside) {
				argv[0] = beside
			}
		}
		out[image] = argv
	}
	return out
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
