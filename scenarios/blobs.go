package scenarios

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
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

// upload puts a blob with the account's key, the way `az storage` does for
// whoever may list the keys. The client is the block blob's alone: those of
// accounts and containers bring a second encoding of listings, and ten modules
// for it, into the program.
func (c *cloud) upload(ctx context.Context, account, endpoint, container, name string, data []byte) error {
	credential, err := c.accountKey(ctx, account)
	if err != nil {
		return err
	}
	client, err := blockblob.NewClientWithSharedKeyCredential(endpoint+container+"/"+name, credential, &blockblob.ClientOptions{ClientOptions: c.options()})
	if err != nil {
		return err
	}
	_, err = client.UploadBuffer(ctx, data, nil)
	return err
}

func (c *cloud) accountKey(ctx context.Context, account string) (*blob.SharedKeyCredential, error) {
	keys, err := c.accounts.ListKeys(ctx, group, account, nil)
	if err != nil {
		return nil, err
	}
	return blob.NewSharedKeyCredential(account, *keys.Keys[0].Value)
}

// signContainer signs a URL for a container with the account's key.
func signContainer(account, key, name string) (string, error) {
	credential, err := blob.NewSharedKeyCredential(account, key)
	if err != nil {
		return "", err
	}
	signed, err := sas.BlobSignatureValues{
		Protocol: sas.ProtocolHTTPS, ContainerName: name, ExpiryTime: time.Now().UTC().Add(time.Hour),
		Permissions: (&sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, List: true}).String(),
	}.SignWithSharedKey(credential)
	if err != nil {
		return "", err
	}
	return "https://" + account + ".blob.core.windows.net/" + name + "?" + signed.Encode(), nil
}
