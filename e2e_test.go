package amlocal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// sdk is what the covers records say the client was.
const sdk = "azure-sdk-for-go"

// The accounts every lab has, each with the containers box and sibling, each
// of those with hello.txt.
const (
	accountOne = "e2eone"
	accountTwo = "e2etwo"
	helloText  = "hello from the box"
)

// instanceEnv makes this test binary act as a deployment's server: real Azure
// clients inside a real instance. See e2e_instance_test.go.
const instanceEnv = "E2E_INSTANCE"

func TestMain(m *testing.M) {
	SandboxAgent()
	if os.Getenv(instanceEnv) != "" {
		os.Exit(actAsInstance())
	}
	code := m.Run()
	if scorerDir != "" {
		_ = os.RemoveAll(scorerDir)
	}
	os.Exit(code)
}

// scorerDir holds the Go scorer, built once for all tests that need it.
var (
	scorerDir  string
	scorerOnce sync.Once
	errScorer  error
)

func scorerBinary(t *testing.T) string {
	t.Helper()
	scorerOnce.Do(func() {
		if scorerDir, errScorer = os.MkdirTemp("", "amlocal-scorer-"); errScorer != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(scorerDir, "goscorer"), "./scenarios/goscorer").CombinedOutput()
		if err != nil {
			errScorer = errors.New(string(out) + err.Error())
		}
	})
	if errScorer != nil {
		t.Fatalf("build the Go scorer: %v", errScorer)
	}
	return filepath.Join(scorerDir, "goscorer")
}

// lab is a running emulator with clients of the real SDK, as a user of it is
// set up: public host names, its proxy, its certificates.
type lab struct {
	t     *testing.T
	e     *Emulator
	http  *http.Client
	owner *session
}

// newLab starts an emulator with two storage accounts and the images of the
// Go scorer and of the test instance.
func newLab(t *testing.T, change func(*Config)) *lab {
	t.Helper()
	e := start(t, func(c *Config) {
		c.World = writeWorld(t)
		if change != nil {
			change(c)
		}
	})
	return labOf(t, e)
}

func labOf(t *testing.T, e *Emulator) *lab {
	t.Helper()
	l := &lab{t: t, e: e, http: proxied(t, e.Access())}
	l.owner = l.session(azure.SeedOwnerAppID, e.Access().OwnerSecret)
	return l
}

// writeWorld names the Go scorer by its path without building it: only
// e2e tests that deploy it ask for the binary.
func writeWorld(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	box := "\n      - name: box\n        blobs: [{name: hello.txt, text: " + helloText + "}]" +
		"\n      - name: sibling\n        blobs: [{name: hello.txt, text: not that one}]\n"
	text := "accounts:\n  - name: " + accountOne + "\n    containers:" + box +
		"  - name: " + accountTwo + "\n    containers:" + box +
		"images:\n  amlocal/goscorer:1: [" + scorerBinary(t) + ", -port, \"8080\"]\n  " + azure.SeedRegistry + ".azurecr.io/amlocal/goscorer:1: [" + scorerBinary(t) + ", -port, \"8080\"]\n  amlocal/instance:1: [" + self + "]\n"
	path := filepath.Join(t.TempDir(), "world.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// proxied goes through the emulator's proxy and verifies every certificate.
func proxied(t *testing.T, a Access) *http.Client {
	t.Helper()
	bundle, err := os.ReadFile(a.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("the bundle holds no certificate")
	}
	proxy, err := url.Parse(a.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// session is one signed-in caller.
type session struct {
	lab  *lab
	cred azcore.TokenCredential
	oid  string
	app  string
}

func (l *lab) session(app, secret string) *session {
	l.t.Helper()
	cred, err := azidentity.NewClientSecretCredential(azure.SeedTenantID, app, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: l.client()})
	if err != nil {
		l.t.Fatal(err)
	}
	return &session{lab: l, cred: cred, app: app, oid: azure.SeedOwnerObjectID}
}

// principal makes one more service principal, without any role, and signs in.
func (l *lab) principal(name string) *session {
	l.t.Helper()
	p := azure.Principal{ObjectID: uuid.NewString(), AppID: uuid.NewString(), TenantID: azure.SeedTenantID, Type: azure.ServicePrincipal, Name: name}
	const secret = "not-a-secret"
	err := l.e.store.Update(l.t.Context(), func(tx store.Tx) error {
		if err := l.e.entra.PutPrincipal(tx, p); err != nil {
			return err
		}
		return l.e.entra.SetSecret(tx, p.AppID, secret)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	s := l.session(p.AppID, secret)
	s.oid = p.ObjectID
	return s
}

func (l *lab) client() policy.ClientOptions {
	return policy.ClientOptions{Transport: l.http, Retry: policy.RetryOptions{MaxRetries: -1}}
}

func (l *lab) options() *azarm.ClientOptions { return &azarm.ClientOptions{ClientOptions: l.client()} }

// token asks Entra for a resource's token.
func (s *session) token(t *testing.T, resource string) string {
	t.Helper()
	tok, err := s.cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{strings.TrimSuffix(resource, "/") + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	return tok.Token
}

func (s *session) assignments(t *testing.T) *armauthorization.RoleAssignmentsClient {
	t.Helper()
	return must(armauthorization.NewRoleAssignmentsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

func (s *session) identities(t *testing.T) *armmsi.UserAssignedIdentitiesClient {
	t.Helper()
	return must(armmsi.NewUserAssignedIdentitiesClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

func (s *session) accounts(t *testing.T) *armstorage.AccountsClient {
	t.Helper()
	return must(armstorage.NewAccountsClient(azure.SeedSubscriptionID, s.cred, s.lab.options()))(t)
}

func (s *session) blobs(t *testing.T, account string) *azblob.Client {
	t.Helper()
	return must(azblob.NewClient("https://"+account+".blob.core.windows.net/", s.cred, &azblob.ClientOptions{ClientOptions: s.lab.client()}))(t)
}

// keyed is the blob client of whoever holds the account's key.
func (s *session) keyed(t *testing.T, account string) *azblob.Client {
	t.Helper()
	keys, err := s.accounts(t).ListKeys(t.Context(), azure.SeedResourceGroup, account, nil)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := azblob.NewSharedKeyCredential(account, *keys.Keys[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	return must(azblob.NewClientWithSharedKeyCredential("https://"+account+".blob.core.windows.net/", cred, &azblob.ClientOptions{ClientOptions: s.lab.client()}))(t)
}

// roleID is a built-in role's definition id.
func (l *lab) roleID(t *testing.T, name string) string {
	t.Helper()
	role, ok := l.e.rbac.DefinitionByName(name)
	if !ok {
		t.Fatalf("there is no role %q", name)
	}
	return seedSubscription + "/providers/Microsoft.Authorization/roleDefinitions/" + role.ID
}

// grant assigns a role, as `az role assignment create` does, and answers the
// assignment's id.
func (s *session) grant(t *testing.T, principal, role, scope string) string {
	t.Helper()
	id, err := s.tryGrant(t, principal, role, scope)
	if err != nil {
		t.Fatalf("assign %s at %s: %v", role, scope, err)
	}
	return id
}

func (s *session) tryGrant(t *testing.T, principal, role, scope string) (string, error) {
	t.Helper()
	made, err := s.assignments(t).Create(t.Context(), scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID: &principal, RoleDefinitionID: to.Ptr(s.lab.roleID(t, role)), PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
		}}, nil)
	if err != nil {
		return "", err
	}
	return *made.ID, nil
}

func (s *session) revoke(t *testing.T, assignment string) {
	t.Helper()
	if _, err := s.assignments(t).DeleteByID(t.Context(), assignment, nil); err != nil {
		t.Fatal(err)
	}
}

// rolesOf lists what a principal was assigned, as role name and scope.
func (s *session) rolesOf(t *testing.T, principal string) map[string]string {
	t.Helper()
	out := map[string]string{}
	// This module sends $filter as it is given.
	filter := url.PathEscape("principalId eq '" + principal + "'")
	pages := s.assignments(t).NewListForSubscriptionPager(&armauthorization.RoleAssignmentsClientListForSubscriptionOptions{Filter: &filter})
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Value {
			guid := (*a.Properties.RoleDefinitionID)[strings.LastIndexByte(*a.Properties.RoleDefinitionID, '/')+1:]
			role, _ := s.lab.e.rbac.Definition(guid)
			out[role.Name] = *a.Properties.Scope
		}
	}
	return out
}

// uai makes a user-assigned identity.
func (s *session) uai(t *testing.T, name string) armmsi.Identity {
	t.Helper()
	made, err := s.identities(t).CreateOrUpdate(t.Context(), azure.SeedResourceGroup, name, armmsi.Identity{Location: to.Ptr(azure.SeedLocation)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made.Identity
}

// must fails the test on a constructor's error: must(New(...))(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// finish polls an operation to its end without the SDK's pauses.
func finish[T any](ctx context.Context, poller *runtime.Poller[T], err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	for !poller.Done() {
		if _, err := poller.Poll(ctx); err != nil {
			return zero, err
		}
		select {
		case <-ctx.Done():
			return zero, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return poller.Result(ctx)
}

// wantError wants an SDK error of this status and code, and all the texts in
// its body.
func wantError(t *testing.T, err error, status int, code string, texts ...string) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		t.Errorf("got %v, want %d %s", err, status, code)
		return
	}
	if re.StatusCode != status || re.ErrorCode != code {
		t.Errorf("got %d %s, want %d %s: %v", re.StatusCode, re.ErrorCode, status, code, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error lacks %q: %v", text, err)
		}
	}
}

const (
	groupName = azure.SeedResourceGroup
	wsName    = azure.SeedWorkspace
)

func accountID(name string) string {
	return seedGroup + "/providers/Microsoft.Storage/storageAccounts/" + name
}

func containerID(account, name string) string {
	return accountID(account) + "/blobServices/default/containers/" + name
}

func endpointID(name string) string { return seedWorkspace + "/onlineEndpoints/" + name }

// cleanup is a context for what runs after a test's own has ended.
func cleanup() context.Context { return context.Background() }

// account makes a storage account.
func (l *lab) account(t *testing.T, name string) {
	t.Helper()
	poller, err := l.owner.accounts(t).BeginCreate(t.Context(), groupName, name, armstorage.AccountCreateParameters{
		Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr(azure.SeedLocation), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil)
	if _, err = finish(t.Context(), poller, err); err != nil {
		t.Fatal(err)
	}
}

// wantCode wants an operation's error to have a code and texts; a failed
// operation has no status of its own.
func wantCode(t *testing.T, err error, code string, texts ...string) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.ErrorCode != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error lacks %q: %v", text, err)
		}
	}
}
