package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/runner/docker"
	"github.com/amlocal/amlocal/scenarios"
)

const (
	insideAccount = "insidestorage"
	insideText    = "hello from the box"
	blobReader    = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1" // Storage Blob Data Reader
	notAllowed    = "403 AuthorizationPermissionMismatch"
)

// insideLab is an emulator that runs containers, and what its tests need of the
// control plane.
type insideLab struct {
	emulator    *amlocal.Emulator
	http        *http.Client
	endpoints   *armmachinelearning.OnlineEndpointsClient
	assignments *armauthorization.RoleAssignmentsClient
	server      string // the program of testdata/inside
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

// TestInsideContainers asks the clients of four languages from inside containers:
// each flavour of managed identity they know gets a token, the blob store is
// reached by its public name with its certificate verified, and without the role
// each shows Azure's refusal.
func TestInsideContainers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := docker.Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	l := newInsideLab(t, false)
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		covers.C(t, "azure-sdk-for-go in a container", "R-503", "R-510", "R-513", "R-516", "R-1001")
		l.deployImage(t, "inside-go", `["/inside", "/inside", "read"]`, func(rootfs) error { return nil })
		l.ask(t, "inside-go", flavours(""), []string{"SSL_CERT_FILE"}, "certificate signed by unknown authority")
	})
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		covers.C(t, azureJS+" in a container", "R-503", "R-510", "R-513", "R-516", "R-1001")
		installed := javaScript(t)
		node, err := exec.LookPath("node")
		if err != nil {
			t.Fatal(err)
		}
		// The management clients stay out: they are most of it.
		unneeded := regexp.MustCompile(`/@azure/arm-|/@azure-rest/|\.(map|d\.[mc]?ts)$`)
		l.deployImage(t, "inside-node", `["/inside", "/usr/bin/node", "/app/read.mjs"]`, func(r rootfs) error {
			return firstError(
				r.file(node, "/usr/bin/node"), r.libraries(node),
				r.tree(filepath.Join(installed, "node_modules"), "/app/node_modules", unneeded),
				r.file(filepath.Join(clientsDir(), "js", "read.mjs"), "/app/read.mjs"))
		})
		l.ask(t, "inside-node", flavours(""), []string{"NODE_EXTRA_CA_CERTS"}, "fetch failed UNABLE_TO_")
	})
	t.Run("java", func(t *testing.T) {
		t.Parallel()
		covers.C(t, azureJava+" in a container", "R-503", "R-513", "R-516", "R-1001")
		installed := java(t)
		if lacks := lacksProgram("jlink"); lacks != "" {
			covers.NotRun(t, "java in a container", lacks)
		}
		dir := t.TempDir()
		home, classes := filepath.Join(dir, "java"), filepath.Join(dir, "classes")
		for _, cmd := range []*exec.Cmd{
			exec.Command("jlink", "--add-modules", "java.se,jdk.crypto.ec,jdk.unsupported", "--strip-debug", "--no-man-pages", "--no-header-files", "--output", home),
			exec.Command("javac", "-nowarn", "-cp", filepath.Join(installed, "lib", "*"), "-d", classes, filepath.Join(clientsDir(), "java", "Read.java")),
		} {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", cmd, err, out)
			}
		}
		otherMachines := regexp.MustCompile(`(macos|osx|windows|aarch_64)[^/]*\.jar$`)
		l.deployImage(t, "inside-java", `["/inside", "/java/bin/java", "-XX:TieredStopAtLevel=1", "-cp", "/app/classes:/app/lib/*", "Read"]`, func(r rootfs) error {
			return firstError(
				r.tree(home, "/java", nil), r.libraries(filepath.Join(home, "bin", "java"), filepath.Join(home, "lib", "libnet.so"), filepath.Join(home, "lib", "server", "libjvm.so")),
				r.tree(filepath.Join(installed, "lib"), "/app/lib", otherMachines), r.tree(classes, "/app/classes", nil))
		})
		// Java takes MSI_ENDPOINT alone for a Cloud Shell, and sends no secret.
		l.ask(t, "inside-java", flavours("The request has neither a 'secret' nor an 'X-IDENTITY-HEADER' header"), []string{"JAVA_TOOL_OPTIONS"}, "PKIX path building failed")
	})
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		covers.C(t, "azure-sdk-for-python in a container", "R-503", "R-510", "R-513", "R-516", "R-1001")
		if !docker.HasImages(t.Context(), "", "amlocal/python") {
			covers.NotRun(t, "python in a container", "the engine has no Python base image; make base-image")
		}
		l.deployScript(t, "inside-python")
		l.ask(t, "inside-python", flavours(""), []string{"SSL_CERT_FILE"}, "CERTIFICATE_VERIFY_FAILED")
	})
}

// TestContainersApart looks out of one of two deployments' containers, under
// --offline: the other's identity and port, and the internet, are out of reach.
func TestContainersApart(t *testing.T) {
	t.Parallel()
	covers.C(t, "go net/http in a container", "R-503", "R-516")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := docker.Available(ctx, ""); err != nil {
		covers.NotRun(t, "docker", "no engine answers")
	}
	l := newInsideLab(t, true)
	for _, name := range []string{"apart-one", "apart-two"} {
		l.deployImage(t, name, `["/inside", "/inside"]`, func(rootfs) error { return nil })
	}
	one, two := l.asker(t, "apart-one"), l.asker(t, "apart-two")
	mine, other := one(nil, "env"), two(nil, "env")
	if mine["MSI_SECRET"] == other["MSI_SECRET"] || len(other["MSI_SECRET"]) < 20 || other["address"] == "" {
		t.Fatalf("the instances' environments: %v, %v", mine, other)
	}
	const query = "?resource=https://storage.azure.com/"
	if got := one(nil, "get", mine["MSI_ENDPOINT"]+query, mine["MSI_SECRET"]); got["status"] != "200 OK" {
		t.Errorf("its own secret: %v", got)
	}
	if got := one(nil, "get", mine["MSI_ENDPOINT"]+query, other["MSI_SECRET"]); !strings.HasPrefix(got["status"], "4") {
		t.Errorf("the other's secret at its own endpoint: %v", got)
	}
	otherAgent, err := url.Parse(other["MSI_ENDPOINT"])
	if err != nil {
		t.Fatal(err)
	}
	for what, to := range map[string]string{
		"the other's server": other["address"] + ":8080", "the other's identity endpoint": otherAgent.Host, "the internet": "1.1.1.1:443", "the emulator": fmt.Sprintf("172.17.0.1:%d", l.emulator.Access().Port),
	} {
		if got := one(nil, "dial", to); got["error"] == "" {
			t.Errorf("%s at %s: %v", what, to, got)
		}
	}
	for name, known := range map[string]bool{insideAccount + ".blob.core.windows.net": true, "example.com": false, "pypi.org": false} {
		if got := one(nil, "resolve", name); known != (got["error"] == "") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func newInsideLab(t *testing.T, offline bool) *insideLab {
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
	world := filepath.Join(dir, "world.yaml")
	text := "accounts:\n  - name: " + insideAccount + "\n    containers:\n      - name: box\n        blobs: [{name: hello.txt, text: " + insideText + "}]\n"
	if err := os.WriteFile(world, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	l.emulator, err = amlocal.New(t.Context(), amlocal.Config{
		Ephemeral: true, Runner: "docker", AgentBinary: agent, World: world, CADir: filepath.Join(dir, "ca"), RelaxConda: true, Offline: offline,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
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

// deployImage serves an image of a client and the test's server.
func (l *insideLab) deployImage(t *testing.T, name, command string, fill func(rootfs) error) {
	t.Helper()
	ref := fmt.Sprintf("amlocal-test/%s:%d", name, os.Getpid())
	makeImage(t, ref, command, func(r rootfs) error { return firstError(r.file(l.server, "/inside"), fill(r)) })
	l.apply(t, name, "environment:\n  image: "+ref+"\n  inference_config:\n"+
		"    liveness_route: {port: 8080, path: /health}\n    readiness_route: {port: 8080, path: /health}\n    scoring_route: {port: 8080, path: /score}\n")
}

// deployScript serves a scoring script that does the same as the server.
func (l *insideLab) deployScript(t *testing.T, name string) {
	t.Helper()
	code := t.TempDir()
	for file, from := range map[string]string{"score.py": filepath.Join("testdata", "inside", "score.py"), "read.py": script("python", "read.py")} {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(code, file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.apply(t, name, "code_configuration:\n  code: "+code+"\n  scoring_script: score.py\n"+
		"environment:\n  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest\n"+
		"  conda_file: "+rooted("scenarios/content/endpoints/online/model-1/environment/conda-managedidentity.yml")+"\n")
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

// ask asks the client of an endpoint: without a role, with it, and without the
// variables that make it trust the emulator.
func (l *insideLab) ask(t *testing.T, name string, all []flavour, trust []string, distrust string) {
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
	read := func(unset []string, args ...string) map[string]string {
		t.Helper()
		return score(unset, append([]string{insideAccount, "box", "hello.txt"}, args...)...)
	}
	want("without the role", read(nil), map[string]string{"credential": "", "sdk": notAllowed, "plain": notAllowed})

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
	for _, f := range all {
		if f.refused != "" {
			want(f.name, read(f.unset), map[string]string{"credential": f.refused, "sdk": "", "plain": ""})
			continue
		}
		want(f.name, read(f.unset), map[string]string{"credential": "", "sdk": insideText, "plain": insideText})
	}
	want("without the bundle", read(trust, "plain"), map[string]string{"credential": "", "plain": distrust})
}

// asker asks an endpoint's deployment to run its client.
func (l *insideLab) asker(t *testing.T, name string) func(unset []string, args ...string) map[string]string {
	t.Helper()
	got, err := l.endpoints.Get(t.Context(), azure.SeedResourceGroup, azure.SeedWorkspace, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := l.endpoints.ListKeys(t.Context(), azure.SeedResourceGroup, azure.SeedWorkspace, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(unset []string, args ...string) map[string]string {
		t.Helper()
		return l.score(t, *got.Properties.ScoringURI, *keys.PrimaryKey, unset, args)
	}
}

// score asks a deployment to run its client.
func (l *insideLab) score(t *testing.T, uri, key string, unset, args []string) map[string]string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"args": args, "unset": append([]string{}, unset...)})
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
