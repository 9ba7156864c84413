package scenarios

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

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
	if err := c.uploadTo(ctx, *sas.SasURI, f.name, f, name, version); err != nil {
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

// registerModel uploads a folder into the default datastore and makes an
// anonymous model of it, named after its content.
func (c *cloud) registerModel(ctx context.Context, dir string) (id string, err error) {
	f, err := readFolder(dir)
	if err != nil {
		return "", err
	}
	name, version := f.hash, "1"
	pager := c.models.NewListPager(group, workspace, name, &ml.ModelVersionsClientListOptions{OrderBy: to.Ptr("createdtime desc"), Top: to.Ptr[int32](1)})
	for pager.More() {
		if _, err := pager.NextPage(ctx); err != nil {
			return "", fmt.Errorf("look for earlier versions: %w", err)
		}
	}
	signedURL, err := c.datastoreURL(ctx)
	if err != nil {
		return "", err
	}
	prefix := "LocalUpload/" + f.hash + "/" + f.name
	if err := c.uploadTo(ctx, signedURL, prefix, f, name, version); err != nil {
		return "", err
	}
	uri := datastorePath(prefix)
	made, err := c.models.CreateOrUpdate(ctx, group, workspace, name, version, ml.ModelVersion{Properties: &ml.ModelVersionProperties{
		ModelType: to.Ptr("custom_model"), ModelURI: &uri, IsAnonymous: to.Ptr(true), IsArchived: to.Ptr(false),
	}}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
}

// datastorePath names a place in the default datastore as azure-ai-ml does.
func datastorePath(path string) string {
	return fmt.Sprintf("azureml://subscriptions/%s/resourcegroups/%s/workspaces/%s/datastores/%s/paths/%s",
		azure.SeedSubscriptionID, group, workspace, azure.SeedDatastore, path)
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

// registerEnvironment makes the anonymous environment of a definition, named
// after its content; the same again is the same.
func (c *cloud) registerEnvironment(ctx context.Context, d *deploymentFile) (id string, err error) {
	properties := &ml.EnvironmentVersionProperties{IsAnonymous: to.Ptr(true), IsArchived: to.Ptr(false)}
	hash := sha256.New()
	if b := d.Environment.Build; b != nil {
		var content string
		if properties.Build, content, err = c.uploadContext(ctx, d.at(b.Path), b); err != nil {
			return "", fmt.Errorf("build context: %w", err)
		}
		fmt.Fprintln(hash, content, b.Dockerfile)
	} else {
		properties.Image = &d.Environment.Image
	}
	if d.Environment.CondaFile != "" {
		conda, err := condaText(d.at(d.Environment.CondaFile))
		if err != nil {
			return "", err
		}
		properties.CondaFile = &conda
	}
	if routes := d.Environment.Inference; routes != nil {
		properties.InferenceConfig = &ml.InferenceContainerProperties{
			LivenessRoute: routes.Liveness.wire(), ReadinessRoute: routes.Readiness.wire(), ScoringRoute: routes.Scoring.wire(),
		}
	}
	fmt.Fprintln(hash, d.Environment.Image, d.Environment.Inference)
	if properties.CondaFile != nil {
		fmt.Fprint(hash, *properties.CondaFile)
	}
	made, err := c.environments.CreateOrUpdate(ctx, group, workspace, "CliV2AnonymousEnvironment", hex.EncodeToString(hash.Sum(nil)),
		ml.EnvironmentVersion{Properties: properties}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
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
