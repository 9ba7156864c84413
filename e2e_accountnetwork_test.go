package amlocal

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// TestAccountNetwork closes accounts by the SDK: everyone is refused, and a
// deployment's files arrive as long as Azure's services are an exception.
func TestAccountNetwork(t *testing.T) {
	covers.C(t, sdk, "R-209")
	l := newLab(t, nil)
	set := func(account string, access armstorage.PublicNetworkAccess, action armstorage.DefaultAction, bypass armstorage.Bypass) {
		t.Helper()
		if _, err := l.owner.accounts(t).Update(t.Context(), groupName, account, armstorage.AccountUpdateParameters{
			Properties: &armstorage.AccountPropertiesUpdateParameters{PublicNetworkAccess: &access,
				NetworkRuleSet: &armstorage.NetworkRuleSet{DefaultAction: &action, Bypass: &bypass}}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	p := l.principal("reader")
	l.owner.grant(t, p.oid, "Storage Blob Data Reader", accountID(accountOne))
	read := func() error {
		_, err := p.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil)
		return err
	}
	refused := func() {
		t.Helper()
		wantError(t, read(), 403, "AuthorizationFailure", "This request is not authorized to perform this operation.")
		_, err := l.owner.keyed(t, accountOne).UploadBuffer(t.Context(), "box", "new.txt", []byte("x"), nil)
		wantError(t, err, 403, "AuthorizationFailure")
	}
	set(accountOne, armstorage.PublicNetworkAccessEnabled, armstorage.DefaultActionDeny, armstorage.BypassAzureServices)
	refused()
	set(accountOne, armstorage.PublicNetworkAccessDisabled, armstorage.DefaultActionAllow, armstorage.BypassAzureServices)
	refused()
	set(accountOne, armstorage.PublicNetworkAccessEnabled, armstorage.DefaultActionAllow, armstorage.BypassAzureServices)
	if err := read(); err != nil {
		t.Fatal(err)
	}

	principal := *l.owner.endpoint(t, "walled", wish(nil)).Identity.PrincipalID
	l.owner.grant(t, principal, "Storage Blob Data Reader", accountID(accountOne))
	body := l.owner.scorer(t)
	set(azure.SeedStorageAccount, armstorage.PublicNetworkAccessEnabled, armstorage.DefaultActionDeny, armstorage.BypassNone)
	err := l.owner.tryDeploy(t, "walled", "blue", body)
	if err == nil {
		t.Fatal("the platform read an account that lets nobody in")
	}
	wantCode(t, err, "BadArgument", "AuthorizationFailure", "networkAcls.bypass")
	if err := l.owner.deleteDeployment(t, "walled", "blue"); err != nil {
		t.Fatal(err)
	}
	set(azure.SeedStorageAccount, armstorage.PublicNetworkAccessDisabled, armstorage.DefaultActionDeny, armstorage.BypassAzureServices)
	l.owner.deploy(t, "walled", "blue", body)
}
