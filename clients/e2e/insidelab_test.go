package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/scenarios"
)

const (
	insideAccount = "insidestorage"
	insideText    = "hello from the box"
	blobReader    = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1" // Storage Blob Data Reader
	notAllowed    = "403 AuthorizationPermissionMismatch"
)

// insideLab is an emulator whose instances are clients, and what its tests need of the
// control plane.
type insideLab struct {
	emulator    *amlocal.Emulator
	http        *http.Client
	endpoints   *armmachinelearning.OnlineEndpointsClient
	assignments *armauthorization.RoleAssignmentsClient
	server      string // the program of testdata/inside
}

// insideClient is a client that runs inside an instance.
type insideClient struct {
	what     string // what it reads: see clients/python/read.py
	flavours []flavour
	trust    []string // the variables that make it trust the emulator
	distrust string   // what it says without them
}

// flavour is one way a client may find its identity.
type flavour struct {
	name    string
	unset   []string
	refused string // what the client says where the flavour cannot work
}

// The pairs of variables an instance has. With both, and with the newer alone,
// every SDK speaks App Service 2019-08-01; with the documented pair alone the
// Azure ML dialect, but for Java, which has none.
var (
	newer = []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER"}
	older = []string{"MSI_ENDPOINT", "MSI_SECRET"}
)

func flavours(olderAlone string) []flavour {
	return []flavour{{name: "both pairs"}, {name: "IDENTITY_ENDPOINT", unset: older}, {"MSI_ENDPOINT", newer, olderAlone}}
}

// What every client repeats of the identity endpoint's refusals.
const (
	notTheSecret = "The secret in the request's header is not this instance's"
	notTheClient = "No managed identity with client"
)

// The clients, as they are where no proxy is needed.
var (
	insideGo     = insideClient{"all", flavours(""), []string{"SSL_CERT_FILE"}, "certificate signed by unknown authority"}
	insideNode   = insideClient{"all", flavours(""), []string{"NODE_EXTRA_CA_CERTS"}, "UNABLE_TO_"}
	insidePython = insideClient{"all", flavours(""), []string{"SSL_CERT_FILE"}, "CERTIFICATE_VERIFY_FAILED"}
	// Java takes MSI_ENDPOINT alone for a Cloud Shell, and sends no secret.
	insideJava = insideClient{"all", flavours("The request has neither a 'secret' nor an 'X-IDENTITY-HEADER' header"),
		[]string{"JAVA_TOOL_OPTIONS"}, "PKIX path building failed"}
)

// newInsideLab starts an emulator, with the settings and lines of a world file
// that the case adds; the world may name the test's server.
func newInsideLab(t *testing.T, settings amlocal.Config, world func(server string) string) *insideLab {
	t.Helper()
	dir := t.TempDir()
	l := &insideLab{server: filepath.Join(dir, "inside")}
	agent := filepath.Join(dir, "amlocal")
	for program, pkg := range map[string]string{agent: "github.com/amlocal/amlocal/cmd/emulator", l.server: "./testdata/inside"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", pkg, err, out)
		}
	}
	file := filepath.Join(dir, "world.yaml")
	text := "accounts:\n  - name: " + insideAccount + "\n    containers:\n      - name: box\n        blobs: [{name: hello.txt, text: " + insideText + "}]\n"
	if world != nil {
		text += world(l.server)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settings.Ephemeral, settings.World, settings.CADir, settings.RelaxConda = true, file, filepath.Join(dir, "ca"), true
	settings.AgentBinary, settings.SandboxAgent = agent, agent
	var err error
	l.emulator, err = amlocal.New(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := l.emulator.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := l.emulator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.connect(t)
	return l
}

// connect makes the SDK's clients, signed in as the owner.
func (l *insideLab) connect(t *testing.T) {
	t.Helper()
	access := l.emulator.Access()
	bundle, err := os.ReadFile(access.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	proxy, err := url.Parse(access.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	l.http = &http.Client{Transport: transport, Timeout: clientTimeout}
	options := policy.ClientOptions{Transport: l.http}
	cred, err := azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, access.OwnerSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	if l.endpoints, err = armmachinelearning.NewOnlineEndpointsClient(azure.SeedSubscriptionID, cred, &arm.ClientOptions{ClientOptions: options}); err != nil {
		t.Fatal(err)
	}
	if l.assignments, err = armauthorization.NewRoleAssignmentsClient(azure.SeedSubscriptionID, cred, &arm.ClientOptions{ClientOptions: options}); err != nil {
		t.Fatal(err)
	}
}

// apply creates an endpoint with one deployment.
func (l *insideLab) apply(t *testing.T, name, rest string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"endpoint.yml":   "name: " + name + "\nauth_mode: key\n",
		"deployment.yml": "name: blue\nendpoint_name: " + name + "\ninstance_type: Standard_DS3_v2\ninstance_count: 1\nrequest_settings: {request_timeout_ms: 90000}\n" + rest,
	}
	var paths []string
	for _, file := range []string{"endpoint.yml", "deployment.yml"} {
		paths = append(paths, filepath.Join(dir, file))
		if err := os.WriteFile(filepath.Join(dir, file), []byte(files[file]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	definitions, err := scenarios.LoadDefinitions(paths)
	if err != nil {
		t.Fatal(err)
	}
	if err := scenarios.Apply(t.Context(), l.emulator.Access(), definitions, t.Output()); err != nil {
		t.Fatal(err)
	}
}

// ask asks the client of an endpoint: without a role, with it, as it must not
// ask, and without the variables that make it trust the emulator.
func (l *insideLab) ask(t *testing.T, name string, c insideClient) {
	t.Helper()
	want := func(what string, got, want map[string]string) {
		t.Helper()
		for key, w := range want {
			if !strings.Contains(got[key], w) || w == "" && got[key] != "" {
				t.Errorf("%s: %s is %q, want %q; all: %v", what, key, got[key], w, got)
			}
		}
	}
	score := l.asker(t, name)
	read := func(change []string, args ...string) map[string]string {
		t.Helper()
		return score(change, append([]string{insideAccount, "box", "hello.txt"}, args...)...)
	}
	reads := func(text string) map[string]string {
		all := map[string]string{"credential": "", "token": "given", "sdk": "", "plain": ""}
		for _, by := range []string{"sdk", "plain"} {
			if c.what == "all" || c.what == by {
				all[by] = text
			}
		}
		return all
	}
	refused := func(why string) map[string]string {
		return map[string]string{"credential": why, "token": "", "sdk": "", "plain": ""}
	}
	if c.what != "token" {
		want("without the role", read(nil, c.what), reads(notAllowed))
	}

	got, err := l.endpoints.Get(t.Context(), azure.SeedResourceGroup, azure.SeedWorkspace, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	scope := "/subscriptions/" + azure.SeedSubscriptionID + "/resourceGroups/" + azure.SeedResourceGroup + "/providers/Microsoft.Storage/storageAccounts/" + insideAccount
	if _, err := l.assignments.Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		RoleDefinitionID: to.Ptr("/subscriptions/" + azure.SeedSubscriptionID + "/providers/Microsoft.Authorization/roleDefinitions/" + blobReader),
		PrincipalID:      got.Identity.PrincipalID, PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal)}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.flavours {
		if f.refused != "" {
			want(f.name, read(f.unset, c.what), refused(f.refused))
			continue
		}
		want(f.name, read(f.unset, c.what), reads(insideText))
	}
	want("a wrong secret", read([]string{"IDENTITY_HEADER=wrong", "MSI_SECRET=wrong"}, c.what), refused(notTheSecret))
	want("a client id that is not the endpoint's", read(nil, c.what, uuid.NewString()), refused(notTheClient))
	by := c.what
	switch by {
	case "token":
		return
	case "all":
		by = "plain"
	}
	want("without the bundle", read(c.trust, by), map[string]string{"credential": "", by: c.distrust})
}

// asker asks an endpoint's deployment to run its client.
func (l *insideLab) asker(t *testing.T, name string) func(change []string, args ...string) map[string]string {
	t.Helper()
	got, err := l.endpoints.Get(t.Context(), azure.SeedResourceGroup, azure.SeedWorkspace, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := l.endpoints.ListKeys(t.Context(), azure.SeedResourceGroup, azure.SeedWorkspace, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(change []string, args ...string) map[string]string {
		t.Helper()
		return l.score(t, *got.Properties.ScoringURI, *keys.PrimaryKey, change, args)
	}
}

// score asks a deployment to run its client.
func (l *insideLab) score(t *testing.T, uri, key string, change, args []string) map[string]string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"args": args, "change": append([]string{}, change...)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, uri, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	resp, err := l.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("score: %d %s %v", resp.StatusCode, raw, err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	report := map[string]string{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil {
		t.Fatalf("the client's report: %v\n%s", err, raw)
	}
	return report
}
