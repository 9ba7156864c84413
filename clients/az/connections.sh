#!/usr/bin/env bash
# Workspace connections through az rest, as docs/secrets.md shows it: az ml is
# not needed.
#   connections.sh CONNECTION
# The last line printed is a JSON object that says how it went.
set -euo pipefail
name=$1
exec 3>&1 >&2
W="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/providers/Microsoft.MachineLearningServices/workspaces/$AZURE_ML_WORKSPACE"
V="api-version=2023-08-01-preview"

made=$(az rest --method put --url "$W/connections/$name?$V" \
	--body '{"properties": {"authType": "CustomKeys", "category": "CustomKeys", "target": "_",
		"credentials": {"keys": {"API_KEY": "the-az-key"}}, "metadata": {"API_BASE": "https://example.com"}}}')
shown=$(az rest --method get --url "$W/connections/$name?$V")
listed=$(az rest --method get --url "$W/connections?$V&category=CustomKeys" --query "value[?name=='$name'].properties.authType")
secrets=$(az rest --method post --url "$W/connections/$name/listsecrets?$V" --query properties.credentials.keys)
az rest --method patch --url "$W/connections/$name?$V" --body '{"properties": {"credentials": {"keys": {"API_KEY": "the-next-key"}}}}'
changed=$(az rest --method post --url "$W/connections/$name/listsecrets?$V" --query properties.credentials.keys.API_KEY)
refused=$(az rest --method put --url "$W/connections/$name?$V" --body '{"properties": {"authType": "ApiKey", "category": "AzureOpenAI", "target": "https://example.com"}}' 2>&1 || true)
az rest --method delete --url "$W/connections/$name?$V"
left=$(az rest --method get --url "$W/connections/$name?$V" 2>&1 || true)

jq -cn --argjson made "$made" --argjson shown "$shown" --argjson listed "$listed" --argjson secrets "$secrets" --argjson changed "$changed" \
	--arg refused "$refused" --arg left "$left" '$ARGS.named' >&3
