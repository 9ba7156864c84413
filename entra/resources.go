package entra

import (
	"net/url"
	"slices"
	"strings"
)

// knownResources are the resources whose tokens clients of Azure ML ask for,
// by URI and by the application id some of them also go by. An audience not
// listed here (or below knownSuffixes) is refused with AADSTS500011, as in a
// tenant where the resource is not installed.
var knownResources = []string{
	"https://management.azure.com",
	"https://management.core.windows.net",
	"https://storage.azure.com",
	"https://vault.azure.net",
	"https://managedhsm.azure.net",
	"https://ml.azure.com",
	"https://ai.azure.com",
	"https://graph.microsoft.com",
	"https://graph.windows.net",
	"https://containerregistry.azure.net",
	"https://cognitiveservices.azure.com",
	"https://search.azure.com",
	"https://cosmos.azure.com",
	"https://database.windows.net",
	"https://ossrdbms-aad.database.windows.net",
	"https://redis.azure.com",
	"https://datalake.azure.net",
	"https://eventhubs.azure.net",
	"https://servicebus.azure.net",
	"https://eventgrid.azure.net",
	"https://iothubs.azure.net",
	"https://azconfig.io",
	"https://batch.core.windows.net",
	"https://dev.azuresynapse.net",
	"https://monitor.azure.com",
	"https://api.loganalytics.io",
	"https://communication.azure.com",
	"https://purview.azure.net",
	"https://webpubsub.azure.com",
	"api://azureadtokenexchange",
	"https://attest.azure.net",
	"797f4846-ba00-4fd7-ba43-dac1f8f63013", // Azure Resource Manager
	"e406a681-f3d4-42a8-90b6-c2b029497af1", // Azure Storage
	"cfa8b339-82a2-471a-a3c9-0fc0be7a4093", // Azure Key Vault
	"18a66f5f-dbdf-4c17-9dd7-1634712a9cbe", // Azure Machine Learning
	"00000003-0000-0000-c000-000000000000", // Microsoft Graph
	"00000002-0000-0000-c000-000000000000", // Azure AD Graph
	"7d312290-28c8-473c-a0ed-8e53749b6d6d", // Cognitive Services
	"022907d3-0f1b-48f7-badc-1ba6abab6d66", // Azure SQL
	exchangeAppID,                          // token exchange (federated credentials)
	"2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", // Azure Databricks
	"499b84ac-1321-427f-aa17-267ca6975798", // Azure DevOps
}

// knownSuffixes are services where the address of one account is an audience:
// https://<account><suffix>.
var knownSuffixes = []string{
	".blob.core.windows.net",
	".queue.core.windows.net",
	".table.core.windows.net",
	".file.core.windows.net",
	".dfs.core.windows.net",
	".vault.azure.net",
	".managedhsm.azure.net",
	".azurecr.io",
	".documents.azure.com",
	".servicebus.windows.net",
	".search.windows.net",
	".cognitiveservices.azure.com",
	".openai.azure.com",
	".azconfig.io",
	".kusto.windows.net",
}

// knownResource reports whether a token for the resource can be had. Letter
// case does not matter and one final slash is another spelling of the same
// resource; the token's audience keeps both as they were asked.
func knownResource(resource string) bool {
	name := strings.ToLower(strings.TrimSuffix(resource, "/"))
	if slices.Contains(knownResources, name) {
		return true
	}
	host, ok := strings.CutPrefix(name, "https://")
	if !ok {
		return false
	}
	if parsed, err := url.Parse(name); err != nil || parsed.Host != host || parsed.Port() != "" {
		return false // userinfo, path, query, fragment or port
	}
	return slices.ContainsFunc(knownSuffixes, func(suffix string) bool {
		account, ok := strings.CutSuffix(host, suffix)
		return ok && account != "" && !strings.HasPrefix(account, ".")
	})
}

// oidcScopes are asked beside the resource by Go and Java; they change nothing
// for an application.
var oidcScopes = []string{"openid", "profile", "offline_access", "email"}

// resourceOfScope finds the one resource a client_credentials scope names: a
// single word ends in "/.default" and what stands before it is the resource, so
// that "X//.default" means "X/".
func resourceOfScope(scope string) (string, error) {
	resource := ""
	for _, word := range strings.Fields(scope) {
		if slices.Contains(oidcScopes, strings.ToLower(word)) {
			continue
		}
		name, ok := strings.CutSuffix(word, "/.default")
		if !ok || name == "" {
			return "", errScopeForm(scope)
		}
		if resource != "" && name != resource {
			return "", errSeveralResources(scope)
		}
		resource = name
	}
	if resource == "" {
		return "", errScopeForm(scope)
	}
	return resource, nil
}
