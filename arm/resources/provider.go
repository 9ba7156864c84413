package resources

import (
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/arm"
)

// offered is what providers are said to have: az picks the newest stable
// api-version of a type from it (`az resource show --ids`).
var offered = []struct {
	namespace string
	types     map[string][]string
}{
	{"Microsoft.Authorization", map[string][]string{
		"roleAssignments": {"2022-04-01", "2020-10-01-preview", "2018-01-01-preview"},
		"roleDefinitions": {"2022-05-01-preview", "2022-04-01", "2018-01-01-preview"},
	}},
	{"Microsoft.ContainerRegistry", map[string][]string{
		"registries":            {"2026-09-01-preview", "2025-04-01", "2023-07-01", "2019-05-01"},
		"checkNameAvailability": {"2025-04-01", "2023-07-01"},
	}},
	{"Microsoft.Insights", map[string][]string{
		"components": {"2020-02-02", "2020-02-02-preview", "2015-05-01"},
	}},
	{"Microsoft.OperationalInsights", map[string][]string{
		"workspaces": {"2023-09-01", "2020-08-01"},
	}},
	{"Microsoft.ManagedIdentity", map[string][]string{
		"userAssignedIdentities": {"2025-05-31-preview", "2024-11-30", "2023-01-31", "2018-11-30"},
	}},
	{"Microsoft.MachineLearningServices", map[string][]string{
		"workspaces":                             {"2024-10-01-preview", "2024-10-01", "2024-04-01", "2023-04-01"},
		"workspaces/onlineEndpoints":             {"2024-10-01", "2024-04-01", "2023-04-01-preview", "2022-02-01-preview"},
		"workspaces/onlineEndpoints/deployments": {"2024-10-01", "2024-04-01", "2023-04-01-preview", "2022-02-01-preview"},
	}},
	{"Microsoft.Resources", map[string][]string{
		"resourceGroups": {"2025-04-01", "2024-11-01", "2022-09-01", "2020-06-01"},
		"subscriptions":  {"2022-12-01", "2022-09-01", "2020-01-01"},
		"tenants":        {"2022-12-01", "2020-01-01"},
		"deployments":    {"2025-04-01", "2024-11-01", "2020-06-01"},
	}},
	{"Microsoft.Storage", map[string][]string{
		"storageAccounts":                         {"2025-08-01", "2024-01-01", "2023-05-01", "2019-06-01"},
		"storageAccounts/blobServices":            {"2025-08-01", "2024-01-01", "2023-05-01", "2019-06-01"},
		"storageAccounts/blobServices/containers": {"2025-08-01", "2024-01-01", "2023-05-01", "2019-06-01"},
		"checkNameAvailability":                   {"2025-08-01", "2024-01-01", "2023-05-01", "2019-06-01"},
	}},
}

// providerBody describes a provider; ok is false for one we do not serve.
// Every provider is registered from the start.
func providerBody(scope, name string) (body arm.Document, ok bool) {
	for _, o := range offered {
		if !strings.EqualFold(o.namespace, name) {
			continue
		}
		var locations []any
		for _, region := range regions {
			locations = append(locations, region.display)
		}
		types := []any{}
		for _, name := range sortedKeys(o.types) {
			types = append(types, map[string]any{"resourceType": name, "locations": locations, "apiVersions": o.types[name], "capabilities": "None"})
		}
		return arm.Document{
			"id": strings.TrimRight(scope, "/") + "/providers/" + o.namespace, "namespace": o.namespace,
			"registrationState": "Registered", "registrationPolicy": "RegistrationRequired", "resourceTypes": types,
		}, true
	}
	return nil, false
}

func (p *Provider) listProviders(w http.ResponseWriter, r *arm.Request) error {
	if err := p.seesSubscription(r, namespace+"/subscriptions/providers/read"); err != nil {
		return err
	}
	var items []arm.Document
	for _, o := range offered {
		body, _ := providerBody(r.Scope, o.namespace)
		items = append(items, body)
	}
	return arm.ReplyList(w, items)
}

func (p *Provider) getProvider(w http.ResponseWriter, r *arm.Request) error {
	if err := p.seesSubscription(r, namespace+"/subscriptions/providers/read"); err != nil {
		return err
	}
	body, ok := providerBody(r.Scope, r.Name)
	if !ok {
		return errProvider(r.Name)
	}
	return arm.Reply(w, http.StatusOK, body)
}

// registerProvider has nothing to do but to say so.
func (p *Provider) registerProvider(w http.ResponseWriter, r *arm.Request) error {
	return p.getProvider(w, r)
}
