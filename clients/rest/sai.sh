#!/usr/bin/env bash
# The how-to with a system-assigned identity by plain REST calls: curl and jq.
#   sai.sh ENDPOINT STORAGE_ACCOUNT
# Settings are the usual AZURE_* variables and SAMPLES. The last line printed
# is a JSON object that says how it went.
set -euo pipefail
endpoint=$1 account=$2
online=$SAMPLES/endpoints/online
container=hello-world-container

group=https://management.azure.com/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP
workspace=$group/providers/Microsoft.MachineLearningServices/workspaces/$AZURE_ML_WORKSPACE
api="api-version=2023-10-01"

say() { echo "$*" >&2; }
id_of() { echo "${1#https://management.azure.com}"; }
uuid() { cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen; }

# token AUDIENCE: a token for the service principal of the environment.
token() {
	curl -sS --fail-with-body "https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token" \
		-d grant_type=client_credentials -d "client_id=$AZURE_CLIENT_ID" \
		--data-urlencode "client_secret=$AZURE_CLIENT_SECRET" --data-urlencode "scope=$1/.default" |
		jq -r .access_token
}
ARM=$(token https://management.azure.com)

# arm METHOD URL [BODY]: a control-plane call; the answer's body.
arm() {
	local method=$1 url=$2
	shift 2
	curl -sS --fail-with-body -X "$method" "$url" -H "Authorization: Bearer $ARM" -H "Content-Type: application/json" ${1+--data-binary "$1"}
}

# wait_for RESPONSE: polls what the service gave for it; the final status.
wait_for() {
	local url status
	url=$(jq -r '.properties.properties.AzureAsyncOperationUri' <<<"$1")
	while :; do
		status=$(arm GET "$url" | jq -r .status)
		case $status in Succeeded | Failed | Canceled) echo "$status"; return ;; esac
		sleep 0.2
	done
}

location=$(arm GET "$workspace?$api" | jq -r .location)

say "-- storage account, container, blob"
storage=$group/providers/Microsoft.Storage/storageAccounts/$account
arm PUT "$storage?api-version=2023-05-01" "{\"location\": \"$location\", \"kind\": \"StorageV2\", \"sku\": {\"name\": \"Standard_LRS\"}}" >/dev/null
until [ "$(arm GET "$storage?api-version=2023-05-01" | jq -r .properties.provisioningState)" = Succeeded ]; do sleep 0.2; done
arm PUT "$storage/blobServices/default/containers/$container?api-version=2023-05-01" '{}' >/dev/null

# role NAME PRINCIPAL: assigns a role on the new account.
role() {
	local definition
	definition=$(curl -sS --fail-with-body -G "$storage/providers/Microsoft.Authorization/roleDefinitions" -H "Authorization: Bearer $ARM" \
		--data-urlencode "api-version=2022-04-01" --data-urlencode "\$filter=roleName eq '$1'" | jq -r '.value[0].id')
	arm PUT "$storage/providers/Microsoft.Authorization/roleAssignments/$(uuid)?api-version=2022-04-01" \
		"{\"properties\": {\"roleDefinitionId\": \"$definition\", \"principalId\": \"$2\", \"principalType\": \"ServicePrincipal\"}}" >/dev/null
}
# Being the subscription's owner does not allow reading or writing blobs.
me=$(jq -rR 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson | .oid' <<<"$ARM")
role "Storage Blob Data Contributor" "$me"
STORAGE=$(token https://storage.azure.com)
curl -sS --fail-with-body -X PUT "https://$account.blob.core.windows.net/$container/hello.txt" -H "Authorization: Bearer $STORAGE" \
	-H "x-ms-version: 2021-12-02" -H "x-ms-blob-type: BlockBlob" --data-binary "@$online/managed/managed-identities/hello.txt"

# upload FOLDER CONTAINER_URL PATH SAS: each file of a folder.
upload() {
	local file
	for file in "$1"/*; do
		[ -f "$file" ] || continue
		curl -sS --fail-with-body -X PUT "$2/$3/${file##*/}?$4" -H "x-ms-version: 2021-12-02" -H "x-ms-blob-type: BlockBlob" --data-binary "@$file"
	done
}

say "-- code"
code=$workspace/codes/$endpoint-code/versions/1
pending=$(arm POST "$code/startPendingUpload?$api" '{"pendingUploadType": "TemporaryBlobReference"}')
blobs=$(jq -r .blobReferenceForConsumption.blobUri <<<"$pending")
sas=$(jq -r .blobReferenceForConsumption.credential.sasUri <<<"$pending")
upload "$online/model-1/onlinescoring" "$blobs" onlinescoring "${sas#*\?}"
arm PUT "$code?$api" "{\"properties\": {\"codeUri\": \"$blobs/onlinescoring\"}}" >/dev/null

say "-- model"
datastore=$workspace/datastores/workspaceblobstore
store=$(arm GET "$datastore?$api")
default=https://$(jq -r '.properties | .accountName + ".blob." + .endpoint + "/" + .containerName' <<<"$store")
secret=$(arm POST "$datastore/listSecrets?api-version=2024-10-01" '{"expirableSecret": true, "expireAfterHours": 1}' | jq -r .sasToken)
upload "$online/model-1/model" "$default" "$endpoint/model" "${secret#\?}"
arm PUT "$workspace/models/$endpoint-model/versions/1?$api" "{\"properties\": {\"modelType\": \"custom_model\",
	\"modelUri\": \"azureml:/$(id_of "$datastore")/paths/$endpoint/model\"}}" >/dev/null

say "-- environment"
# As the sample does it: the file's own line ends, inside a JSON string.
arm PUT "$workspace/environments/$endpoint-env/versions/1?$api" "{\"properties\": {\"condaFile\": \"$(cat "$online/model-1/environment/conda-managedidentity.yml")\",
	\"image\": \"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest\"}}" >/dev/null

say "-- endpoint"
url=$workspace/onlineEndpoints/$endpoint
made=$(arm PUT "$url?$api" "{\"location\": \"$location\", \"identity\": {\"type\": \"SystemAssigned\"}, \"properties\": {\"authMode\": \"AMLToken\"}}")
created=$(wait_for "$made")
shown=$(arm GET "$url?$api")
role "Storage Blob Data Reader" "$(jq -r .identity.principalId <<<"$shown")"

# score [CURL OPTION...]: one scoring request.
scoring=$(jq -r .properties.scoringUri <<<"$shown")
score() {
	curl -sS "$scoring" -H "Content-Type: application/json" --data-binary "@$online/model-1/sample-request.json" "$@"
}
bearer=$(arm POST "$url/token?$api" '' | jq -r .accessToken)
empty=$(score -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $bearer")

say "-- deployment"
made=$(arm PUT "$url/deployments/blue?$api" "{\"location\": \"$location\", \"sku\": {\"capacity\": 1, \"name\": \"Standard_DS3_v2\"}, \"properties\": {
	\"endpointComputeType\": \"Managed\", \"instanceType\": \"Standard_DS3_v2\", \"scaleSettings\": {\"scaleType\": \"Default\"},
	\"model\": \"$(id_of "$workspace")/models/$endpoint-model/versions/1\",
	\"codeConfiguration\": {\"codeId\": \"$(id_of "$code")\", \"scoringScript\": \"score_managedidentity.py\"},
	\"environmentId\": \"$(id_of "$workspace")/environments/$endpoint-env/versions/1\",
	\"environmentVariables\": {\"STORAGE_ACCOUNT_NAME\": \"$account\", \"STORAGE_CONTAINER_NAME\": \"$container\", \"FILE_NAME\": \"hello.txt\"}}}")
deployed=$(wait_for "$made")
log=$(arm POST "$url/deployments/blue/getLogs?$api" '{"tail": 1000}' | jq -r .content)

say "-- traffic, score"
made=$(arm PUT "$url?$api" "$(jq '.properties.traffic = {"blue": "100"}' <<<"$shown")")
wait_for "$made" >/dev/null
unsigned=$(score -o /dev/null -w '%{http_code}')
score=$(score --fail-with-body -H "Authorization: Bearer $bearer")

say "-- clean up"
arm DELETE "$url?$api"
left=$(curl -sS -o /dev/null -w '%{http_code}' "$url?$api" -H "Authorization: Bearer $ARM")
while [ "$left" = 200 ]; do
	sleep 0.2
	left=$(curl -sS -o /dev/null -w '%{http_code}' "$url?$api" -H "Authorization: Bearer $ARM")
done
arm DELETE "$storage?api-version=2023-05-01"

jq -cn --arg created "$created" --arg deployed "$deployed" --arg log "$log" --arg empty "$empty" --arg unsigned "$unsigned" --argjson score "$score" --arg left "$left" '$ARGS.named'
