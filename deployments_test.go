package amlocal

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// accountTemplate makes a storage account with a container, lets somebody read
// it, and tells what only shows once it is there.
const accountTemplate = `{
	"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
	"contentVersion": "1.0.0.0",
	"parameters": {
		"account": {"type": "string"}, "reader": {"type": "string"}, "password": {"type": "securestring"},
		"location": {"type": "string", "defaultValue": "[resourceGroup().location]"}
	},
	"variables": {"id": "[resourceId('Microsoft.Storage/storageAccounts', parameters('account'))]"},
	"resources": [
		{"type": "Microsoft.Storage/storageAccounts/blobServices/containers", "apiVersion": "2023-05-01",
			"name": "[format('{0}/default/{1}', parameters('account'), 'templated')]", "dependsOn": ["[variables('id')]"]},
		{"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-05-01", "name": "[parameters('account')]",
			"location": "[parameters('location')]", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "tags": {"made": "by template"}},
		{"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "scope": "[variables('id')]", "dependsOn": ["[variables('id')]"],
			"name": "[guid(variables('id'), parameters('reader'))]", "properties": {"principalId": "[parameters('reader')]", "principalType": "ServicePrincipal",
				"roleDefinitionId": "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1')]"}}
	],
	"outputs": {
		"endpoint": {"type": "string", "value": "[reference(variables('id')).primaryEndpoints.blob]"},
		"keys": {"type": "int", "value": "[length(listKeys(variables('id'), '2023-05-01').keys)]"},
		"hidden": {"type": "securestring", "value": "[parameters('password')]"}
	}
}`

func templated(t *testing.T, template string, parameters map[string]any) armresources.Deployment {
	t.Helper()
	var body any
	if err := json.Unmarshal([]byte(template), &body); err != nil {
		t.Fatal(err)
	}
	given := map[string]any{}
	for name, v := range parameters {
		given[name] = map[string]any{"value": v}
	}
	return armresources.Deployment{Properties: &armresources.DeploymentProperties{Mode: to.Ptr(armresources.DeploymentModeIncremental), Template: body, Parameters: given}}
}

func (s *session) templates(t *testing.T) *armresources.DeploymentsClient {
	t.Helper()
	return must(armresources.NewDeploymentsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

func (s *session) deployTemplate(t *testing.T, name string, d armresources.Deployment) (armresources.DeploymentsClientCreateOrUpdateResponse, error) {
	t.Helper()
	poller, err := s.templates(t).BeginCreateOrUpdate(t.Context(), azure.SeedResourceGroup, name, d, nil)
	if err != nil {
		return armresources.DeploymentsClientCreateOrUpdateResponse{}, err
	}
	return poller.PollUntilDone(t.Context(), &runtime.PollUntilDoneOptions{Frequency: 20 * time.Millisecond})
}

// TestTemplates: a template makes what its caller may make, and tells of it.
func TestTemplates(t *testing.T) {
	covers.C(t, "azure-sdk-for-go", "R-304")
	l := newLab(t, nil)
	reader := l.principal("template-reader")
	ask := templated(t, accountTemplate, map[string]any{"account": "templated1", "reader": reader.oid, "password": "correct horse battery"})

	valid, err := must(l.owner.templates(t).BeginValidate(t.Context(), azure.SeedResourceGroup, "one", ask, nil))(t).PollUntilDone(t.Context(), nil)
	if err != nil || valid.Error != nil || len(valid.Properties.ValidatedResources) != 3 {
		t.Fatalf("validate: %v, %+v", err, valid)
	}
	done, err := l.owner.deployTemplate(t, "one", ask)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(done.Properties)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"endpoint":{"type":"string","value":"https://templated1.blob.core.windows.net/"}`, `"keys":{"type":"int","value":2}`,
		`"provisioningState":"Succeeded"`, `"location":{"type":"String","value":"` + azure.SeedLocation + `"}`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the deployment lacks %s:\n%s", want, raw)
		}
	}
	if len(done.Properties.OutputResources) != 3 || strings.Contains(string(raw), "battery") {
		t.Errorf("%s", raw)
	}
	if _, err := reader.blobs(t, "templated1").NewListBlobsFlatPager("templated", nil).NextPage(t.Context()); err != nil {
		t.Errorf("the role from the template: %v", err)
	}
	// The second time there is nothing to do, and it works.
	if _, err := l.owner.deployTemplate(t, "one", ask); err != nil {
		t.Errorf("again: %v", err)
	}
	steps, err := must(armresources.NewDeploymentOperationsClient(azure.SeedSubscriptionID, l.owner.cred, l.options()))(t).
		NewListPager(azure.SeedResourceGroup, "one", nil).NextPage(t.Context())
	if err != nil || len(steps.Value) != 3 {
		t.Errorf("%v, %d operations", err, len(steps.Value))
	}

	// A resource that is refused ends the deployment, and says why.
	_, err = l.owner.deployTemplate(t, "two", templated(t, accountTemplate, map[string]any{"account": "No-Such-Name", "reader": reader.oid, "password": "x"}))
	wantError(t, err, 200, "DeploymentFailed", "AccountNameInvalid")
	failed, err := l.owner.templates(t).Get(t.Context(), azure.SeedResourceGroup, "two", nil)
	if err != nil || *failed.Properties.ProvisioningState != armresources.ProvisioningStateFailed {
		t.Errorf("%v, %+v", err, failed)
	}
	_, err = l.owner.deployTemplate(t, "three", templated(t, `{"resources":[{"type":"Microsoft.Storage/storageAccounts","apiVersion":"1","name":"[nothing()]"}]}`, nil))
	wantError(t, err, 400, "InvalidTemplate", "nothing")

	// What was given in confidence lies nowhere in clear.
	err = filepath.WalkDir(l.e.config.StateDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.Contains(string(raw), "correct horse battery") {
			t.Errorf("%s holds the secure parameter", d.Name())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTemplatesNeedRights: to deploy a template takes the right to deployments
// and, before anything is made, the right to each resource in it.
func TestTemplatesNeedRights(t *testing.T) {
	covers.C(t, "azure-sdk-for-go", "R-304", "R-1048")
	l := newLab(t, nil)
	s := l.principal("studio")
	ask := templated(t, accountTemplate, map[string]any{"account": "templated2", "reader": s.oid, "password": "x"})
	l.owner.grant(t, s.oid, "AzureML Data Scientist", seedWorkspace)
	_, err := s.deployTemplate(t, "mine", ask)
	wantError(t, err, 403, "AuthorizationFailed", "Microsoft.Resources/deployments/write")
	l.owner.grant(t, s.oid, "Contributor", seedGroup)
	_, err = s.deployTemplate(t, "mine", ask)
	wantError(t, err, 400, "InvalidTemplateDeployment", "Authorization failed for template resource", "Microsoft.Authorization/roleAssignments/write")
	_, err = l.owner.accounts(t).GetProperties(t.Context(), azure.SeedResourceGroup, "templated2", nil)
	wantError(t, err, 404, "ResourceNotFound")
	_, err = s.templates(t).Get(t.Context(), azure.SeedResourceGroup, "mine", nil)
	wantError(t, err, 404, "DeploymentNotFound")
	l.owner.grant(t, s.oid, "User Access Administrator", seedGroup)
	if _, err = s.deployTemplate(t, "mine", ask); err != nil {
		t.Error(err)
	}
}

// TestTemplateGUID: a default that is another one each time is one for the whole
// deployment: what was checked and is shown is what is deployed.
func TestTemplateGUID(t *testing.T) {
	covers.C(t, "azure-sdk-for-go", "R-304")
	l := newLab(t, nil)
	reader := l.principal("template-guid")
	done, err := l.owner.deployTemplate(t, "guid", templated(t, `{
		"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
		"parameters": {"reader": {"type": "string"}, "id": {"type": "string", "defaultValue": "[newGuid()]"}, "n": {"type": "int", "defaultValue": 7},
			"nothing": {"type": "object", "defaultValue": {}}, "text": {"type": "string", "defaultValue": "[[not(evaluated)]"}},
		"resources": [{"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": "[parameters('id')]",
			"properties": {"principalId": "[parameters('reader')]", "principalType": "ServicePrincipal",
				"roleDefinitionId": "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'acdd72a7-3385-48ef-bd42-f606fba81ae7')]"}}],
		"outputs": {"id": {"type": "string", "value": "[parameters('id')]"}, "n": {"type": "int", "value": "[parameters('n')]"}, "text": {"type": "string", "value": "[parameters('text')]"}}
	}`, map[string]any{"reader": reader.oid}))
	if err != nil {
		t.Fatal(err)
	}
	shown := func(of any, name string) any { return of.(map[string]any)[name].(map[string]any)["value"] }
	id := shown(done.Properties.Parameters, "id").(string)
	if len(id) != 36 || shown(done.Properties.Outputs, "id") != id || len(done.Properties.OutputResources) != 1 || !strings.HasSuffix(*done.Properties.OutputResources[0].ID, "/"+id) {
		t.Errorf("shown %s, deployed %v, %s", id, done.Properties.Outputs, *done.Properties.OutputResources[0].ID)
	}
	if shown(done.Properties.Outputs, "n") != 7.0 || shown(done.Properties.Outputs, "text") != "[not(evaluated)]" {
		t.Errorf("%v", done.Properties.Outputs)
	}
}
