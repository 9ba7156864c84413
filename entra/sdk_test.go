package entra

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/amlocal/amlocal/internal/covers"
)

// toServer sends every request to one test server, the public name kept in
// Host: what the forward proxy does in real life.
type toServer struct {
	client  *http.Client
	address string

	mu    sync.Mutex
	asked []string
}

func (s *toServer) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Host+r.URL.Path)
	s.mu.Unlock()
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Host = s.address
	return s.client.Do(r)
}

func newToServer(t *testing.T, h http.Handler) *toServer {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	return &toServer{client: server.Client(), address: strings.TrimPrefix(server.URL, "https://")}
}

const goSDK = "azure-sdk-for-go azidentity"

func TestClientSecretCredential(t *testing.T) {
	covers.C(t, goSDK, "R-524")
	for _, tenant := range []string{tid, domain} {
		for _, scope := range []string{storageURI + "/.default", "https://management.core.windows.net//.default", "https://ml.azure.com/.default"} {
			t.Run(tenant+" "+scope, func(t *testing.T) {
				w := newWorld(t)
				transport := newToServer(t, w)
				cred, err := azidentity.NewClientSecretCredential(tenant, appC, "pw", &azidentity.ClientSecretCredentialOptions{
					ClientOptions: azcore.ClientOptions{Transport: transport},
				})
				if err != nil {
					t.Fatal(err)
				}
				var raw string
				for range 2 {
					token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
					if err != nil {
						t.Fatal(err)
					}
					if raw != "" && raw != token.Token {
						t.Error("the client did not cache the token")
					}
					raw = token.Token
				}
				audience := strings.TrimSuffix(scope, "/.default")
				claims, err := w.Verify(t.Context(), raw, []string{audience})
				if err != nil || claims.Principal != principalC || claims.Audience != audience {
					t.Errorf("%+v, %v; asked %v", claims, err, transport.asked)
				}
			})
		}
	}
}

// A private authority: the client asks login.microsoftonline.com about it and
// is led back.
func TestClientSecretCredentialPrivateAuthority(t *testing.T) {
	w := newWorld(t)
	transport := newToServer(t, w)
	options := &azidentity.ClientSecretCredentialOptions{}
	options.Transport = transport
	options.Cloud.ActiveDirectoryAuthorityHost = "https://localhost:4390"
	cred, err := azidentity.NewClientSecretCredential(tid, appC, "pw", options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{storageURI + "/.default"}})
	if err != nil {
		t.Fatalf("%v; asked %v", err, transport.asked)
	}
	if _, err := w.Verify(t.Context(), token.Token, storageAudiences); err != nil {
		t.Error(err)
	}
	if last := transport.asked[len(transport.asked)-1]; last != "POST localhost:4390/"+tid+"/oauth2/v2.0/token" {
		t.Errorf("the token came from %s", last)
	}
}

func TestClientSecretCredentialFailures(t *testing.T) {
	for _, c := range []struct{ name, tenant, app, secret, scope, want string }{
		{"wrong secret", tid, appC, "no", storageURI + "/.default", "AADSTS7000215"},
		{"unknown app", tid, "99999999-9999-9999-9999-999999999999", "pw", storageURI + "/.default", "AADSTS700016"},
		{"unknown tenant", "99999999-9999-9999-9999-999999999999", appC, "pw", storageURI + "/.default", "AADSTS90002"},
		{"unknown resource", tid, appC, "pw", "https://nope.example/.default", "AADSTS500011"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			transport := newToServer(t, w)
			options := &azidentity.ClientSecretCredentialOptions{}
			options.Transport = transport
			cred, err := azidentity.NewClientSecretCredential(c.tenant, c.app, c.secret, options)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.scope}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			var failed *azidentity.AuthenticationFailedError
			if !errors.As(err, &failed) {
				t.Errorf("a %T, want an AuthenticationFailedError", err)
			}
		})
	}
}
