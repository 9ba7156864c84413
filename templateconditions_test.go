package amlocal

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/internal/covers"
)

// assigningTemplate assigns a role at a storage account. What its properties are
// made of is given by the test.
func assigningTemplate(principal, kind string) string {
	return `{
	"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
	"parameters": {"role": {"type": "string"}, "who": {"type": "string"}, "at": {"type": "string"}},
	"resources": [{"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "scope": "[parameters('at')]",
		"name": "[guid(parameters('at'), parameters('role'), parameters('who'))]",
		"properties": {"principalId": "` + principal + `", ` + kind + ` "roleDefinitionId": "[parameters('role')]"}}]}`
}

// TestTemplatesOfDelegates: a right to assign roles under a condition is asked
// with the assignments of a template, before anything is made where their values
// are known, and by the write where they are not.
func TestTemplatesOfDelegates(t *testing.T) {
	covers.C(t, "azure-sdk-for-go", "R-304", "R-1041")
	l := newLab(t, nil)
	delegate, worker := l.principal("delegate"), l.principal("worker")
	machine := l.owner.uai(t, "assigned")
	reader, contributor := l.roleID(t, "Storage Blob Data Reader"), l.roleID(t, "Storage Blob Data Contributor")
	guid := func(id string) string { return id[strings.LastIndex(id, "/")+1:] }
	const attribute = "@Request[Microsoft.Authorization/roleAssignments:"
	condition := "(!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR (" +
		attribute + "RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + guid(reader) + "} AND " +
		attribute + "PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {'ServicePrincipal'} AND " +
		attribute + "PrincipalId] ForAnyOfAnyValues:GuidNotEquals {" + *machine.Properties.PrincipalID + "})"
	l.owner.grant(t, delegate.oid, "Contributor", seedGroup)
	if _, err := l.owner.assignments(t).Create(t.Context(), seedGroup, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &delegate.oid, ConditionVersion: to.Ptr("2.0"), Condition: &condition,
			RoleDefinitionID: to.Ptr(l.roleID(t, "Role Based Access Control Administrator"))}}, nil); err != nil {
		t.Fatal(err)
	}
	const given, stated, asked = "[parameters('who')]", `"principalType": "ServicePrincipal",`,
		"[reference(resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', parameters('who')), '2023-01-31').principalId]"
	for name, tt := range map[string]struct {
		principal, kind, role, who string
		status                     int
		code                       string
		texts                      []string
	}{
		"named":                     {given, stated, reader, worker.oid, 0, "", nil},
		"type of the directory":     {given, "", reader, worker.oid, 0, "", nil},
		"another role":              {given, stated, contributor, worker.oid, 400, "InvalidTemplateDeployment", []string{"Microsoft.Authorization/roleAssignments/write"}},
		"another principal":         {given, stated, reader, *machine.Properties.PrincipalID, 400, "InvalidTemplateDeployment", nil},
		"another role, later whom":  {asked, stated, contributor, "assigned", 400, "InvalidTemplateDeployment", nil},
		"another principal, later":  {asked, stated, reader, "assigned", 200, "DeploymentFailed", []string{"AuthorizationFailed"}},
		"another principal, unsaid": {asked, "", reader, "assigned", 200, "DeploymentFailed", []string{"AuthorizationFailed"}},
		"named, later":              {asked, stated, reader, "other", 0, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.who == "other" {
				l.owner.uai(t, "other")
			}
			// Each at a place of its own: an assignment is made once.
			account := accountID(accountOne)
			if name == "type of the directory" {
				account = accountID(accountTwo)
			}
			_, err := delegate.deployTemplate(t, uuid.NewString(), templated(t, assigningTemplate(tt.principal, tt.kind), map[string]any{"role": tt.role, "who": tt.who, "at": account}))
			if tt.code != "" {
				wantError(t, err, tt.status, tt.code, tt.texts...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	if d, denied := l.e.LastDenial(); !denied || d.Status != 403 && d.Status != 400 {
		t.Errorf("the last denial is %+v", d)
	}
}
