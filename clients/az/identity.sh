#!/usr/bin/env bash
# `az login --identity` on a machine with a user-assigned identity.
#   identity.sh CLIENT_ID RESOURCE_ID STRANGER
# The last line printed is the report, a JSON object.
set -uo pipefail
client=$1 resource=$2 stranger=$3
exec 3>&1 >&2
report='{}'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

add() {
	local name=$1 out code=0
	shift
	out=$("$@" 2>"$work/stderr") || code=$?
	if [ $code != 0 ]; then
		out=$(jq -cn --argjson exit $code --arg error "$(cat "$work/stderr")" '$ARGS.named')
	fi
	report=$(jq -c --arg name "$name" --argjson value "${out:-null}" '.[$name] = $value' <<<"$report")
}

add login az login --identity --query '[].user'
add group az group show -n "$AZURE_RESOURCE_GROUP" --query location
add token az account get-access-token --resource https://management.azure.com --query accessToken
az account clear
add byClient az login --identity --client-id "$client" --query '[].user.type'
az account clear
add byResource az login --identity --resource-id "$resource" --query '[].user.type'
az account clear
add stranger az login --identity --client-id "$stranger"
echo "$report" >&3
