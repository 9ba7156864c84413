package amlocal

import (
	"io"
	"maps"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
)

// TestStateSurvives closes an emulator and opens another on the same folder.
func TestStateSurvives(t *testing.T) {
	covers.C(t, sdk, "R-122", "R-308", "R-524")
	dir, ca := t.TempDir(), t.TempDir()
	first := newLab(t, func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca })
	made := first.owner.endpoint(t, "lasting", wish(nil))
	uai := first.owner.uai(t, "lasting")
	principal := *made.Identity.PrincipalID
	first.owner.grant(t, principal, "Storage Blob Data Reader", containerID(accountOne, "box"))
	first.owner.deploy(t, "lasting", "blue", first.owner.scorer(t))
	first.owner.deploy(t, "lasting", "green", first.owner.instance(t))
	failing := first.owner.scorer(t)
	first.owner.endpoint(t, "failing", wish(nil))
	if err := first.owner.tryDeploy(t, "failing", "blue", failing); err == nil {
		t.Fatal("the deployment without the role succeeded")
	}
	if err := first.owner.traffic(t, "lasting", map[string]int32{"blue": 100}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.owner.keyed(t, accountTwo).UploadBuffer(t.Context(), "box", "later.txt", []byte("later"), nil); err != nil {
		t.Fatal(err)
	}
	// Something that was taken away must stay away.
	gone := first.owner.grant(t, principal, "Storage Blob Data Reader", accountID(accountTwo))
	first.owner.revoke(t, gone)
	reader := first.principal("reader")
	first.owner.grant(t, reader.oid, "Storage Blob Data Reader", accountID(accountTwo))
	keys, roles := first.owner.keys(t, "lasting"), first.owner.rolesOf(t, principal)
	storage, management := reader.token(t, forStorage), first.owner.token(t, forManagement)
	kid := kidOf(t, storage)
	etag, err := first.owner.keyed(t, accountTwo).ServiceClient().NewContainerClient("box").NewBlobClient("later.txt").GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := first.e.Access().OwnerSecret
	closeEmulator(t, first.e)

	second := labOf(t, start(t, func(c *Config) { c.Ephemeral, c.StateDir, c.CADir = false, dir, ca }))
	if second.e.Access().OwnerSecret != secret {
		t.Error("the owner's secret changed")
	}
	if a := second.armRaw(t, "GET", endpointID("lasting"), management, ""); a.status != 200 {
		t.Errorf("the token from before at ARM: %d %s", a.status, a.body)
	}
	resp, err := second.owner.keyed(t, accountTwo).DownloadStream(t.Context(), "box", "later.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if string(text) != "later" || *resp.ETag != *etag.ETag {
		t.Errorf("blob %q with etag %s, was %s", text, *resp.ETag, *etag.ETag)
	}
	if a := second.readRaw(t, storage, "2021-12-02"); a.status != 403 || a.header.Get("x-ms-error-code") != "AuthorizationPermissionMismatch" {
		t.Errorf("the reader of accountTwo at accountOne: %d %s", a.status, a.body)
	}
	if got := kidOf(t, second.owner.token(t, forStorage)); got != kid {
		t.Errorf("signing key %s, was %s", got, kid)
	}
	after, err := second.owner.endpoints(t).Get(t.Context(), groupName, wsName, "lasting", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *after.Identity.PrincipalID != principal || *after.Properties.Traffic["blue"] != 100 {
		t.Errorf("endpoint %+v", after.OnlineEndpoint)
	}
	if got := second.owner.keys(t, "lasting"); *got.PrimaryKey != *keys.PrimaryKey || *got.SecondaryKey != *keys.SecondaryKey {
		t.Error("the keys changed")
	}
	if got := second.owner.rolesOf(t, principal); !maps.Equal(got, roles) {
		t.Errorf("roles %v, were %v", got, roles)
	}
	if got, err := second.owner.identities(t).Get(t.Context(), groupName, "lasting", nil); err != nil || *got.Properties.ClientID != *uai.Properties.ClientID {
		t.Errorf("the user-assigned identity: %v", err)
	}
	if got := second.owner.stateOf(t, "lasting", "blue"); got != "Succeeded" {
		t.Errorf("state of blue: %s", got)
	}
	if got := second.owner.stateOf(t, "failing", "blue"); got != "Failed" {
		t.Errorf("state of the failed deployment: %s", got)
	}
	// Deployments come up in the background.
	second.eventually(t, "blue", `{"data":[[1,2,3,4,5,6,7,8,9,10]]}`)
	second.eventually(t, "green", envQuestion)
	read := question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt"}
	if got := second.ask(t, "lasting", "green", read); got.Text != helloText {
		t.Errorf("the restored instance reads: %+v", got)
	}
	read.Account = accountTwo
	if got := second.ask(t, "lasting", "green", read); got.Code != "AuthorizationPermissionMismatch" {
		t.Errorf("the restored instance reads what was revoked: %+v", got)
	}
	if got := len(second.e.Status().Deployments); got != 2 {
		t.Errorf("%d deployments run, want 2: the failed one must not come back", got)
	}
}

// eventually scores until the deployment answers.
func (l *lab) eventually(t *testing.T, deployment, body string) {
	t.Helper()
	key := *l.owner.keys(t, "lasting").PrimaryKey
	var a answer
	for range 1200 {
		if a = l.score(t, "lasting", deployment, key, body); a.status == 200 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%s does not serve again: %d %s", deployment, a.status, a.body)
}
