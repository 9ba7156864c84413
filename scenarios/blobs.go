package scenarios

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
)

// createAccount makes a storage account and returns its id and blob endpoint.
func (c *cloud) createAccount(ctx context.Context, name string) (id, endpoint string, err error) {
	poller, err := c.accounts.BeginCreate(ctx, group, name, armstorage.AccountCreateParameters{
		Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr(location), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)},
	}, nil)
	if err != nil {
		return "", "", err
	}
	account, err := poller.PollUntilDone(ctx, poll())
	if err != nil {
		return "", "", err
	}
	return *account.ID, *account.Properties.PrimaryEndpoints.Blob, nil
}

// keyClient reaches an account's blobs with its key, the way `az storage`
// does for whoever may list the keys.
func (c *cloud) keyClient(ctx context.Context, account, endpoint string) (*azblob.Client, error) {
	keys, err := c.accounts.ListKeys(ctx, group, account, nil)
	if err != nil {
		return nil, err
	}
	credential, err := azblob.NewSharedKeyCredential(account, *keys.Keys[0].Value)
	if err != nil {
		return nil, err
	}
	return azblob.NewClientWithSharedKeyCredential(endpoint, credential, &azblob.ClientOptions{ClientOptions: c.options()})
}

// signContainer signs a URL for a container with the account's key.
func signContainer(account, key, name string) (string, error) {
	credential, err := azblob.NewSharedKeyCredential(account, key)
	if err != nil {
		return "", err
	}
	url := "https://" + account + ".blob.core.windows.net/" + name
	client, err := container.NewClientWithSharedKeyCredential(url, credential, nil)
	if err != nil {
		return "", err
	}
	return client.GetSASURL(sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, List: true}, time.Now().Add(time.Hour), nil)
}
