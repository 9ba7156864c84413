#!/usr/bin/env bash
# The ways of `az login`.
#   signin.sh APPLICATION USER
# USER_PASSWORD is the user's; IDENTITY and IDENTITY_TOKEN are a managed
# identity's object id and its token for api://AzureADTokenExchange.
# The last line printed is the report, a JSON object.
set -uo pipefail
application=$1 user=$2
exec 3>&1 >&2
report='{}'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
owner=$AZURE_CONFIG_DIR

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

# fresh: nobody is signed in.
fresh() { export AZURE_CONFIG_DIR=$work/$1; }

# A certificate that az makes and registers.
made=$(az ad sp create-for-rbac --name "$application" --create-cert --role Reader --scopes "/subscriptions/$AZURE_SUBSCRIPTION_ID")
app=$(jq -r .appId <<<"$made")
pem=$(jq -r .fileWithCertAndPrivateKey <<<"$made")
add keys az ad app credential list --id "$app" --cert --query '[].type'
# The token of a managed identity, trusted by the application.
jq -n --arg issuer "https://login.microsoftonline.com/$AZURE_TENANT_ID/v2.0" --arg subject "$IDENTITY" \
	'{name: "identity", issuer: $issuer, subject: $subject, audiences: ["api://AzureADTokenExchange"]}' >"$work/trust.json"
add trust az ad app federated-credential create --id "$app" --parameters "$work/trust.json" --query name
add trusted az ad app federated-credential list --id "$app" --query '[].subject'

# And an identity that trusts it: a managed identity signed in from outside.
trust=(--identity-name az-outside-identity -g "$AZURE_RESOURCE_GROUP")
add identityTrust az identity federated-credential create --name outside "${trust[@]}" --issuer "https://login.microsoftonline.com/$AZURE_TENANT_ID/v2.0" --subject "$IDENTITY" --audiences api://AzureADTokenExchange --query properties.subject
add identityTrusted az identity federated-credential list "${trust[@]}" --query '[].name'
outside=$(az identity show -n az-outside-identity -g "$AZURE_RESOURCE_GROUP" --query clientId -o tsv)

fresh identity
add identity az login --service-principal -u "$outside" --federated-token "$IDENTITY_TOKEN" --tenant "$AZURE_TENANT_ID" --allow-no-subscriptions --query '[].user.name'
fresh certificate
add certificate az login --service-principal -u "$app" --certificate "$pem" --tenant "$AZURE_TENANT_ID" --query '[].user.type'
add group az group show -n "$AZURE_RESOURCE_GROUP" --query location
fresh federated
add federated az login --service-principal -u "$app" --federated-token "$IDENTITY_TOKEN" --tenant "$AZURE_TENANT_ID" --query '[].user.type'
add federatedGroup az group show -n "$AZURE_RESOURCE_GROUP" --query location

fresh wrong
add wrongPassword az login -u "$user" -p wrong --query '[].user'
fresh password
add password az login -u "$user" -p "$USER_PASSWORD" --query '[].user'
add token az account get-access-token --resource https://storage.azure.com --query tokenType
add me az ad signed-in-user show --query userPrincipalName

# The page that the message names, filled in as a user would.
fresh device
az login --use-device-code --query '[].user' >"$work/device.json" 2>"$work/device.txt" &
for _ in $(seq 100); do
	code=$(sed -n 's/.*enter the code \([A-Z0-9]*\) to.*/\1/p' "$work/device.txt")
	[ -n "$code" ] && break
	sleep 0.1
done
page=$(sed -n 's/.*open the page \([^ ]*\) and.*/\1/p' "$work/device.txt")
curl -sS "$page" --data-urlencode "code=$code" --data-urlencode "login=$user" --data-urlencode "passwd=$USER_PASSWORD" >"$work/page.html"
wait $!
add page jq -Rs . "$work/page.html"
add device cat "$work/device.json"
add deviceGroup az group show -n "$AZURE_RESOURCE_GROUP" --query location

AZURE_CONFIG_DIR=$owner
add gone az ad app credential delete --id "$app" --cert --key-id "$(az ad app credential list --id "$app" --cert --query '[0].keyId' -o tsv)"
fresh again
add refused az login --service-principal -u "$app" --certificate "$pem" --tenant "$AZURE_TENANT_ID"
AZURE_CONFIG_DIR=$owner az ad app delete --id "$app"
rm -f "$pem"
echo "$report" >&3
