#!/usr/bin/env bash
# A template with az: checked, deployed, looked at; a registry beside it.
#   template.sh STORAGE_ACCOUNT REGISTRY
# The last line printed is the report, a JSON object.
set -uo pipefail
account=$1 registry=$2
exec 3>&1 >&2
report='{}'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$(dirname "$0")"

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

group=(-g "$AZURE_RESOURCE_GROUP")
add checked az deployment group validate "${group[@]}" -n from-file -f template.json -p account="$account" --query properties.provisioningState
add deployed az deployment group create "${group[@]}" -n from-file -f template.json -p account="$account" \
	--query '[properties.provisioningState, properties.outputs.blobs.value]'
add listed az deployment group list "${group[@]}" --query "[?name=='from-file'].name"
add steps az deployment operation group list "${group[@]}" -n from-file --query 'length(@)'
principal=$(az identity show -n aztemplate "${group[@]}" --query principalId -o tsv)
scope=$(az storage account show -n "$account" "${group[@]}" --query id -o tsv)
add role az role assignment list --scope "$scope" --query "[?principalId=='$principal'].roleDefinitionName"
add wrong az deployment group create "${group[@]}" -n wrong -f template.json -p account=Not-A-Name
az deployment group delete "${group[@]}" -n from-file
add forgotten az deployment group show "${group[@]}" -n from-file

add registry az acr create -n "$registry" "${group[@]}" --sku Basic --query '[loginServer, provisioningState]'
add found az acr show -n "$registry" --query name
add taken az acr check-name -n "$registry" --query nameAvailable
add admin az acr update -n "$registry" --admin-enabled true
add deleted az acr delete -n "$registry" "${group[@]}" --yes

az identity delete -n aztemplate "${group[@]}"
az storage account delete -n "$account" "${group[@]}" --yes
jq -c . <<<"$report" >&3
