package managedidentity_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

func TestFederatedCredentials(t *testing.T) {
	covers.C(t, sdk, "R-315")
	s, _, _ := start(t)
	identities, err := armmsi.NewUserAssignedIdentitiesClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	client, err := armmsi.NewFederatedIdentityCredentialsClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	const group = azure.SeedResourceGroup
	made, err := identities.CreateOrUpdate(t.Context(), group, "fed", armmsi.Identity{Location: to.Ptr("eastus")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	trusted := func(name string) (text string) {
		if err := s.Documents.View(context.Background(), func(tx store.ReadTx) error {
			text = s.Directory.Trusted(tx, *made.Properties.ClientID, name)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return text
	}
	put := func(identity, name, issuer, subject string, audiences ...*string) error {
		_, err := client.CreateOrUpdate(t.Context(), group, identity, name, armmsi.FederatedIdentityCredential{
			Properties: &armmsi.FederatedIdentityCredentialProperties{Issuer: &issuer, Subject: &subject, Audiences: audiences},
		}, nil)
		return err
	}
	exchange := to.Ptr("api://AzureADTokenExchange")
	if err := put("fed", "One", "https://issuer.example", "a", exchange); err != nil {
		t.Fatal(err)
	}
	if got := trusted("one"); got != "https://issuer.example a api://AzureADTokenExchange" {
		t.Errorf("the directory has %q", got)
	}
	if err := put("fed", "one", "https://issuer.example", "b", exchange); err != nil {
		t.Fatal(err)
	}
	got, err := client.Get(t.Context(), group, "fed", "one", nil)
	if err != nil || *got.Properties.Subject != "b" || *got.Name != "One" {
		t.Errorf("%+v %v", got.FederatedIdentityCredential, err)
	}
	for _, c := range []struct {
		name   string
		err    error
		status int
	}{
		{"the same twice", put("fed", "two", "https://issuer.example", "b", exchange), 400},
		{"no audience", put("fed", "two", "https://issuer.example", "c"), 400},
		{"no subject", put("fed", "two", "https://issuer.example", "", exchange), 400},
		{"name", put("fed", "x", "https://issuer.example", "c", exchange), 400},
		{"no identity", put("nobody", "two", "https://issuer.example", "c", exchange), 404},
	} {
		var refused *azcore.ResponseError
		if !errors.As(c.err, &refused) || refused.StatusCode != c.status {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	n := 0
	for pager := client.NewListPager(group, "fed", nil); pager.More(); {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Value)
	}
	if n != 1 {
		t.Errorf("%d are listed", n)
	}
	if _, err := client.Delete(t.Context(), group, "fed", "one", nil); err != nil || trusted("one") != "" {
		t.Errorf("%v, and the directory has %q", err, trusted("one"))
	}
	if err := put("fed", "again", "https://issuer.example", "b", exchange); err != nil {
		t.Fatal(err)
	}
	if _, err := identities.Delete(t.Context(), group, "fed", nil); err != nil {
		t.Fatal(err)
	}
	var gone *azcore.ResponseError
	if _, err := client.Get(t.Context(), group, "fed", "again", nil); !errors.As(err, &gone) || gone.StatusCode != http.StatusNotFound {
		t.Errorf("after its identity was deleted: %v", err)
	}
}
