package tcamlocal

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
)

// client makes what leads clients in this process to the emulator.
func (c *Container) client() error {
	proxy, err := url.Parse(c.access.URL())
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(c.access.Bundle)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", c.access.Bundle)
	}
	c.http = &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 8, ForceAttemptHTTP2: true,
	}}
	c.credential, err = azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, c.access.OwnerSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: c.ClientOptions()})
	return err
}

// URL is the emulator's address, also as a proxy.
func (c *Container) URL() string { return c.access.URL() }

// HTTPClient reaches Azure's names in the emulator: by its proxy, with trust in
// its certificates and in this system's.
func (c *Container) HTTPClient() *http.Client { return c.http }

// ClientOptions lead an SDK's client there.
func (c *Container) ClientOptions() policy.ClientOptions {
	return policy.ClientOptions{Transport: c.http}
}

// Credential is the seeded owner's, by its client secret.
func (c *Container) Credential() azcore.TokenCredential { return c.credential }

// Env are the variables that lead another program there, signed in as the
// owner: what `amlocal env` prints. lookup reads the environment they are put
// into, most often os.LookupEnv. They hold the owner's secret.
func (c *Container) Env(lookup func(string) (string, bool)) []amlocal.Var {
	return c.access.Env(lookup)
}

// Access is what the emulator's own packages take, such as a scenario's Remote.
// It holds secrets.
func (c *Container) Access() amlocal.Access { return c.access }
