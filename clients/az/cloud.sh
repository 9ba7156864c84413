#!/usr/bin/env bash
# A custom cloud, registered in both ways. NO_PROXY names localhost, so what goes
# there goes without the proxy.
#   cloud.sh ADDRESS CLOUD_CONFIG
# The last line printed is the report, a JSON object.
set -uo pipefail
address=$1 config=$2
exec 3>&1 >&2
report='{}'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export AZURE_CONFIG_DIR=$work/az AZURE_CORE_INSTANCE_DISCOVERY=false AZURE_CORE_COLLECT_TELEMETRY=false

add() {
	local name=$1 out code=0
	shift
	out=$("$@" 2>"$work/stderr") || code=$?
	if [ $code != 0 ]; then
		out=$(jq -cn --argjson exit $code --arg error "$(cat "$work/stderr")" '$ARGS.named')
	fi
	report=$(jq -c --arg name "$name" --argjson value "${out:-null}" '.[$name] = $value' <<<"$report")
}

add byEndpoint az cloud register -n discovered --endpoint-resource-manager "$address"
add discovered az cloud show -n discovered --query 'endpoints.[resourceManager, activeDirectory, activeDirectoryResourceId]'
add byConfig az cloud register -n amlocal --cloud-config "$config"
for name in discovered amlocal; do
	az account clear
	az cloud set -n $name
	add "$name-login" az login --service-principal -u "$AZURE_CLIENT_ID" -p "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID" --query '[].[cloudName, user.type]'
	add "$name-group" az group show -n "$AZURE_RESOURCE_GROUP" --query location
done
az account clear
add wrong az login --service-principal -u "$AZURE_CLIENT_ID" -p wrong --tenant "$AZURE_TENANT_ID"
echo "$report" >&3
