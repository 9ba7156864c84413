package amlocal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/intercept"
	"github.com/amlocal/amlocal/runner"
	"github.com/amlocal/amlocal/store"
)

// route decides what a host name leads to.
func (e *Emulator) route(host string) (http.Handler, intercept.Verdict) {
	class := e.hosts.Classify(host)
	handler, verdict := e.lead(class)
	if handler != nil && tlsOnly[class.Service] {
		handler = overTLS(handler)
	}
	return handler, verdict
}

// lead is the handler of a classified name.
func (e *Emulator) lead(class azure.HostClass) (http.Handler, intercept.Verdict) {
	switch class.Kind {
	case azure.HostPassed:
		return nil, intercept.Verdict{Kind: intercept.Passed}
	case azure.HostRefused:
		return nil, intercept.Verdict{Kind: intercept.Refused, Service: class.Label, Quiet: class.Quiet}
	}
	emulated := intercept.Verdict{Kind: intercept.Emulated}
	switch class.Service {
	case azure.ServiceEntra:
		return e.entra, emulated
	case azure.ServiceGraph:
		return e.graph, emulated
	case azure.ServiceARM:
		return e.withCloudMetadata(e.arm), emulated
	case azure.ServiceBlob:
		if _, ok, err := e.storage.Account(context.Background(), class.Name); err != nil || !ok {
			return nil, noSuchHost("the storage account %q does not exist here", class.Name)
		}
		return e.blobs, emulated
	case azure.ServiceVault:
		if _, ok, err := e.keyvault.Vault(context.Background(), class.Name); err != nil || !ok {
			return nil, noSuchHost("the key vault %q does not exist here", class.Name)
		}
		return e.vaults, emulated
	case azure.ServiceScoring:
		if _, ok := e.ml.RouteFor(class.Host); !ok {
			return nil, noSuchHost("the online endpoint %q does not exist in %s here", class.Name, class.Region)
		}
		emulated.Express = true
		return e.gateway, emulated
	case azure.ServiceRouter:
		if !e.ml.RouterExists(context.Background(), class.Host) {
			return nil, noSuchHost("no Kubernetes cluster that is attached here has the name %q", class.Host)
		}
		return e.router, emulated
	}
	return nil, intercept.Verdict{Kind: intercept.Refused, Service: class.Label, Quiet: class.Quiet}
}

func noSuchHost(format string, args ...any) intercept.Verdict {
	return intercept.Verdict{Kind: intercept.NoSuchHost, Reason: fmt.Sprintf(format, args...)}
}

// instanceProxy is the proxy as one instance uses it: its secret tells its
// connections from everyone else's.
func (e *Emulator) instanceProxy(instanceID, secret string) string {
	u := url.URL{Scheme: "http", Host: strings.TrimPrefix(e.access.URL(), "http://"), User: url.UserPassword(instanceID, secret)}
	return u.String()
}

func (e *Emulator) instanceName(secret string) (string, bool) {
	id, ok := e.manager.Owner(secret)
	if !ok {
		return e.shellOf(secret)
	}
	return e.manager.Name(id), true
}

// handshakeFailed tells the deployment whose code does not trust us, in the
// place its owner will look.
func (e *Emulator) handshakeFailed(instance, host string, err error) {
	if instance == "" {
		return
	}
	if id, found := e.deploymentID(instance); found == nil {
		_, _ = fmt.Fprintf(e.manager.Log(id, runner.InferenceServer),
			"amlocal: the TLS handshake for %s failed (%v): this client does not trust the emulator's certificate authority. Point it at the file in SSL_CERT_FILE (Go, OpenSSL), REQUESTS_CA_BUNDLE (Python requests) or NODE_EXTRA_CA_CERTS (Node).\n", host, err)
	}
}

// deploymentRecord finds a deployment, running or not, by the names in its id.
func (e *Emulator) deploymentRecord(ctx context.Context, endpoint, deployment string) (id string, err error) {
	tail := strings.ToLower("/onlineendpoints/" + endpoint + "/deployments/" + deployment)
	err = e.store.View(ctx, func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/", "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments") {
			if err != nil {
				return err
			}
			if key := strings.ToLower(rec.ID); strings.HasSuffix(key, tail) {
				id = key
				return nil
			}
		}
		return fmt.Errorf("%w: %s/%s", errNoSuchDeployment, endpoint, deployment)
	})
	return id, err
}

// deploymentID finds a running deployment by "endpoint/deployment".
func (e *Emulator) deploymentID(name string) (string, error) {
	for _, d := range e.manager.Status() {
		if strings.EqualFold(d.Name, name) {
			return d.ID, nil
		}
	}
	return "", fmt.Errorf("%w: %s", errNoSuchDeployment, name)
}
