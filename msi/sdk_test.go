package msi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/msi"
)

const goSDK = "azure-sdk-for-go azidentity"

// instance is a real server for a world, with what was asked of it.
type instance struct {
	world
	url string

	mu    sync.Mutex
	asked []string
}

func newInstance(t *testing.T, change ...func(*msi.Deps)) *instance {
	t.Helper()
	in := &instance{world: newWorld(t, change...)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flavour := "none"
		if r.Header.Get("secret") != "" {
			flavour = "AML"
		}
		if r.Header.Get("X-IDENTITY-HEADER") != "" {
			flavour = "APP"
		}
		in.mu.Lock()
		in.asked = append(in.asked, flavour)
		in.mu.Unlock()
		in.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	in.url = server.URL + msi.Path
	return in
}

// settings are the values of --identity-env.
var settings = []struct {
	name, flavour string
	variables     []string
}{
	{"msi", "AML", []string{"MSI_ENDPOINT", "MSI_SECRET"}},
	{"identity", "APP", []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER"}},
	{"both", "APP", []string{"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"}},
}

// setEnv gives this process an instance's variables, and none of its own.
func setEnv(t *testing.T, url, secret string, variables []string) {
	t.Helper()
	for _, name := range []string{
		"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT",
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS",
		"AZURE_CLIENT_CERTIFICATE_PATH", "DEFAULT_IDENTITY_CLIENT_ID", "HTTP_PROXY", "http_proxy",
	} {
		t.Setenv(name, "") // for the sake of its restoring
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err) // an empty AZURE_CLIENT_ID breaks the default chain
		}
	}
	for i := 0; i < len(variables); i += 2 {
		t.Setenv(variables[i], url)
		t.Setenv(variables[i+1], secret)
	}
}

// freshVault is a resource nobody asked for before: MSAL for Go keeps tokens
// for the whole process.
func freshVault(t *testing.T) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '_' || r == ' ' || r == ',' {
			return '-'
		}
		return r
	}, t.Name())
	return "https://" + strings.ToLower(name) + ".vault.azure.net"
}

func TestManagedIdentityCredential(t *testing.T) {
	covers.C(t, goSDK, "R-503", "R-508", "R-509", "R-510", "R-524")
	for _, s := range settings {
		for _, c := range []struct {
			name   string
			id     azidentity.ManagedIDKind
			preset string // DEFAULT_IDENTITY_CLIENT_ID
			who    azure.Principal
			only   string
		}{
			{"default", nil, idA.AppID, idA, ""},
			{"default, variable unset", nil, "", idA, ""},
			{"client id", azidentity.ClientID(idB.AppID), idA.AppID, idB, ""},
			{"object id", azidentity.ObjectID(idB.ObjectID), idA.AppID, idB, "APP"},
			{"resource id", azidentity.ResourceID(rb), idA.AppID, idB, "APP"},
		} {
			if c.only != "" && c.only != s.flavour {
				continue // the client refuses it at construction
			}
			t.Run(s.name+" "+c.name, func(t *testing.T) {
				in := newInstance(t)
				setEnv(t, in.url, secret, s.variables)
				if c.preset != "" {
					t.Setenv("DEFAULT_IDENTITY_CLIENT_ID", c.preset)
				}
				cred, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: c.id})
				if err != nil {
					t.Fatal(err)
				}
				in.wantSDKToken(t, cred, c.who)
				if len(in.asked) != 1 || in.asked[0] != s.flavour {
					t.Errorf("requests %v, want one %s", in.asked, s.flavour)
				}
			})
		}
	}
}

func (in *instance) wantSDKToken(t *testing.T, cred azcore.TokenCredential, who azure.Principal) {
	t.Helper()
	resource := freshVault(t)
	token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := in.entra.Verify(t.Context(), token.Token, []string{resource})
	if err != nil || claims.Principal != who || claims.Audience != resource {
		t.Errorf("%+v, %v", claims, err)
	}
	if token.ExpiresOn.Unix() != claims.Expires.Unix() {
		t.Errorf("the client read expires_on as %s, the token says %s", token.ExpiresOn, claims.Expires)
	}
}

// DefaultAzureCredential as a scoring script uses it, AZURE_CLIENT_ID naming
// the user-assigned identity or not.
func TestDefaultAzureCredential(t *testing.T) {
	covers.C(t, goSDK, "R-509")
	for _, s := range settings {
		for clientID, who := range map[string]azure.Principal{"": idA, idB.AppID: idB} {
			t.Run(s.name+" "+who.Name, func(t *testing.T) {
				in := newInstance(t)
				setEnv(t, in.url, secret, s.variables)
				if clientID != "" {
					t.Setenv("AZURE_CLIENT_ID", clientID)
				}
				t.Setenv("AZURE_TOKEN_CREDENTIALS", "prod") // never a developer's own sign-in
				cred, err := azidentity.NewDefaultAzureCredential(nil)
				if err != nil {
					t.Fatal(err)
				}
				in.wantSDKToken(t, cred, who)
			})
		}
	}
}

func TestManagedIdentityCredentialFailures(t *testing.T) {
	covers.C(t, goSDK, "R-511", "R-1005", "R-1006", "R-1008")
	for _, s := range settings {
		for _, c := range []struct{ name, secret, clientID, says string }{
			{"wrong secret", "wrong", "", "not this instance's"},
			{"placeholder", secret, "uai_client_id_place_holder", "uai_client_id_place_holder"},
			{"another endpoint's identity", secret, idD.AppID, idD.AppID},
		} {
			t.Run(s.name+" "+c.name, func(t *testing.T) {
				in := newInstance(t)
				setEnv(t, in.url, c.secret, s.variables)
				options := &azidentity.ManagedIdentityCredentialOptions{}
				if c.clientID != "" {
					options.ID = azidentity.ClientID(c.clientID)
				}
				cred, err := azidentity.NewManagedIdentityCredential(options)
				if err != nil {
					t.Fatal(err)
				}
				_, err = cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{freshVault(t) + "/.default"}})
				var failed *azidentity.AuthenticationFailedError
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want an AuthenticationFailedError with %q", err, c.says)
				}
				if len(in.asked) != 1 {
					t.Errorf("%d requests: the client must not retry", len(in.asked))
				}
			})
		}
	}
}

// toIMDS carries what is meant for 169.254.169.254 to the handler, marked as
// sent by the deployment.
type toIMDS struct{ handler http.Handler }

func (c toIMDS) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "169.254.169.254" {
		return nil, fmt.Errorf("unexpected request to %s", r.URL.Host)
	}
	rec := httptest.NewRecorder()
	c.handler.ServeHTTP(rec, from(r, owner))
	answer := rec.Result()
	answer.Request = r
	return answer, nil
}

func TestManagedIdentityCredentialOnIMDS(t *testing.T) {
	covers.C(t, goSDK, "R-524")
	for _, c := range []struct {
		name string
		id   azidentity.ManagedIDKind
		who  azure.Principal
	}{
		{"default", nil, idA},
		{"client id", azidentity.ClientID(idB.AppID), idB},
		{"resource id", azidentity.ResourceID(rb), idB},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			setEnv(t, "", "", nil)
			options := &azidentity.ManagedIdentityCredentialOptions{ID: c.id}
			options.Transport = toIMDS{w.IMDS()}
			cred, err := azidentity.NewManagedIdentityCredential(options)
			if err != nil {
				t.Fatal(err)
			}
			(&instance{world: w}).wantSDKToken(t, cred, c.who)
		})
	}
}
