package amlocal

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// CloudName is the name of the custom cloud.
const CloudName = "amlocal"

// cloudAddress is where the emulator answers as Azure Resource Manager and
// Microsoft Entra ID without a proxy. The certificate is for localhost, not for
// 127.0.0.1.
func (a Access) cloudAddress() string { return "https://localhost:" + strconv.Itoa(a.Port) }

// CloudConfig is what `az cloud register --cloud-config` reads: a cloud whose
// control plane and sign-in are at the emulator's own address. The data planes
// keep their public names, which only the proxy leads to the emulator.
func (a Access) CloudConfig() map[string]any {
	here := a.cloudAddress()
	return map[string]any{
		"name": CloudName,
		"endpoints": map[string]string{
			"resourceManager": here, "activeDirectory": here,
			"activeDirectoryResourceId": "https://management.core.windows.net/", "management": "https://management.core.windows.net/",
			"activeDirectoryGraphResourceId": "https://graph.windows.net/", "microsoftGraphResourceId": "https://graph.microsoft.com/",
			"gallery": "https://gallery.azure.com/", "portal": "https://portal.azure.com",
		},
		"suffixes": map[string]string{
			"storageEndpoint": "core.windows.net", "keyvaultDns": ".vault.azure.net", "acrLoginServerEndpoint": ".azurecr.io",
		},
	}
}

// cloudMetadata is the document of /metadata/endpoints as api-versions since
// 2019 have it: fields by the public cloud's answer, values for who asks.
func (e *Emulator) cloudMetadata(r *http.Request) map[string]any {
	name, manager, login := "AzureCloud", "https://management.azure.com/", "https://login.microsoftonline.com"
	if azure.CanonicalHost(r.Host) == "localhost" {
		here := "https://" + r.Host
		name, manager, login = CloudName, here, here
	}
	audiences := []string{"https://management.core.windows.net/", "https://management.azure.com/"}
	return map[string]any{
		"name": name, "portal": "https://portal.azure.com", "resourceManager": manager,
		"authentication": map[string]any{"loginEndpoint": login, "audiences": audiences, "tenant": "common", "identityProvider": "AAD"},
		"graph":          "https://graph.windows.net/", "graphAudience": "https://graph.windows.net/", "microsoftGraphResourceId": "https://graph.microsoft.com/",
		"gallery": "https://gallery.azure.com/", "batch": "https://batch.core.windows.net/", "media": "https://rest.media.azure.net",
		"sqlManagement": "https://management.core.windows.net:8443/", "activeDirectoryDataLake": "https://datalake.azure.net/",
		"vmImageAliasDoc": "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/master/arm-compute/quickstart-templates/aliases.json",
		"suffixes": map[string]any{
			"storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "acrLoginServer": "azurecr.io", "sqlServerHostname": "database.windows.net",
			"mhsmDns": "managedhsm.azure.net", "azureDataLakeStoreFileSystem": "azuredatalakestore.net",
			"azureDataLakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net",
		},
	}
}

// withCloudMetadata answers /metadata/endpoints before a handler of ARM: anyone
// may read it. One object since 2022-09-01, a list since 2019-05-01, and the
// short form of 2015 for Az PowerShell and Terraform's older providers.
func (e *Emulator) withCloudMetadata(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), "/metadata/endpoints") {
			next.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", http.MethodGet)
			adminError(w, http.StatusMethodNotAllowed, "this document can be read only")
			return
		}
		document := e.cloudMetadata(r)
		switch version := r.URL.Query().Get("api-version"); {
		case version == "":
			reply(w, http.StatusBadRequest, map[string]any{"error": map[string]string{
				"code": "MissingApiVersionParameter", "message": "The api-version query parameter (?api-version=) is required for all requests.",
			}})
		case version >= "2022-09-01":
			reply(w, http.StatusOK, document)
		case version >= "2019-05-01":
			reply(w, http.StatusOK, []any{document})
		default:
			reply(w, http.StatusOK, map[string]any{
				"galleryEndpoint": document["gallery"], "graphEndpoint": document["graph"], "portalEndpoint": document["portal"],
				"authentication": document["authentication"],
			})
		}
	})
}

// cloudHandler is who answers a path of the custom cloud, nil for none. A
// storage account of such a name is reached by its host name.
func (e *Emulator) cloudHandler(path string) http.Handler {
	first, rest, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(path), "/"), "/")
	second, _, _ := strings.Cut(rest, "/")
	switch first {
	case "subscriptions", "providers", "tenants", "metadata":
		return overTLS(e.withCloudMetadata(e.arm))
	}
	switch second {
	case "oauth2", "v2.0", "discovery", ".well-known", "userrealm":
		if first == "common" || first == "organizations" || strings.ContainsAny(first, "-.") { // no name of an account
			return overTLS(e.entra)
		}
	}
	return nil
}
