package scenarios

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"

	"github.com/amlocal/amlocal"
	"github.com/amlocal/amlocal/azure"
)

// The seeded names, as the SDK's methods take them.
const (
	group     = azure.SeedResourceGroup
	workspace = azure.SeedWorkspace
	location  = azure.SeedLocation
)

// cloud are the Azure SDK's clients, signed in as the seeded owner. Nothing in
// them knows of an emulator but the transport's proxy and roots, which are what
// HTTPS_PROXY and SSL_CERT_FILE would set.
type cloud struct {
	http       *http.Client
	credential azcore.TokenCredential
	// uploaded is told of every folder that was not there yet; may be nil.
	uploaded func(f *folder)

	accounts              *armstorage.AccountsClient
	containers            *armstorage.BlobContainersClient
	identities            *armmsi.UserAssignedIdentitiesClient
	roles                 *armauthorization.RoleDefinitionsClient
	assignments           *armauthorization.RoleAssignmentsClient
	workspaces            *armmachinelearning.WorkspacesClient
	datastores            *armmachinelearning.DatastoresClient
	codes                 *armmachinelearning.CodeVersionsClient
	models                *armmachinelearning.ModelVersionsClient
	environments          *armmachinelearning.EnvironmentVersionsClient
	modelContainers       *armmachinelearning.ModelContainersClient
	environmentContainers *armmachinelearning.EnvironmentContainersClient
	connections           *armmachinelearning.WorkspaceConnectionsClient
	endpoints             *armmachinelearning.OnlineEndpointsClient
	deployments           *armmachinelearning.OnlineDeploymentsClient
}

func connect(access amlocal.Access) (*cloud, error) {
	proxy, err := url.Parse(access.URL())
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(access.Bundle)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", access.Bundle)
	}
	c := &cloud{http: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 8,
	}}}
	credential, err := azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, access.OwnerSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: c.options()})
	if err != nil {
		return nil, err
	}
	c.credential = credential
	options := &arm.ClientOptions{ClientOptions: c.options()}
	const subscription = azure.SeedSubscriptionID
	storage, err := armstorage.NewClientFactory(subscription, credential, options)
	if err != nil {
		return nil, err
	}
	identity, err := armmsi.NewClientFactory(subscription, credential, options)
	if err != nil {
		return nil, err
	}
	authorization, err := armauthorization.NewClientFactory(subscription, credential, options)
	if err != nil {
		return nil, err
	}
	ml, err := armmachinelearning.NewClientFactory(subscription, credential, options)
	if err != nil {
		return nil, err
	}
	c.accounts, c.containers = storage.NewAccountsClient(), storage.NewBlobContainersClient()
	c.identities = identity.NewUserAssignedIdentitiesClient()
	c.roles, c.assignments = authorization.NewRoleDefinitionsClient(), authorization.NewRoleAssignmentsClient()
	c.workspaces, c.datastores = ml.NewWorkspacesClient(), ml.NewDatastoresClient()
	c.codes, c.models, c.environments = ml.NewCodeVersionsClient(), ml.NewModelVersionsClient(), ml.NewEnvironmentVersionsClient()
	c.connections = ml.NewWorkspaceConnectionsClient()
	c.modelContainers, c.environmentContainers = ml.NewModelContainersClient(), ml.NewEnvironmentContainersClient()
	c.endpoints, c.deployments = ml.NewOnlineEndpointsClient(), ml.NewOnlineDeploymentsClient()
	return c, nil
}

func (c *cloud) options() policy.ClientOptions { return azcore.ClientOptions{Transport: c.http} }

// poll lets the service's headers set the pace; the frequency is for services
// that send none.
func poll() *runtime.PollUntilDoneOptions {
	return &runtime.PollUntilDoneOptions{Frequency: time.Second}
}
