package azure_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/azure"
)

func TestHostsClassify(t *testing.T) {
	hosts, err := azure.NewHosts("my.real.account.example", "realaccount.blob.core.windows.net", "*.search.windows.net")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		host    string
		kind    azure.HostKind
		service azure.HostService
		name    string
		region  string
		quiet   bool
	}{
		{host: "login.microsoftonline.com", kind: azure.HostEmulated, service: azure.ServiceEntra},
		{host: "LOGIN.microsoftonline.com.:443", kind: azure.HostEmulated, service: azure.ServiceEntra},
		{host: "login.windows.net", kind: azure.HostEmulated, service: azure.ServiceEntra},
		{host: "sts.windows.net", kind: azure.HostEmulated, service: azure.ServiceEntra},
		{host: "eastus.login.microsoftonline.com", kind: azure.HostRefused},
		{host: "management.azure.com:443", kind: azure.HostEmulated, service: azure.ServiceARM},
		{host: "eastus.management.azure.com", kind: azure.HostRefused},
		{host: "acct1.blob.core.windows.net", kind: azure.HostEmulated, service: azure.ServiceBlob, name: "acct1"},
		{host: "a.b.blob.core.windows.net", kind: azure.HostRefused},
		{host: "blob.core.windows.net", kind: azure.HostRefused},
		{host: ".blob.core.windows.net", kind: azure.HostRefused},
		{host: "acct1.queue.core.windows.net", kind: azure.HostRefused},
		{host: "ep-1.eastus.inference.ml.azure.com", kind: azure.HostEmulated, service: azure.ServiceScoring, name: "ep-1", region: "eastus"},
		{host: "batch.inference.ml.azure.com", kind: azure.HostRefused},
		{host: "eastus.api.azureml.ms", kind: azure.HostEmulated, service: azure.ServiceAzureMLAPI, region: "eastus"},
		{host: "169.254.169.254:80", kind: azure.HostEmulated, service: azure.ServiceIMDS},
		{host: "graph.microsoft.com", kind: azure.HostEmulated, service: azure.ServiceGraph},
		{host: "v1.vault.azure.net", kind: azure.HostEmulated, service: azure.ServiceVault, name: "v1"},
		{host: "r1.azurecr.io", kind: azure.HostRefused, service: azure.ServiceRegistry, name: "r1"},
		{host: "westus2-0.in.applicationinsights.azure.com", kind: azure.HostRefused, quiet: true},
		{host: "dc.services.visualstudio.com", kind: azure.HostRefused, quiet: true},
		{host: "ns.servicebus.windows.net", kind: azure.HostRefused},
		{host: "never-heard-of.azure.com", kind: azure.HostRefused},
		{host: "azcliprod.blob.core.windows.net", kind: azure.HostPassed},
		{host: "aka.ms", kind: azure.HostPassed},
		{host: "mcr.microsoft.com", kind: azure.HostPassed},
		{host: "eastus.data.mcr.microsoft.com", kind: azure.HostPassed},
		{host: "acme.pkgs.dev.azure.com", kind: azure.HostPassed},
		{host: "dev.azure.com", kind: azure.HostPassed},
		{host: "pypi.org", kind: azure.HostPassed},
		{host: "notwindows.net", kind: azure.HostPassed},
		{host: "management.azure.com.evil.example", kind: azure.HostPassed},
		{host: "realaccount.blob.core.windows.net", kind: azure.HostPassed},
		{host: "svc.search.windows.net", kind: azure.HostPassed},
		{host: "[::1]:4390", kind: azure.HostPassed},
		{host: "", kind: azure.HostPassed},
	} {
		got := hosts.Classify(tc.host)
		if got.Kind != tc.kind || got.Service != tc.service || got.Name != tc.name || got.Region != tc.region || got.Quiet != tc.quiet {
			t.Errorf("Classify(%q) = %+v, want %+v", tc.host, got, tc)
		}
		if got.Kind == azure.HostRefused && got.Label == "" {
			t.Errorf("Classify(%q) refuses without naming the service", tc.host)
		}
	}
}

func TestHostsNeverLetCredentialsThrough(t *testing.T) {
	for _, bad := range []string{
		"login.microsoftonline.com", "management.azure.com", "graph.microsoft.com", "169.254.169.254",
		"*.azure.com", "*.com", "*.microsoftonline.com", "*", "", "*.", "a:443", "https://a", "a/b", "*.a.*.b",
	} {
		if _, err := azure.NewHosts(bad); err == nil {
			t.Errorf("NewHosts(%q) was accepted", bad)
		}
	}
}

func TestHostSuffixesCoverWhatWeAnswerFor(t *testing.T) {
	var hosts *azure.Hosts
	suffixes := hosts.Suffixes()
	covered := func(host string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool {
			return host == s || strings.HasSuffix(host, "."+s)
		})
	}
	for _, host := range []string{
		"login.microsoftonline.com", "management.azure.com", "a.blob.core.windows.net",
		"e.eastus.inference.ml.azure.com", "eastus.api.azureml.ms", "graph.microsoft.com",
		"v.vault.azure.net", "r.azurecr.io", "dc.services.visualstudio.com",
	} {
		if !covered(host) {
			t.Errorf("%s is answered but not covered by %v", host, suffixes)
		}
	}
	for _, host := range []string{"pypi.org", "mcr.microsoft.com", "microsoft.com", "www.visualstudio.com", "aka.ms"} {
		if covered(host) {
			t.Errorf("%s is covered by %v", host, suffixes)
		}
	}
	for i, a := range suffixes {
		for j, b := range suffixes {
			if i != j && (a == b || strings.HasSuffix(a, "."+b)) {
				t.Errorf("suffix %q is redundant beside %q", a, b)
			}
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"", ".", "a.blob.core.windows.net:443", "[::1]:1", "{name}.blob.core.windows.net", "*.x", "..", "[", "a:b:c"} {
		f.Add(s)
	}
	hosts, err := azure.NewHosts("*.example.com")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host string) {
		c := hosts.Classify(host)
		if again := hosts.Classify(c.Host); c.Kind != again.Kind && !strings.ContainsAny(c.Host, ":[].") {
			t.Errorf("Classify(%q) = %v but Classify(%q) = %v", host, c.Kind, c.Host, again.Kind)
		}
		if c.Kind == azure.HostEmulated && c.Service == "" {
			t.Errorf("Classify(%q) emulates no service", host)
		}
	})
}
