package scenarios

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
)

// hashVersion names the way readFolder hashes.
const hashVersion = "202208"

// registerCode makes a code asset of a folder, or finds the one with the same
// content: the look-up goes by hash, under a name made up for it.
func (c *cloud) registerCode(ctx context.Context, dir string) (id string, err error) {
	f, err := readFolder(dir)
	if err != nil {
		return "", err
	}
	name, version := uuid.NewString(), "1"
	pager := c.codes.NewListPager(group, workspace, name, &ml.CodeVersionsClientListOptions{Hash: &f.hash, HashVersion: to.Ptr(hashVersion)})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("look for the code by its hash: %w", err)
		}
		for _, v := range page.Value {
			return *v.ID, nil
		}
	}
	upload, err := c.codes.CreateOrGetStartPendingUpload(ctx, group, workspace, name, version,
		ml.PendingUploadRequestDto{PendingUploadType: to.Ptr(ml.PendingUploadTypeTemporaryBlobReference)}, nil)
	if err != nil {
		return "", fmt.Errorf("start the upload: %w", err)
	}
	place := upload.BlobReferenceForConsumption
	sas, ok := place.Credential.(*ml.SASCredentialDto)
	if !ok {
		return "", fmt.Errorf("the upload's credential is a %T, not a signature", place.Credential)
	}
	if err := c.uploadTo(ctx, *sas.SasURI, f.below, f, name, version); err != nil {
		return "", err
	}
	made, err := c.codes.CreateOrUpdate(ctx, group, workspace, name, version, ml.CodeVersion{Properties: &ml.CodeVersionProperties{
		CodeURI: to.Ptr(*place.BlobURI + "/" + f.name), IsAnonymous: to.Ptr(true),
		Properties: map[string]*string{"hash_sha256": &f.hash, "hash_version": to.Ptr(hashVersion)},
	}}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
}

// registerModel answers the id of a deployment's model: the one it refers to,
// or one made of its file or folder. Without a name that is an anonymous one,
// named after its content.
func (c *cloud) registerModel(ctx context.Context, d *deploymentFile) (id string, err error) {
	m := &d.Model
	if m.Ref != "" {
		return c.reference(ctx, "models", m.Ref)
	}
	name, version := m.Name, string(m.Version)
	uri := m.Path
	if !strings.Contains(m.Path, ":") || filepath.IsAbs(m.Path) {
		f, err := readFolder(d.at(m.Path))
		if err != nil {
			return "", err
		}
		if name == "" {
			name, version = f.hash, "1"
		}
		place, err := c.uploadToDatastore(ctx, f, name, version)
		if err != nil {
			return "", err
		}
		uri = fmt.Sprintf("azureml://subscriptions/%s/resourcegroups/%s/workspaces/%s/datastores/%s/paths/%s",
			azure.SeedSubscriptionID, group, workspace, azure.SeedDatastore, place.path)
	} else if name == "" {
		sum := sha256.Sum256([]byte(uri))
		name, version = hex.EncodeToString(sum[:]), "1"
	}
	pager := c.models.NewListPager(group, workspace, name, &ml.ModelVersionsClientListOptions{OrderBy: to.Ptr("createdtime desc"), Top: to.Ptr[int32](1)})
	for pager.More() {
		if _, err := pager.NextPage(ctx); err != nil {
			return "", fmt.Errorf("look for earlier versions: %w", err)
		}
	}
	if version == "" {
		got, err := c.modelContainers.Get(ctx, group, workspace, name, nil)
		switch {
		case notFound(err):
			version = "1"
		case err != nil:
			return "", err
		default:
			version = *got.Properties.NextVersion
		}
	}
	kind := m.Type
	if kind == "" {
		kind = "custom_model"
	}
	made, err := c.models.CreateOrUpdate(ctx, group, workspace, name, version, ml.ModelVersion{Properties: &ml.ModelVersionProperties{
		ModelType: &kind, ModelURI: &uri, IsAnonymous: to.Ptr(m.Name == ""), IsArchived: to.Ptr(false),
		Description: m.Description, Tags: pointers(m.Tags), Properties: pointers(m.Properties), Stage: m.Stage,
	}}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
}

// uploaded is where an upload lies: its container, and the path below it.
type uploaded struct{ container, path string }

// uploadToDatastore puts a file or folder where the client does, once for each
// content.
func (c *cloud) uploadToDatastore(ctx context.Context, f *folder, name, version string) (uploaded, error) {
	signedURL, err := c.datastoreURL(ctx)
	if err != nil {
		return uploaded{}, err
	}
	prefix := "LocalUpload/" + f.hash
	container, _, _ := strings.Cut(signedURL, "?")
	return uploaded{container, prefix + "/" + f.name}, c.uploadTo(ctx, signedURL, path.Join(prefix, f.below), f, name, version)
}

// resourceRef is the id in a reference that names a resource whole.
func resourceRef(ref string) (id string, ok bool) {
	id = strings.TrimPrefix(ref, "azureml:")
	return id, strings.HasPrefix(id, "/subscriptions/")
}

// reference is the id of a registered asset: azureml:NAME:VERSION, @latest, an
// ARM id, or what is passed on as it is: a registry's asset, a curated
// environment.
func (c *cloud) reference(ctx context.Context, kind, ref string) (id string, err error) {
	if strings.HasPrefix(ref, "azureml://registries/") {
		return ref, nil
	}
	if id, ok := resourceRef(ref); ok {
		return id, nil
	}
	name := strings.TrimPrefix(ref, "azureml:")
	if kind == "environments" && strings.HasPrefix(name, "AzureML-") {
		return name, nil
	}
	name, version, ok := strings.Cut(name, ":")
	if !ok {
		if name, ok = strings.CutSuffix(name, "@latest"); !ok {
			return "", fmt.Errorf("%q is no reference: it is azureml:NAME:VERSION or azureml:NAME@latest", ref)
		}
		if version, err = c.latest(ctx, kind, name); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.MachineLearningServices/workspaces/%s/%s/%s/versions/%s",
		azure.SeedSubscriptionID, group, workspace, kind, name, version), nil
}

// latest is the version of an asset that was made last.
func (c *cloud) latest(ctx context.Context, kind, name string) (version string, err error) {
	order, top := to.Ptr("createdtime desc"), to.Ptr[int32](1)
	if kind == "models" {
		page, err := c.models.NewListPager(group, workspace, name, &ml.ModelVersionsClientListOptions{OrderBy: order, Top: top}).NextPage(ctx)
		if err != nil {
			return "", err
		}
		if len(page.Value) > 0 {
			return *page.Value[0].Name, nil
		}
	} else {
		page, err := c.environments.NewListPager(group, workspace, name, &ml.EnvironmentVersionsClientListOptions{OrderBy: order, Top: top}).NextPage(ctx)
		if err != nil {
			return "", err
		}
		if len(page.Value) > 0 {
			return *page.Value[0].Name, nil
		}
	}
	return "", fmt.Errorf("%s has no version", name)
}

// datastoreURL is the default datastore's container with a signature.
func (c *cloud) datastoreURL(ctx context.Context) (string, error) {
	store, err := c.datastores.Get(ctx, group, workspace, azure.SeedDatastore, nil)
	if err != nil {
		return "", err
	}
	place, ok := store.Properties.(*ml.AzureBlobDatastore)
	if !ok {
		return "", fmt.Errorf("the default datastore is a %T", store.Properties)
	}
	base := fmt.Sprintf("https://%s.blob.core.windows.net/%s?", *place.AccountName, *place.ContainerName)
	secrets, err := c.datastores.ListSecrets(ctx, group, workspace, azure.SeedDatastore, nil)
	if err != nil {
		return "", err
	}
	switch s := secrets.DatastoreSecretsClassification.(type) {
	case *ml.SasDatastoreSecrets:
		return base + *s.SasToken, nil
	case *ml.AccountKeyDatastoreSecrets:
		return signContainer(*place.AccountName, *s.Key, *place.ContainerName)
	}
	return "", errors.New("the default datastore hands out no credential")
}

// registerEnvironment answers the id of a deployment's environment: the one it
// refers to, or one made of its definition. Without a name that is an anonymous
// one, named after its content; the same again is the same.
func (c *cloud) registerEnvironment(ctx context.Context, d *deploymentFile) (id string, err error) {
	env := &d.Environment
	if env.Ref != "" {
		return c.reference(ctx, "environments", env.Ref)
	}
	properties := &ml.EnvironmentVersionProperties{
		IsAnonymous: to.Ptr(env.Name == ""), IsArchived: to.Ptr(false), Description: env.Description,
	}
	hash := sha256.New()
	_, _ = fmt.Fprintln(hash, env.Image, env.Inference, env.OSType)
	if env.Image != "" {
		properties.Image = &env.Image
	}
	if env.OSType != "" {
		properties.OSType = to.Ptr(ml.OperatingSystemType(env.OSType))
	}
	if len(env.Tags) > 0 {
		properties.Tags = pointers(env.Tags)
	}
	if len(env.Properties) > 0 {
		properties.Properties = pointers(env.Properties)
	}
	if conda, err := d.conda(); err != nil {
		return "", err
	} else if conda != "" {
		properties.CondaFile = &conda
		_, _ = fmt.Fprint(hash, conda)
	}
	if routes := env.Inference; routes != nil {
		properties.InferenceConfig = &ml.InferenceContainerProperties{
			LivenessRoute: routes.Liveness.wire(), ReadinessRoute: routes.Readiness.wire(), ScoringRoute: routes.Scoring.wire(),
		}
	}
	name, version := env.Name, string(env.Version)
	if build := env.Build; build != nil {
		uri := build.Path
		var f *folder
		if !strings.Contains(uri, "://") {
			if f, err = readFolder(d.at(uri)); err != nil {
				return "", fmt.Errorf("build context: %w", err)
			}
			_, _ = fmt.Fprintln(hash, f.hash)
		}
		_, _ = fmt.Fprint(hash, uri)
		if build.Dockerfile != nil {
			_, _ = fmt.Fprint(hash, *build.Dockerfile)
		}
		if f != nil {
			place, err := c.uploadToDatastore(ctx, f, "CliV2AnonymousEnvironment", "1")
			if err != nil {
				return "", fmt.Errorf("build context: %w", err)
			}
			uri = place.container + "/" + place.path + "/"
		}
		properties.Build = &ml.BuildContext{ContextURI: &uri, DockerfilePath: build.Dockerfile}
	}
	switch {
	case name == "":
		name, version = "CliV2AnonymousEnvironment", hex.EncodeToString(hash.Sum(nil))
	case version == "":
		got, err := c.environmentContainers.Get(ctx, group, workspace, name, nil)
		switch {
		case notFound(err):
			version = "1"
		case err != nil:
			return "", err
		default:
			version = *got.Properties.NextVersion
		}
	}
	made, err := c.environments.CreateOrUpdate(ctx, group, workspace, name, version, ml.EnvironmentVersion{Properties: properties}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
}

// conda is the text of the environment's conda file, "" if it has none.
func (d *deploymentFile) conda() (string, error) {
	c := &d.Environment.CondaFile
	switch {
	case c.Inline != nil:
		out, err := yaml.Marshal(c.Inline)
		return string(out), err
	case c.Path != "":
		return condaText(d.at(c.Path))
	}
	return "", nil
}

func (r routeFile) wire() *ml.Route { return &ml.Route{Path: &r.Path, Port: &r.Port} }

// condaText is a conda file as the client sends it: read and written again, so
// comments are gone and keys are sorted.
func condaText(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return "", fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	out, err := yaml.Marshal(doc)
	return string(out), err
}
