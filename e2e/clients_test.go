package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/amlocal/amlocal/azure"
)

// sdk is what the covers records say the client was.
const sdk = "azure-sdk-for-go"

const (
	group     = azure.SeedResourceGroup
	workspace = azure.SeedWorkspace
	groupID   = "/subscriptions/" + azure.SeedSubscriptionID + "/resourceGroups/" + group
	roles     = "/subscriptions/" + azure.SeedSubscriptionID + "/providers/Microsoft.Authorization/roleDefinitions/"
	// blobReader is Storage Blob Data Reader.
	blobReader = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
)

// owner holds the real SDK's clients, signed in as the seeded owner. They
// outlive the emulator's processes.
type owner struct {
	cred        azcore.TokenCredential
	accounts    *armstorage.AccountsClient
	assignments *armauthorization.RoleAssignmentsClient
	endpoints   *armmachinelearning.OnlineEndpointsClient
	deployments *armmachinelearning.OnlineDeploymentsClient
	envs        *armmachinelearning.EnvironmentVersionsClient
	models      *armmachinelearning.ModelVersionsClient
	options     policy.ClientOptions
}

func (s *site) owner() *owner {
	t := s.t
	t.Helper()
	o := &owner{options: policy.ClientOptions{Transport: s.http, Retry: policy.RetryOptions{MaxRetries: -1}}}
	var err error
	if o.cred, err = azidentity.NewClientSecretCredential(azure.SeedTenantID, azure.SeedOwnerAppID, s.access().OwnerSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: o.options}); err != nil {
		t.Fatal(err)
	}
	opts := &azarm.ClientOptions{ClientOptions: o.options}
	sub := azure.SeedSubscriptionID
	o.accounts = must(armstorage.NewAccountsClient(sub, o.cred, opts))(t)
	o.assignments = must(armauthorization.NewRoleAssignmentsClient(sub, o.cred, opts))(t)
	o.endpoints = must(armmachinelearning.NewOnlineEndpointsClient(sub, o.cred, opts))(t)
	o.deployments = must(armmachinelearning.NewOnlineDeploymentsClient(sub, o.cred, opts))(t)
	o.envs = must(armmachinelearning.NewEnvironmentVersionsClient(sub, o.cred, opts))(t)
	o.models = must(armmachinelearning.NewModelVersionsClient(sub, o.cred, opts))(t)
	return o
}

// keyed is the blob client of whoever holds the account's key.
func (o *owner) keyed(t *testing.T, account string) *azblob.Client {
	t.Helper()
	keys, err := o.accounts.ListKeys(t.Context(), group, account, nil)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := azblob.NewSharedKeyCredential(account, *keys.Keys[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	return must(azblob.NewClientWithSharedKeyCredential("https://"+account+".blob.core.windows.net/", cred, &azblob.ClientOptions{ClientOptions: o.options}))(t)
}

func (o *owner) account(ctx context.Context, name string) error {
	poller, err := o.accounts.BeginCreate(ctx, group, name, armstorage.AccountCreateParameters{
		Location: to.Ptr(azure.SeedLocation), Kind: to.Ptr(armstorage.KindStorageV2), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil)
	_, err = finish(ctx, poller, err)
	return err
}

func (o *owner) grant(ctx context.Context, name, principal, role, scope string) error {
	_, err := o.assignments.Create(ctx, scope, name, armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		PrincipalID: &principal, RoleDefinitionID: to.Ptr(roles + role), PrincipalType: to.Ptr(armauthorization.PrincipalTypeServicePrincipal)}}, nil)
	return err
}

// endpoint makes a system-assigned, key-authenticated endpoint.
func (o *owner) endpoint(ctx context.Context, name string) (armmachinelearning.OnlineEndpoint, error) {
	poller, err := o.endpoints.BeginCreateOrUpdate(ctx, group, workspace, name, armmachinelearning.OnlineEndpoint{
		Location:   to.Ptr(azure.SeedLocation),
		Identity:   &armmachinelearning.ManagedServiceIdentity{Type: to.Ptr(armmachinelearning.ManagedServiceIdentityTypeSystemAssigned)},
		Properties: &armmachinelearning.OnlineEndpointProperties{AuthMode: to.Ptr(armmachinelearning.EndpointAuthModeKey)},
	}, nil)
	made, err := finish(ctx, poller, err)
	return made.OnlineEndpoint, err
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
