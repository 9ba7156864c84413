#!/usr/bin/env bash
# Key vaults and their secrets.
#   keyvault.sh secrets|vaults|policies VAULT
# What is done with the secrets of a vault that decides by roles, as az makes
# it; with such a vault itself; or with one that decides by access policies. Each
# step adds to the report; the last line printed is the report, a JSON object.
set -uo pipefail
about=$1 vault=$2
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

# created makes the vault and keeps its id.
created() {
	az keyvault create --name "$vault" --retention-days 7 >"$work/vault"
	scope=$(jq -r .id "$work/vault")
	add created jq -c '[.properties.provisioningState, .properties.enableRbacAuthorization, .properties.vaultUri, .properties.softDeleteRetentionInDays]' "$work/vault"
}

may() { az role assignment create --assignee "$AZURE_CLIENT_ID" --role "$1" --scope "$scope"; }

about_secrets() {
	created
	# Being the owner of the subscription is not being allowed to read secrets.
	add ownerRefused az keyvault secret set --vault-name "$vault" --name pass --value one
	may "Key Vault Secrets Officer"
	az keyvault secret set --vault-name "$vault" --name pass --value one --tags team=a --content-type text/plain >"$work/set"
	add set jq -c '[.name, .value, .tags.team, .contentType]' "$work/set"
	az keyvault secret set --vault-name "$vault" --name pass --value two
	add latest az keyvault secret show --vault-name "$vault" --name pass --query value
	add byVersion az keyvault secret show --id "$(jq -r .id "$work/set")" --query value
	add secrets az keyvault secret list --vault-name "$vault" --query '[].name'
	add versions az keyvault secret list-versions --vault-name "$vault" --name pass --query 'length(@)'
	add attributes az keyvault secret set-attributes --vault-name "$vault" --name pass --enabled false --expires 2020-01-01T00:00:00Z --query '[attributes.enabled, attributes.expires]'
	add disabled az keyvault secret show --vault-name "$vault" --name pass
	add deleted az keyvault secret delete --vault-name "$vault" --name pass --query name
	add gone az keyvault secret show --vault-name "$vault" --name pass
	add recovered az keyvault secret recover --vault-name "$vault" --name pass --query name
	az keyvault secret delete --vault-name "$vault" --name pass
	add purged az keyvault secret purge --vault-name "$vault" --name pass
}

about_vaults() {
	created
	add again az keyvault create --name "$vault"
	add listed az keyvault list --query "length([?name=='$vault'])"
	may "Key Vault Secrets Officer"
	az keyvault secret set --vault-name "$vault" --name kept --value "still there"
	add vaultDeleted az keyvault delete --name "$vault"
	add vaultsDeleted az keyvault list-deleted --resource-type vault --query "[?name=='$vault'].properties.purgeProtectionEnabled"
	add vaultRecovered az keyvault recover --name "$vault" --query properties.provisioningState
	# Role assignments do not come back.
	add rolesGone az keyvault secret show --vault-name "$vault" --name kept
	may "Key Vault Secrets User"
	add kept az keyvault secret show --vault-name "$vault" --name kept --query value
	az keyvault delete --name "$vault"
	add vaultPurged az keyvault purge --name "$vault"
}

about_policies() {
	# az gives the maker of such a vault a policy.
	add policyVault az keyvault create --name "$vault" --enable-rbac-authorization false --query 'properties.enableRbacAuthorization'
	add policySet az keyvault secret set --vault-name "$vault" --name pass --value one --query value
	add policyLess az keyvault set-policy --name "$vault" --spn "$AZURE_CLIENT_ID" --secret-permissions list --query 'properties.accessPolicies[0].permissions.secrets'
	add policyRefused az keyvault secret show --vault-name "$vault" --name pass
	add policyMore az keyvault set-policy --name "$vault" --spn "$AZURE_CLIENT_ID" --secret-permissions get list --query 'sort(properties.accessPolicies[0].permissions.secrets)'
	add policyGet az keyvault secret show --vault-name "$vault" --name pass --query value
	add policyGone az keyvault delete-policy --name "$vault" --spn "$AZURE_CLIENT_ID" --query 'length(properties.accessPolicies)'
	add policyList az keyvault secret list --vault-name "$vault"
	add toRoles az keyvault update --name "$vault" --enable-rbac-authorization true --query 'properties.enableRbacAuthorization'
	add keys az keyvault key list --vault-name "$vault"
}

"about_$about"
echo "$report" >&3
