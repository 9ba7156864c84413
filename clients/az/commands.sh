#!/usr/bin/env bash
# Commands of az beyond the how-to's.
#   commands.sh STORAGE_ACCOUNT IDENTITY APPLICATION
# Each step adds to the report what the next one needs or the test looks at.
# The last line printed is the report, a JSON object.
set -uo pipefail
account=$1 identity=$2 application=$3
exec 3>&1 >&2
report='{}'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# add NAME COMMAND...: the command's output, or its exit code where it fails.
add() {
	local name=$1 out code=0
	shift
	out=$("$@" 2>"$work/stderr") || code=$?
	if [ $code != 0 ]; then
		out=$(jq -cn --argjson exit $code --arg error "$(cat "$work/stderr")" '$ARGS.named')
	fi
	report=$(jq -c --arg name "$name" --argjson value "${out:-null}" '.[$name] = $value' <<<"$report")
}

# Signed in, without having signed in.
add account az account show --query '[name, user.type]'
add group az group show -n "$AZURE_RESOURCE_GROUP" --query location

# Storage, in both ways to be allowed.
add created az storage account create --name "$account" --sku Standard_LRS --query provisioningState
scope=$(az storage account show --name "$account" --query id -o tsv)
add keys az storage account keys list --account-name "$account" --query '[].keyName'
add container az storage container create --account-name "$account" --name box --query created
add again az storage container create --account-name "$account" --name box --query created
echo "some text" >"$work/up.txt"
add uploaded az storage blob upload --account-name "$account" --container-name box --name up.txt --file "$work/up.txt" --no-progress --query request_server_encrypted
add listed az storage blob list --account-name "$account" --container-name box --query '[].name'
az storage blob download --account-name "$account" --container-name box --name up.txt --file "$work/down.txt" --no-progress
add downloaded jq -Rs . "$work/down.txt"
# Being the owner of the subscription is not being allowed to read blobs.
add loginRefused az storage blob list --account-name "$account" --container-name box --auth-mode login
me=$(az ad sp show --id "$AZURE_CLIENT_ID" --query id -o tsv)
az role assignment create --assignee-object-id "$me" --assignee-principal-type ServicePrincipal --role "Storage Blob Data Contributor" --scope "$scope"
add loginListed az storage blob list --account-name "$account" --container-name box --auth-mode login --query '[].name'
add loginUploaded az storage blob upload --account-name "$account" --container-name box --name two.txt --file "$work/up.txt" --no-progress --auth-mode login --query request_server_encrypted
add notFound az storage blob show --account-name "$account" --container-name box --name nothing --auth-mode login

# Identities, roles, names.
az identity create --name "$identity"
client=$(az identity show --name "$identity" -g "$AZURE_RESOURCE_GROUP" --query clientId -o tsv)
principal=$(az identity show --name "$identity" -g "$AZURE_RESOURCE_GROUP" --query principalId -o tsv)
add definition az role definition list -n "Storage Blob Data Reader" --query '[].name'
add byAssignee az role assignment create --assignee "$client" --role "Storage Blob Data Reader" --scope "$scope" --query principalType
add byObject az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal --role Reader --scope "$scope" --query principalType
add twice az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal --role Reader --scope "$scope" --query principalType
add assignments az role assignment list --scope "$scope" --query "[?principalName=='$client'].roleDefinitionName | sort(@)"
add removed az role assignment delete --assignee "$client" --role Reader --scope "$scope"
add kept az role assignment list --scope "$scope" --query "[?principalName=='$client'].roleDefinitionName"
add nobody az role assignment create --assignee nobody@example.com --role Reader --scope "$scope"
add notMe az ad signed-in-user show
add kind az ad sp list --display-name "$identity" --query '[].servicePrincipalType'

# A service principal of one's own; in another folder, so another sign-in.
az ad sp create-for-rbac --name "$application" --role Reader --scopes "$scope" -o json >"$work/sp.json"
other() { AZURE_CONFIG_DIR=$work/other az "$@"; }
add wrongSecret other login --service-principal -u "$(jq -r .appId "$work/sp.json")" -p wrong --tenant "$AZURE_TENANT_ID"
add otherLogin other login --service-principal -u "$(jq -r .appId "$work/sp.json")" -p "$(jq -r .password "$work/sp.json")" --tenant "$AZURE_TENANT_ID" --query '[].name'
add otherReads other storage account show -n "$account" -g "$AZURE_RESOURCE_GROUP" --query name
add otherKeys other storage account keys list -n "$account" -g "$AZURE_RESOURCE_GROUP"
add otherGraph other ad sp list --display-name "$identity"

# The rest.
add rest az rest --method get --url "/subscriptions/$AZURE_SUBSCRIPTION_ID/resourcegroups?api-version=2021-04-01" --query 'value[].name'
add resources az resource list -g "$AZURE_RESOURCE_GROUP" --resource-type Microsoft.ManagedIdentity/userAssignedIdentities --query "[?name=='$identity'].name"
add provider az provider show -n Microsoft.Storage --query registrationState
add token az account get-access-token --resource https://storage.azure.com --query tokenType

az ad app delete --id "$(jq -r .appId "$work/sp.json")"
add appGone az ad app list --display-name "$application"
az identity delete --name "$identity" -g "$AZURE_RESOURCE_GROUP"
az storage account delete --name "$account" --yes
add gone az storage account show -n "$account" -g "$AZURE_RESOURCE_GROUP"
jq -c . <<<"$report" >&3
