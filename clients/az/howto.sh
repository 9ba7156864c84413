#!/usr/bin/env bash
# The how-to's commands, in its order and words.
#   howto.sh sai|uai ENDPOINT STORAGE_ACCOUNT IDENTITY
# `az` is on PATH, and signed in. `ml` stands for `az ml`: see ml.py; with
# AZ_ML=extension it is the real one. The last line printed is a JSON object
# that says how it went.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec 3>&1 >&2 # only the report goes to standard output

ml() {
	if [ "${AZ_ML:-}" = extension ]; then
		az ml "$@" -o json
		return
	fi
	"$AML_PYTHON" "$here/ml.py" "$@" | grep -v '^[.]*$' | sed 's/^\.*\([{[]\)/\1/'
}

kind=$1
export ENDPOINT_NAME=$2 STORAGE_ACCOUNT_NAME=$3 UAI_NAME=$4
export STORAGE_CONTAINER_NAME=hello-world-container FILE_NAME=hello.txt
cd "$SAMPLES"
files=endpoints/online/managed/managed-identities

# Configure defaults: the how-to's own misprint, which must do no harm.
az configure --defaults gitworkspace=nonsense
group=$(az config get defaults.group --query value -o tsv 2>/dev/null)
export LOCATION
LOCATION=$(az group show -n "$group" --query location -o tsv)

set_uai=() set_client=()
if [ "$kind" = uai ]; then
	az identity create --name "$UAI_NAME"
	uai_clientid=$(az identity list --query "[?name=='$UAI_NAME'].clientId" -o tsv)
	uai_principalid=$(az identity list --query "[?name=='$UAI_NAME'].principalId" -o tsv)
	uai_id=$(az identity list --query "[?name=='$UAI_NAME'].id" -o tsv)
	set_uai=(--set "identity.user_assigned_identities[0].resource_id=$uai_id")
	set_client=("environment_variables.UAI_CLIENT_ID=$uai_clientid")
fi

# Create a storage account, a container and a blob.
az storage account create --name "$STORAGE_ACCOUNT_NAME" --location "$LOCATION"
storage_id=$(az storage account show --name "$STORAGE_ACCOUNT_NAME" --query "id" -o tsv)
container=$(az storage container create --account-name "$STORAGE_ACCOUNT_NAME" --name "$STORAGE_CONTAINER_NAME" --query created)
az storage blob upload --account-name "$STORAGE_ACCOUNT_NAME" --container-name "$STORAGE_CONTAINER_NAME" --name "$FILE_NAME" --file "$files/hello.txt"

# Create the endpoint.
ml online-endpoint create --name "$ENDPOINT_NAME" -f "$files/1-$kind-create-endpoint.yml" ${set_uai[@]+"${set_uai[@]}"}
endpoint=$(ml online-endpoint show --name "$ENDPOINT_NAME")

# Give the identity permission to the storage.
if [ "$kind" = sai ]; then
	principal=$(jq -r .identity.principal_id <<<"$endpoint")
	az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal --role "Storage Blob Data Reader" --scope "$storage_id"
else
	# The sample's older and newer way to name the identity.
	az role assignment create --assignee "$uai_clientid" --role "Storage Blob Data Reader" --scope "$storage_id"
	principal=$uai_principalid
	workspace=$(az resource list --resource-type Microsoft.MachineLearningServices/workspaces --query "[0].id" -o tsv)
	for property in containerRegistry storageAccount; do
		scope=$(az rest --method get --url "$workspace?api-version=2024-10-01" --query "properties.$property" -o tsv)
		role=AcrPull
		[ $property = containerRegistry ] || role="Storage Blob Data Reader"
		az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal --role "$role" --scope "$scope"
	done
fi
# az itself refuses --all beside a default group.
roles=$(AZURE_DEFAULTS_GROUP='' az role assignment list --all --assignee "$principal" --query "[].roleDefinitionName" -o json)

# Create a deployment; all traffic goes to it.
if [ "$kind" = sai ]; then traffic=(--all-traffic); else traffic=(); fi
ml online-deployment create --endpoint-name "$ENDPOINT_NAME" ${traffic[@]+"${traffic[@]}"} --name blue --file "$files/2-$kind-deployment.yml" --set \
	"environment_variables.STORAGE_ACCOUNT_NAME=$STORAGE_ACCOUNT_NAME" \
	"environment_variables.STORAGE_CONTAINER_NAME=$STORAGE_CONTAINER_NAME" \
	"environment_variables.FILE_NAME=$FILE_NAME" ${set_client[@]+"${set_client[@]}"}
[ "$kind" = sai ] || ml online-endpoint update --name "$ENDPOINT_NAME" --traffic "blue=100"
deployment=$(ml online-deployment show --endpoint-name "$ENDPOINT_NAME" --name blue)
log=$(ml online-deployment get-logs --endpoint-name "$ENDPOINT_NAME" --name blue)

score=$(ml online-endpoint invoke --name "$ENDPOINT_NAME" --request-file endpoints/online/model-1/sample-request.json)

# Clean up.
ml online-endpoint delete --name "$ENDPOINT_NAME" --yes || true # grep found only dots
az storage account delete --name "$STORAGE_ACCOUNT_NAME" --yes
[ "$kind" = sai ] || az identity delete --name "$UAI_NAME"
left=$(az storage account list --query "[?name=='$STORAGE_ACCOUNT_NAME'].name" -o json)

jq -cn --argjson container "$container" --argjson endpoint "$endpoint" --argjson roles "$roles" --argjson deployment "$deployment" \
	--arg log "$log" --argjson score "$score" --argjson left "$left" '$ARGS.named' >&3
