package storage_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"

	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/arm/storage"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

const (
	sdk   = "azure-sdk-for-go"
	under = "/providers/Microsoft.Storage/storageAccounts"
	plain = `{"location":"eastus","kind":"StorageV2","sku":{"name":"Standard_LRS"}}`
)

// blobs is a blob store of names.
type blobs struct{}

const bucket = "test.containers"

func (blobs) PutContainer(tx store.Tx, account string, c storage.Container) (bool, error) {
	_, existed := tx.Get(bucket, []byte(account+"/"+c.Name))
	c.ETag = `"1"`
	raw, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	return !existed, tx.Put(bucket, []byte(account+"/"+c.Name), raw)
}

func (blobs) Container(tx store.ReadTx, account, name string) (c storage.Container, ok bool, err error) {
	raw, ok := tx.Get(bucket, []byte(account+"/"+name))
	if ok {
		err = json.Unmarshal(raw, &c)
	}
	return c, ok, err
}

func (blobs) Containers(tx store.ReadTx, account string) (all []storage.Container, err error) {
	for _, raw := range tx.Scan(bucket, []byte(account+"/"), nil) {
		var c storage.Container
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (blobs) DeleteContainer(tx store.Tx, account, name string) (bool, error) {
	_, existed := tx.Get(bucket, []byte(account+"/"+name))
	return existed, tx.Delete(bucket, []byte(account+"/"+name))
}

func (b blobs) DeleteAccount(tx store.Tx, account string) error {
	all, err := b.Containers(tx, account)
	for _, c := range all {
		if _, err := b.DeleteContainer(tx, account, c.Name); err != nil {
			return err
		}
	}
	return err
}

type swept struct{ scopes []string }

func (s *swept) RemoveUnder(_ store.Tx, scope string) error {
	s.scopes = append(s.scopes, scope)
	return nil
}

func start(t *testing.T) (*armtest.Server, *storage.Provider, *swept) {
	t.Helper()
	e, s := armtest.New(t), &swept{}
	p := provider(t, e, s)
	return e.Serve(p.Types()), p, s
}

func provider(t *testing.T, e *armtest.Env, s *swept) *storage.Provider {
	t.Helper()
	p, err := storage.New(storage.Deps{Documents: e.Documents, Clock: e.Clock, Blobs: blobs{}, Assignments: s})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSDKAccountLifecycle(t *testing.T) {
	covers.C(t, sdk, "R-114", "R-115", "R-156", "R-158", "R-805")
	s, p, removed := start(t)
	client, err := armstorage.NewAccountsClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	ctx, id := t.Context(), armtest.Group+under+"/myaccount"
	poller, err := client.BeginCreate(ctx, azure.SeedResourceGroup, "myaccount", armstorage.AccountCreateParameters{
		Location: to.Ptr("eastus"), Kind: to.Ptr(armstorage.KindStorage), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	made, err := poller.PollUntilDone(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *made.ID != id || *made.Properties.PrimaryEndpoints.Blob != "https://myaccount.blob.core.windows.net/" ||
		*made.Properties.ProvisioningState != armstorage.ProvisioningStateSucceeded || *made.SKU.Tier != armstorage.SKUTierStandard ||
		*made.Kind != armstorage.KindStorage || *made.Properties.AllowBlobPublicAccess {
		t.Errorf("made %+v", *made.Properties)
	}
	keys, err := client.ListKeys(ctx, azure.SeedResourceGroup, "myaccount", &armstorage.AccountsClientListKeysOptions{Expand: to.Ptr("kerb")})
	if err != nil {
		t.Fatal(err)
	}
	account, ok, err := p.Account(ctx, "myaccount")
	if err != nil || !ok || account.ResourceID != id || !account.AllowSharedKey || account.AllowBlobPublicAccess {
		t.Fatalf("account %+v %v", account, err)
	}
	for i, key := range keys.Keys {
		if raw, err := base64.StdEncoding.DecodeString(*key.Value); err != nil || len(raw) != 64 || account.Keys[i] != *key.Value {
			t.Errorf("key %d: %d bytes, %v", i, len(raw), err)
		}
	}
	renewed, err := client.RegenerateKey(ctx, azure.SeedResourceGroup, "myaccount", armstorage.AccountRegenerateKeyParameters{KeyName: to.Ptr("key2")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *renewed.Keys[0].Value != *keys.Keys[0].Value || *renewed.Keys[1].Value == *keys.Keys[1].Value {
		t.Error("not key2 alone was renewed")
	}
	if account, _, _ := p.Account(ctx, "myaccount"); account.Keys[1] != *renewed.Keys[1].Value {
		t.Error("the data plane has the old key")
	}
	updated, err := client.Update(ctx, azure.SeedResourceGroup, "myaccount", armstorage.AccountUpdateParameters{
		Properties: &armstorage.AccountPropertiesUpdateParameters{AllowSharedKeyAccess: to.Ptr(false), AllowBlobPublicAccess: to.Ptr(true)}}, nil)
	if err != nil || *updated.Properties.AllowSharedKeyAccess {
		t.Errorf("update: %v", err)
	}
	if account, _, _ := p.Account(ctx, "myaccount"); account.AllowSharedKey || !account.AllowBlobPublicAccess || account.Keys[0] != *keys.Keys[0].Value {
		t.Errorf("the data plane has %+v", account)
	}
	props, err := client.GetProperties(ctx, azure.SeedResourceGroup, "MYACCOUNT", nil)
	if err != nil || *props.ID != id {
		t.Errorf("get: %v", err)
	}
	if _, err := client.Delete(ctx, azure.SeedResourceGroup, "myaccount", nil); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := p.Account(ctx, "myaccount"); ok {
		t.Error("the account outlived its deletion")
	}
	if !slices.Equal(removed.scopes, []string{id}) {
		t.Errorf("assignments removed at %v", removed.scopes)
	}
	if _, err := client.Delete(ctx, azure.SeedResourceGroup, "myaccount", nil); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
}

func TestSDKContainers(t *testing.T) {
	covers.C(t, sdk, "R-157")
	s, p, removed := start(t)
	owner := s.Owner()
	s.Want(http.StatusOK, owner, http.MethodPut, armtest.Group+under+"/acct", plain)
	client, err := armstorage.NewBlobContainersClient(azure.SeedSubscriptionID, s.Credential(owner), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	ctx, rg := t.Context(), azure.SeedResourceGroup
	made, err := client.Create(ctx, rg, "acct", "data", armstorage.BlobContainer{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := armtest.Group + under + "/acct/blobServices/default/containers/data"
	if *made.ID != id || *made.ContainerProperties.PublicAccess != armstorage.PublicAccessNone {
		t.Errorf("made %s", *made.ID)
	}
	if _, err := client.Update(ctx, rg, "acct", "data", armstorage.BlobContainer{
		ContainerProperties: &armstorage.ContainerProperties{Metadata: map[string]*string{"a": to.Ptr("b")}}}, nil); err != nil {
		t.Fatal(err)
	}
	got, err := client.Get(ctx, rg, "acct", "data", nil)
	if err != nil || *got.ContainerProperties.Metadata["a"] != "b" {
		t.Errorf("get: %v", err)
	}
	if _, err := client.Create(ctx, rg, "acct", "other", armstorage.BlobContainer{}, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	for pages := client.NewListPager(rg, "acct", nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Value {
			names = append(names, *c.Name)
		}
	}
	if !slices.Equal(names, []string{"data", "other"}) {
		t.Errorf("containers %v", names)
	}
	if _, err := client.Delete(ctx, rg, "acct", "data", nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(removed.scopes, []string{id}) {
		t.Errorf("assignments removed at %v", removed.scopes)
	}
	service := s.Want(http.StatusOK, owner, http.MethodGet, armtest.Group+under+"/acct/blobServices/default", "")
	if service.Body.String("id") != armtest.Group+under+"/acct/blobServices/default" {
		t.Error(service.Raw)
	}
	s.Update(func(tx store.Tx) error { return p.RemoveUnder(tx, armtest.Group) })
	if err := s.Documents.View(ctx, func(tx store.ReadTx) error {
		if all, _ := (blobs{}).Containers(tx, "acct"); len(all) != 0 {
			t.Errorf("%d containers outlived their account", len(all))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	s, _, _ := start(t)
	owner := s.Owner()
	reader := s.Grant(s.Principal("reader"), "Reader", armtest.Subscription)
	path := armtest.Group + under + "/acct"
	s.Want(http.StatusOK, owner, http.MethodPut, path, plain)
	keysBefore := s.Want(http.StatusOK, owner, http.MethodPost, path+"/LISTKEYS", "").Raw
	for name, tt := range map[string]struct {
		as           azure.Principal
		method, path string
		body         string
		status       int
		code, says   string
	}{
		"name taken in another group": {owner, http.MethodPut, armtest.OtherGroup + under + "/acct", plain, 409, "StorageAccountAlreadyTaken", "named acct is already taken"},
		"upper case":                  {owner, http.MethodPut, armtest.Group + under + "/Nope", plain, 400, "AccountNameInvalid", "Nope is not a valid"},
		"too short":                   {owner, http.MethodPut, armtest.Group + under + "/ab", plain, 400, "AccountNameInvalid", "3 and 24"},
		"too long":                    {owner, http.MethodPut, armtest.Group + under + "/" + strings.Repeat("a", 25), plain, 400, "AccountNameInvalid", "3 and 24"},
		"no location":                 {owner, http.MethodPut, path + "2", `{"kind":"StorageV2","sku":{"name":"Standard_LRS"}}`, 400, "LocationRequired", ""},
		"no sku":                      {owner, http.MethodPut, path + "2", `{"location":"eastus","kind":"StorageV2"}`, 400, "InvalidValuesForRequestParameters", "sku"},
		"unknown sku":                 {owner, http.MethodPut, path + "2", `{"location":"eastus","kind":"StorageV2","sku":{"name":"Big"}}`, 400, "InvalidValuesForRequestParameters", "sku"},
		"unknown kind":                {owner, http.MethodPut, path + "2", `{"location":"eastus","kind":"Big","sku":{"name":"Standard_LRS"}}`, 400, "InvalidValuesForRequestParameters", "kind"},
		"switch is no switch":         {owner, http.MethodPatch, path, `{"properties":{"allowSharedKeyAccess":"no"}}`, 400, "InvalidValuesForRequestParameters", "allowSharedKeyAccess"},
		"moved":                       {owner, http.MethodPut, path, strings.Replace(plain, "eastus", "westus", 1), 409, "InvalidResourceLocation", "'eastus'"},
		"reader lists keys":           {reader, http.MethodPost, path + "/listKeys", "", 403, "AuthorizationFailed", "'Microsoft.Storage/storageAccounts/listkeys/action' over scope '" + path + "'"},
		"reader renews a key":         {reader, http.MethodPost, path + "/regenerateKey", `{"keyName":"key1"}`, 403, "AuthorizationFailed", "regeneratekey"},
		"reader writes":               {reader, http.MethodPut, path + "2", plain, 403, "AuthorizationFailed", "write"},
		"third key":                   {owner, http.MethodPost, path + "/regenerateKey", `{"keyName":"key3"}`, 400, "InvalidValuesForRequestParameters", "keyName"},
		"no such account":             {owner, http.MethodGet, path + "2", "", 404, "ResourceNotFound", "'Microsoft.Storage/storageAccounts/acct2' under resource group 'amlocal-rg'"},
		"keys of none":                {owner, http.MethodPost, path + "2/listKeys", "", 404, "ResourceNotFound", ""},
		"container of none":           {owner, http.MethodPut, path + "2/blobServices/default/containers/data", "", 404, "ResourceNotFound", "acct2"},
		"no such container":           {owner, http.MethodGet, path + "/blobServices/default/containers/data", "", 404, "ContainerNotFound", ""},
		"container name":              {owner, http.MethodPut, path + "/blobServices/default/containers/Data", "", 400, "InvalidResourceName", ""},
		"no such service":             {owner, http.MethodGet, path + "/blobServices/main", "", 404, "ResourceNotFound", "main"},
		"public container":            {owner, http.MethodPut, path + "/blobServices/default/containers/data", `{"properties":{"publicAccess":"Blob"}}`, 409, "PublicAccessNotPermitted", ""},
		"reader makes a container":    {reader, http.MethodPut, path + "/blobServices/default/containers/data", "", 403, "AuthorizationFailed", "blobServices/containers/write"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.Do(tt.as, tt.method, tt.path, tt.body)
			if a.Status != tt.status || a.Code() != tt.code || !strings.Contains(a.Message(), tt.says) {
				t.Errorf("status %d, body %s", a.Status, a.Raw)
			}
		})
	}
	if after := s.Want(http.StatusOK, owner, http.MethodPost, path+"/listKeys?api-version=1&$expand=kerb", "").Raw; after != keysBefore {
		t.Error("a refused call changed the keys")
	}
}

func TestPutUpdatesAndKeepsWhatItDoesNotKnow(t *testing.T) {
	s, p, _ := start(t)
	owner, path := s.Owner(), armtest.Group+under+"/acct"
	body := `{"location":"East US","kind":"StorageV2","sku":{"name":"Standard_RAGRS"},"tags":{"a":"b"},"futureThing":{"n":1.50},
		"properties":{"futureSwitch":"on","provisioningState":"Broken","allowBlobPublicAccess":true}}`
	first := s.Want(http.StatusOK, owner, http.MethodPut, path, body)
	keys := s.Want(http.StatusOK, owner, http.MethodPost, path+"/listKeys", "").Raw
	s.Want(http.StatusOK, owner, http.MethodPut, path, strings.Replace(plain, `"sku"`, `"properties":{"minimumTlsVersion":"TLS1_3"},"sku"`, 1))
	got := s.Want(http.StatusOK, owner, http.MethodGet, path, "").Body
	for path, want := range map[string]string{
		"properties.futureSwitch": "on", "properties.provisioningState": "Succeeded", "properties.minimumTlsVersion": "TLS1_3",
		"sku.name": "Standard_LRS", "tags.a": "b", "location": "eastus", "properties.creationTime": first.Body.String("properties", "creationTime"),
	} {
		if have := got.String(strings.Split(path, ".")...); have != want {
			t.Errorf("%s is %q, want %q", path, have, want)
		}
	}
	if !strings.Contains(first.Raw, `"n":1.50`) {
		t.Error("a number lost its spelling")
	}
	if account, _, _ := p.Account(t.Context(), "acct"); !account.AllowBlobPublicAccess || account.SKU != "Standard_LRS" {
		t.Errorf("account %+v", account)
	}
	if s.Want(http.StatusOK, owner, http.MethodPost, path+"/listKeys", "").Raw != keys {
		t.Error("an update changed the keys")
	}
	if strings.Contains(first.Raw, strings.Split(keys, `"value":"`)[1][:20]) {
		t.Error("a key is served with the account")
	}
}

func TestNames(t *testing.T) {
	covers.R(t, "R-114")
	s, _, _ := start(t)
	owner := s.Owner()
	s.Want(http.StatusOK, owner, http.MethodPut, armtest.Group+under+"/acct", plain)
	for name, want := range map[string]string{"acct": "AlreadyExists", "free": "", "Bad": "AccountNameInvalid"} {
		a := s.Want(http.StatusOK, owner, http.MethodPost, armtest.Subscription+"/providers/microsoft.storage/checkNameAvailability",
			`{"name":"`+name+`","type":"Microsoft.Storage/storageAccounts"}`)
		if a.Body.String("reason") != want || a.Body.Bool(false, "nameAvailable") != (want == "") {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
	s.Want(http.StatusOK, owner, http.MethodDelete, armtest.Group+under+"/acct", "")
	s.Want(http.StatusOK, owner, http.MethodPut, armtest.OtherGroup+under+"/acct", plain)
}

func TestListsShowWhatOneMayRead(t *testing.T) {
	covers.R(t, "R-116")
	s, _, _ := start(t)
	owner := s.Owner()
	s.Want(http.StatusOK, owner, http.MethodPut, armtest.Group+under+"/one", plain)
	s.Want(http.StatusOK, owner, http.MethodPut, armtest.OtherGroup+under+"/two", plain)
	local := s.Grant(s.Principal("local"), "Contributor", armtest.Group)
	for who, want := range map[azure.Principal]int{owner: 2, local: 1} {
		if got := s.Want(http.StatusOK, who, http.MethodGet, armtest.Subscription+under, "").Values(); len(got) != want {
			t.Errorf("%s sees %d accounts, want %d", who.Name, len(got), want)
		}
	}
	s.WantError(http.StatusForbidden, "AuthorizationFailed", s.Principal("nobody"), http.MethodGet, armtest.Subscription+under, "")
	if got := s.Want(http.StatusOK, owner, http.MethodGet, armtest.OtherGroup+under, "").Values(); len(got) != 1 || got[0].String("name") != "two" {
		t.Errorf("in the group: %v", got)
	}
}

func TestSeedAndRestart(t *testing.T) {
	s, p, removed := start(t)
	id := azure.MustParseResourceID(armtest.Group + under + "/seeded")
	for range 2 {
		s.Update(func(tx store.Tx) error { return p.SeedAccount(tx, id, "East US") })
	}
	account, ok, _ := p.Account(t.Context(), "Seeded")
	if !ok || account.ResourceID != id.String() {
		t.Fatalf("account %+v", account)
	}
	s.WantError(http.StatusConflict, "StorageAccountAlreadyTaken", s.Owner(), http.MethodPut, armtest.OtherGroup+under+"/seeded", plain)
	again, ok, _ := provider(t, s.Env, removed).Account(t.Context(), "seeded")
	if !ok || !reflect.DeepEqual(again, account) {
		t.Errorf("after a restart: %+v", again)
	}
	if err := s.Documents.Update(t.Context(), func(tx store.Tx) error {
		return p.SeedAccount(tx, azure.MustParseResourceID(armtest.Group+under+"/Bad"), "eastus")
	}); err == nil {
		t.Error("a bad name was seeded")
	}
}

func TestActionsExist(t *testing.T) {
	_, p, _ := start(t)
	armtest.CheckActions(t, p.Types())
}
