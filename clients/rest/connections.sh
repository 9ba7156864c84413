#!/usr/bin/env bash
# A deployment that is given secrets, by plain REST calls: curl and jq. The
# scorer reads a blob whose place comes from a connection and from a key vault.
#   connections.sh ENDPOINT STORAGE_ACCOUNT
# Settings are the usual AZURE_* variables, SAMPLES and SCORER_IMAGE. The last
# line printed is a JSON object that says how it went.
set -euo pipefail
endpoint=$1 account=$2
online=$SAMPLES/endpoints/online
group=https://management.azure.com/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP
workspace=$group/providers/Microsoft.MachineLearningServices/workspaces/$AZURE_ML_WORKSPACE
api="api-version=2023-10-01"

id_of() { echo "${1#https://management.azure.com}"; }
uuid() { cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen; }
token() {
	curl -sS --fail-with-body "https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token" \
		-d grant_type=client_credentials -d "client_id=$AZURE_CLIENT_ID" \
		--data-urlencode "client_secret=$AZURE_CLIENT_SECRET" --data-urlencode "scope=$1/.default" |
		jq -r .access_token
}
ARM=$(token https://management.azure.com)
arm() {
	local method=$1 url=$2
	shift 2
	curl -sS --fail-with-body -X "$method" "$url" -H "Authorization: Bearer $ARM" -H "Content-Type: application/json" ${1+--data-binary "$1"}
}
# wait_for RESPONSE: the operation's end, as JSON.
wait_for() {
	local url end
	url=$(jq -r '.properties.properties.AzureAsyncOperationUri' <<<"$1")
	while :; do
		end=$(arm GET "$url")
		case $(jq -r .status <<<"$end") in Succeeded | Failed | Canceled) echo "$end"; return ;; esac
		sleep 0.2
	done
}
# role NAME PRINCIPAL SCOPE: assigned, unless it is.
role() {
	local definition
	definition=$(curl -sS --fail-with-body -G "$3/providers/Microsoft.Authorization/roleDefinitions" -H "Authorization: Bearer $ARM" \
		--data-urlencode "api-version=2022-04-01" --data-urlencode "\$filter=roleName eq '$1'" | jq -r '.value[0].id')
	local answer
	answer=$(arm PUT "$3/providers/Microsoft.Authorization/roleAssignments/$(uuid)?api-version=2022-04-01" \
		"{\"properties\": {\"roleDefinitionId\": \"$definition\", \"principalId\": \"$2\", \"principalType\": \"ServicePrincipal\"}}") ||
		[ "$(jq -r .error.code <<<"$answer")" = RoleAssignmentExists ]
}
shown=$(arm GET "$workspace?$api")
location=$(jq -r .location <<<"$shown")
vault=$(jq -r .properties.keyVault <<<"$shown")
me=$(jq -rR 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson | .oid' <<<"$ARM")

storage=$group/providers/Microsoft.Storage/storageAccounts/$account
arm PUT "$storage?api-version=2023-05-01" "{\"location\": \"$location\", \"kind\": \"StorageV2\", \"sku\": {\"name\": \"Standard_LRS\"}}" >/dev/null
until [ "$(arm GET "$storage?api-version=2023-05-01" | jq -r .properties.provisioningState)" = Succeeded ]; do sleep 0.2; done
arm PUT "$storage/blobServices/default/containers/box?api-version=2023-05-01" '{}' >/dev/null
role "Storage Blob Data Contributor" "$me" "$storage"
curl -sS --fail-with-body -X PUT "https://$account.blob.core.windows.net/box/hello.txt" -H "Authorization: Bearer $(token https://storage.azure.com)" \
	-H "x-ms-version: 2021-12-02" -H "x-ms-blob-type: BlockBlob" --data-binary "@$online/managed/managed-identities/hello.txt"

# The two stores.
role "Key Vault Secrets Officer" "$me" "https://management.azure.com$vault"
secret=$(curl -sS --fail-with-body -X PUT "https://${vault##*/}.vault.azure.net/secrets/$endpoint-container?api-version=7.4" \
	-H "Authorization: Bearer $(token https://vault.azure.net)" -H "Content-Type: application/json" --data-binary '{"value": "box"}' | jq -r .id)
connection=$workspace/connections/$endpoint-keys
arm PUT "$connection?api-version=2023-08-01-preview" "{\"properties\": {\"authType\": \"CustomKeys\", \"category\": \"CustomKeys\", \"target\": \"$account\",
	\"credentials\": {\"keys\": {\"FILE\": \"hello.txt\"}}, \"metadata\": {}}}" >/dev/null
plain=$(arm GET "$connection?api-version=2024-04-01" | jq -c .properties.credentials)

url=$workspace/onlineEndpoints/$endpoint
made=$(arm PUT "$url?$api" "{\"location\": \"$location\", \"identity\": {\"type\": \"SystemAssigned\"}, \"properties\": {\"authMode\": \"Key\",
	\"properties\": {\"enforce_access_to_default_secret_stores\": \"enabled\"}}}")
wait_for "$made" >/dev/null
shown=$(arm GET "$url?$api")
principal=$(jq -r .identity.principalId <<<"$shown")
role "Storage Blob Data Reader" "$principal" "$storage"

arm PUT "$workspace/environments/$endpoint-env/versions/1?$api" "{\"properties\": {\"image\": \"$SCORER_IMAGE\", \"inferenceConfig\": {
	\"livenessRoute\": {\"path\": \"/health/live\", \"port\": 8080}, \"readinessRoute\": {\"path\": \"/health/ready\", \"port\": 8080}, \"scoringRoute\": {\"path\": \"/score\", \"port\": 8080}}}}" >/dev/null
# The model goes to the default datastore with a SAS, as in sai.sh.
datastore=$workspace/datastores/workspaceblobstore
default=https://$(arm GET "$datastore?$api" | jq -r '.properties | .accountName + ".blob." + .endpoint + "/" + .containerName')
sas=$(arm POST "$datastore/listSecrets?api-version=2024-10-01" '{"expirableSecret": true, "expireAfterHours": 1}' | jq -r .sasToken)
for file in "$online"/model-1/model/*; do
	curl -sS --fail-with-body -X PUT "$default/$endpoint/model/${file##*/}?${sas#\?}" -H "x-ms-version: 2021-12-02" -H "x-ms-blob-type: BlockBlob" --data-binary "@$file"
done
arm PUT "$workspace/models/$endpoint-model/versions/1?$api" "{\"properties\": {\"modelType\": \"custom_model\",
	\"modelUri\": \"azureml:/$(id_of "$datastore")/paths/$endpoint/model\"}}" >/dev/null

deployment=$(jq -cn --arg location "$location" --arg model "$(id_of "$workspace")/models/$endpoint-model/versions/1" --arg env "$(id_of "$workspace")/environments/$endpoint-env/versions/1" \
	--arg account "\${{azureml://connections/$endpoint-keys/target}}" --arg file "\${{azureml://connections/$endpoint-keys/credentials/FILE}}" --arg container "\${{keyvault:$secret}}" \
	'{location: $location, sku: {name: "Default", capacity: 1}, properties: {endpointComputeType: "Managed", instanceType: "Standard_DS3_v2", model: $model, environmentId: $env,
	environmentVariables: {STORAGE_ACCOUNT_NAME: $account, STORAGE_CONTAINER_NAME: $container, FILE_NAME: $file}}}')
refused=$(wait_for "$(arm PUT "$url/deployments/blue?$api" "$deployment")" | jq -c .error)
arm DELETE "$url/deployments/blue?$api"
while [ "$(curl -sS -o /dev/null -w '%{http_code}' "$url/deployments/blue?$api" -H "Authorization: Bearer $ARM")" = 200 ]; do sleep 0.2; done
role "Key Vault Secrets User" "$principal" "https://management.azure.com$vault"
deployed=$(wait_for "$(arm PUT "$url/deployments/blue?$api" "$deployment")" | jq -r .status)
kept=$(arm GET "$url/deployments/blue?$api" | jq -r .properties.environmentVariables.STORAGE_CONTAINER_NAME)
log=$(arm POST "$url/deployments/blue/getLogs?$api" '{"tail": 1000}' | jq -r .content)
key=$(arm POST "$url/listKeys?$api" '' | jq -r .primaryKey)
score=$(curl -sS --fail-with-body "$(jq -r .properties.scoringUri <<<"$shown")" -H "Content-Type: application/json" -H "Authorization: Bearer $key" \
	-H "azureml-model-deployment: blue" --data-binary "@$online/model-1/sample-request.json")

arm DELETE "$url?$api"
while [ "$(curl -sS -o /dev/null -w '%{http_code}' "$url?$api" -H "Authorization: Bearer $ARM")" = 200 ]; do sleep 0.2; done
arm DELETE "$connection?$api"
arm DELETE "$storage?api-version=2023-05-01"
left=$(curl -sS -o /dev/null -w '%{http_code}' "$connection?$api" -H "Authorization: Bearer $ARM")
jq -cn --argjson plain "$plain" --argjson refused "$refused" --arg deployed "$deployed" --arg kept "$kept" --arg secret "$secret" --arg log "$log" --argjson score "$score" --arg left "$left" '$ARGS.named'
