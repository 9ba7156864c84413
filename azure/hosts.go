package azure

import (
	"fmt"
	"net/netip"
	"strings"
)

// HostKind is what the emulator does with a host name.
type HostKind int

// The host classes.
const (
	// HostPassed names belong to the network; they are tunnelled untouched.
	HostPassed HostKind = iota
	// HostEmulated names are taken over: TLS ends here.
	HostEmulated
	// HostRefused names are Azure's and not emulated: answered 501, so that
	// no request of a test ever reaches the real service by accident.
	HostRefused
)

// String is "passed", "emulated" or "refused".
func (k HostKind) String() string {
	return [...]string{"passed", "emulated", "refused"}[k]
}

// HostService says which service a name belongs to.
type HostService string

// The services names lead to. Those whose rows are refused today are listed
// too: emulating one is a change of its row's kind.
const (
	ServiceEntra      HostService = "entra"
	ServiceARM        HostService = "arm"
	ServiceGraph      HostService = "graph"
	ServiceBlob       HostService = "blob"
	ServiceScoring    HostService = "scoring"
	ServiceRouter     HostService = "router" // the front of a Kubernetes cluster
	ServiceAzureMLAPI HostService = "azureml-api"
	ServiceVault      HostService = "vault"
	ServiceRegistry   HostService = "registry"
	ServiceIMDS       HostService = "imds"
)

// HostClass is a classified host name.
type HostClass struct {
	Kind HostKind
	// Host is the name as compared: lower case, no port, no trailing dot.
	Host string
	// Service is set for names the emulator knows by purpose.
	Service HostService
	// Name is the account, vault, registry or endpoint in the host name,
	// Region the Azure region; empty where the name has none.
	Name, Region string
	// Label is the service's name for people, e.g. "Azure Event Hubs".
	Label string
	// Quiet says that refusals are not worth a line: telemetry.
	Quiet bool
}

// hostRow is one line of the table. In a pattern, "*." stands for one or more
// leading labels, "{name}" and "{region}" for exactly one.
type hostRow struct {
	pattern string
	kind    HostKind
	service HostService
	label   string
	quiet   bool
}

// hostTable is the table; the first row that matches decides. What no row
// matches is passed.
//
// Sources: the public Azure cloud's suffixes as Microsoft documents them and as
// the CLI's cloud definition lists them; wire/az-cli.md sections 1 and 2;
// wire/azure-ai-ml.md section 15.
var hostTable = []hostRow{
	// Passed although they look like ours.
	{pattern: "aka.ms"},
	{pattern: "mcr.microsoft.com"},
	{pattern: "*.mcr.microsoft.com"}, // data hosts: <region>.data.mcr.microsoft.com
	{pattern: "*.cdn.mscr.io"},       // their former name
	{pattern: "dev.azure.com"},
	{pattern: "*.dev.azure.com"},
	{pattern: "azcliprod.blob.core.windows.net"},             // CLI start-up check, extensions
	{pattern: "azurecliprod.blob.core.windows.net"},          // CLI extensions
	{pattern: "azcliextensionsync.blob.core.windows.net"},    // CLI extension index
	{pattern: "azurecliextensionsync.blob.core.windows.net"}, // its command tree
	{pattern: "azuremlsdktestpypi.blob.core.windows.net"},    // wheels of the ml extension

	// Emulated.
	{"login.microsoftonline.com", HostEmulated, ServiceEntra, "Microsoft Entra ID", false},
	{"login.microsoft.com", HostEmulated, ServiceEntra, "Microsoft Entra ID", false},
	{"login.windows.net", HostEmulated, ServiceEntra, "Microsoft Entra ID", false},
	{"sts.windows.net", HostEmulated, ServiceEntra, "Microsoft Entra ID", false},
	{"management.azure.com", HostEmulated, ServiceARM, "Azure Resource Manager", false},
	{"graph.microsoft.com", HostEmulated, ServiceGraph, "Microsoft Graph", false},
	{"{name}.blob.core.windows.net", HostEmulated, ServiceBlob, "Azure Blob Storage", false},
	{"{name}.vault.azure.net", HostEmulated, ServiceVault, "Azure Key Vault", false},
	{"{name}.{region}.inference.ml.azure.com", HostEmulated, ServiceScoring, "Azure Machine Learning online endpoints", false},
	{"{name}.{region}.cloudapp.azure.com", HostEmulated, ServiceRouter, "Kubernetes online endpoints", false},
	{"{region}.api.azureml.ms", HostEmulated, ServiceAzureMLAPI, "the Azure Machine Learning regional API", false},
	{"169.254.169.254", HostEmulated, ServiceIMDS, "the instance metadata service", false},

	// Telemetry, refused quietly.
	{"*.applicationinsights.azure.com", HostRefused, "", "Application Insights telemetry", true},
	{"*.applicationinsights.microsoft.com", HostRefused, "", "Application Insights telemetry", true},
	{"dc.services.visualstudio.com", HostRefused, "", "Application Insights telemetry", true},
	{"rt.services.visualstudio.com", HostRefused, "", "Application Insights telemetry", true},
	{"*.monitor.azure.com", HostRefused, "", "Azure Monitor telemetry", true},
	{"*.events.data.microsoft.com", HostRefused, "", "Microsoft telemetry", true},
	{"vortex.data.microsoft.com", HostRefused, "", "Microsoft telemetry", true},

	// Refused: known by purpose, not emulated yet.
	{"graph.windows.net", HostRefused, ServiceGraph, "Azure AD Graph", false},
	{"{name}.azurecr.io", HostRefused, ServiceRegistry, "Azure Container Registry", false},

	// Refused: the rest of Azure. The last rows catch what has no line.
	{"management.core.windows.net", HostRefused, "", "Azure Service Management (classic)", false},
	{"*.queue.core.windows.net", HostRefused, "", "Azure Queue Storage", false},
	{"*.table.core.windows.net", HostRefused, "", "Azure Table Storage", false},
	{"*.file.core.windows.net", HostRefused, "", "Azure Files", false},
	{"*.dfs.core.windows.net", HostRefused, "", "Azure Data Lake Storage Gen2", false},
	{"*.web.core.windows.net", HostRefused, "", "Azure Storage static websites", false},
	{"*.blob.storage.azure.net", HostRefused, "", "Azure Storage DNS zone endpoints", false},
	{"*.storage.azure.net", HostRefused, "", "Azure Storage DNS zone endpoints", false},
	{"*.servicebus.windows.net", HostRefused, "", "Azure Service Bus and Event Hubs", false},
	{"*.database.windows.net", HostRefused, "", "Azure SQL", false},
	{"*.documents.azure.com", HostRefused, "", "Azure Cosmos DB", false},
	{"*.cosmos.azure.com", HostRefused, "", "Azure Cosmos DB", false},
	{"*.search.windows.net", HostRefused, "", "Azure AI Search", false},
	{"*.openai.azure.com", HostRefused, "", "Azure OpenAI", false},
	{"*.cognitiveservices.azure.com", HostRefused, "", "Azure AI services", false},
	{"*.services.ai.azure.com", HostRefused, "", "Azure AI Foundry", false},
	{"*.cognitive.microsoft.com", HostRefused, "", "Azure AI services", false},
	{"*.inference.ml.azure.com", HostRefused, "", "Azure Machine Learning batch and serverless endpoints", false},
	{"*.models.ai.azure.com", HostRefused, "", "Azure AI serverless models", false},
	{"ml.azure.com", HostRefused, "", "Azure Machine Learning studio", false},
	{"*.ml.azure.com", HostRefused, "", "Azure Machine Learning", false},
	{"*.azureml.ms", HostRefused, "", "Azure Machine Learning", false},
	{"*.azureml.net", HostRefused, "", "Azure Machine Learning", false},
	{"*.notebooks.azure.net", HostRefused, "", "Azure Machine Learning notebooks", false},
	{"*.managedhsm.azure.net", HostRefused, "", "Azure Managed HSM", false},
	{"*.azconfig.io", HostRefused, "", "Azure App Configuration", false},
	{"*.redis.cache.windows.net", HostRefused, "", "Azure Cache for Redis", false},
	{"*.azurewebsites.net", HostRefused, "", "Azure App Service", false},
	{"*.azurecontainerapps.io", HostRefused, "", "Azure Container Apps", false},
	{"*.eventgrid.azure.net", HostRefused, "", "Azure Event Grid", false},
	{"*.azuredatabricks.net", HostRefused, "", "Azure Databricks", false},
	{"*.azuresynapse.net", HostRefused, "", "Azure Synapse Analytics", false},
	{"*.kusto.windows.net", HostRefused, "", "Azure Data Explorer", false},
	{"*.loganalytics.io", HostRefused, "", "Azure Log Analytics", false},
	{"*.azurecr.io", HostRefused, "", "Azure Container Registry data endpoints", false},
	{"portal.azure.com", HostRefused, "", "the Azure portal", false},
	{"*.management.azure.com", HostRefused, "", "Azure Resource Manager regional endpoints", false},
	{"*.login.microsoftonline.com", HostRefused, "", "Microsoft Entra ID regional endpoints", false},
	{"*.login.microsoft.com", HostRefused, "", "Microsoft Entra ID regional endpoints", false},
	{"*.microsoftonline.com", HostRefused, "", "Microsoft Entra ID", false},
	{"*.vault.azure.net", HostRefused, "", "Azure Key Vault", false},
	{"*.core.windows.net", HostRefused, "", "Azure Storage", false},
	{"*.azure.net", HostRefused, "", "Azure", false},
	{"*.windows.net", HostRefused, "", "Azure", false},
	{"*.azure.com", HostRefused, "", "Azure", false},
}

// Hosts classifies host names: the table, plus the names the user lets
// through. The zero value is the table alone.
type Hosts struct {
	allow []string
}

// NewHosts adds allow, host names or "*.suffix" patterns, to the passed names.
// The names credentials are sent to cannot be allowed: a script would sign in
// to the real Azure while its author believes it talks to the emulator.
func NewHosts(allow ...string) (*Hosts, error) {
	h := &Hosts{}
	for _, a := range allow {
		pattern := strings.ToLower(strings.TrimSpace(a))
		bare := strings.TrimPrefix(pattern, "*.")
		if bare == "" || strings.ContainsAny(bare, "*{}/: ") {
			return nil, fmt.Errorf("allowed host %q: want a host name or *.suffix, without port or path", a)
		}
		for _, row := range hostTable {
			protected := row.service == ServiceEntra || row.service == ServiceARM ||
				row.service == ServiceGraph || row.service == ServiceIMDS
			if _, ok := matchHost(pattern, row.pattern); protected && ok {
				return nil, fmt.Errorf("allowed host %q would let credentials reach the real %s (%s)", a, row.label, row.pattern)
			}
		}
		h.allow = append(h.allow, pattern)
	}
	return h, nil
}

// Classify says what to do with host, which may carry a port.
func (h *Hosts) Classify(host string) HostClass {
	host = CanonicalHost(host)
	if h != nil {
		for _, pattern := range h.allow {
			if _, ok := matchHost(pattern, host); ok {
				return HostClass{Kind: HostPassed, Host: host}
			}
		}
	}
	for i := range hostTable {
		row := &hostTable[i]
		captured, ok := matchHost(row.pattern, host)
		if !ok {
			continue
		}
		return HostClass{
			Kind: row.kind, Host: host, Service: row.service, Label: row.label, Quiet: row.quiet,
			Name: captured.name, Region: captured.region,
		}
	}
	return HostClass{Kind: HostPassed, Host: host}
}

// Suffixes are the DNS names that cover every emulated and refused row, the
// shortest that do: what our certificate authority is constrained to. Address
// rows are left out.
func (h *Hosts) Suffixes() []string {
	var all []string
	for _, row := range hostTable {
		if row.kind == HostPassed {
			continue
		}
		suffix := row.pattern
		for strings.HasPrefix(suffix, "*.") || strings.HasPrefix(suffix, "{") {
			_, suffix, _ = strings.Cut(suffix, ".")
		}
		if _, err := netip.ParseAddr(suffix); err == nil {
			continue
		}
		all = append(all, suffix)
	}
	var out []string
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] && !coveredByAnother(s, all) {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

func coveredByAnother(s string, all []string) bool {
	for _, other := range all {
		if other != s && strings.HasSuffix(s, "."+other) {
			return true
		}
	}
	return false
}

// CanonicalHost is host in the form names are compared in: lower case, without
// port, brackets or trailing dot.
func CanonicalHost(host string) string {
	host = strings.ToLower(host)
	if rest, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(rest, "]")
		return host
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host, ':') == i {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

type hostCaptures struct{ name, region string }

func matchHost(pattern, host string) (c hostCaptures, ok bool) {
	if suffix, wild := strings.CutPrefix(pattern, "*."); wild {
		return c, len(host) > len(suffix)+1 && strings.HasSuffix(host, "."+suffix)
	}
	for {
		want, restPattern, morePattern := strings.Cut(pattern, ".")
		got, restHost, moreHost := strings.Cut(host, ".")
		switch {
		case got == "" || morePattern != moreHost:
			return hostCaptures{}, false
		case want == "{name}":
			c.name = got
		case want == "{region}":
			c.region = got
		case want != got:
			return hostCaptures{}, false
		}
		if !morePattern {
			return c, true
		}
		pattern, host = restPattern, restHost
	}
}
