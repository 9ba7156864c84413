package amlocal

import (
	"io"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

// grantRow is one set of roles of an identity, and whether it may read
// accountOne/box/hello.txt.
type grantRow struct {
	name  string
	roles [][2]string // role and scope
	reads bool
}

var grantRows = []grantRow{
	{"no role", nil, false},
	{"data reader on another account", [][2]string{{"Storage Blob Data Reader", accountID(accountTwo)}}, false},
	{"data reader on a sibling container", [][2]string{{"Storage Blob Data Reader", containerID(accountOne, "sibling")}}, false},
	{"data reader on an account whose name is the beginning", [][2]string{{"Storage Blob Data Reader", accountID(accountOne[:len(accountOne)-1])}}, false},
	{"data reader on another group", [][2]string{{"Storage Blob Data Reader", seedSubscription + "/resourceGroups/other"}}, false},
	{"Owner alone", [][2]string{{"Owner", accountID(accountOne)}}, false},
	{"Contributor alone", [][2]string{{"Contributor", accountID(accountOne)}}, false},
	{"Reader alone", [][2]string{{"Reader", accountID(accountOne)}}, false},
	{"Owner of the subscription", [][2]string{{"Owner", seedSubscription}}, false},
	{"all the wrong ones at once", [][2]string{{"Owner", seedGroup}, {"Storage Blob Data Owner", accountID(accountTwo)}, {"Storage Blob Data Contributor", containerID(accountOne, "sibling")}}, false},
	{"data reader on the container", [][2]string{{"Storage Blob Data Reader", containerID(accountOne, "box")}}, true},
	{"data reader on the account", [][2]string{{"Storage Blob Data Reader", accountID(accountOne)}}, true},
	{"data reader on the account, spelled in capitals", [][2]string{{"Storage Blob Data Reader", strings.ToUpper(accountID(accountOne))}}, true},
	{"data reader on the group", [][2]string{{"Storage Blob Data Reader", seedGroup}}, true},
	{"data reader on the subscription", [][2]string{{"Storage Blob Data Reader", seedSubscription}}, true},
	{"data contributor on the account", [][2]string{{"Storage Blob Data Contributor", accountID(accountOne)}}, true},
}

// otherScopes makes the group and the account that only these rows name.
func (l *lab) otherScopes(t *testing.T) {
	t.Helper()
	groups := must(armresources.NewResourceGroupsClient(azure.SeedSubscriptionID, l.owner.cred, l.options()))(t)
	if _, err := groups.CreateOrUpdate(t.Context(), "other", armresources.ResourceGroup{Location: to.Ptr(azure.SeedLocation)}, nil); err != nil {
		t.Fatal(err)
	}
	l.account(t, accountOne[:len(accountOne)-1])
}

// grantAll gives a row's roles for the length of a subtest.
func (l *lab) grantAll(t *testing.T, principal string, roles [][2]string) {
	t.Helper()
	for _, r := range roles {
		id := l.owner.grant(t, principal, r[0], r[1])
		t.Cleanup(func() {
			if _, err := l.owner.assignments(t).DeleteByID(cleanup(), id, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIdentityReadsBlob asks real instances, which get their token from the
// managed identity endpoint through azidentity and read through azblob.
func TestIdentityReadsBlob(t *testing.T) {
	covers.C(t, sdk, "R-217", "R-903", "R-908", "R-1001", "R-1002", "R-1003", "R-122", "R-513")
	l := newLab(t, nil)
	l.otherScopes(t)
	uai := l.owner.uai(t, "reader")
	identities := map[string]struct{ endpoint, principal, client string }{
		"system-assigned": {"sai-reader", *l.owner.endpoint(t, "sai-reader", wish(nil)).Identity.PrincipalID, ""},
		"user-assigned":   {"uai-reader", *uai.Properties.PrincipalID, *uai.Properties.ClientID},
	}
	l.owner.endpoint(t, "uai-reader", wish(asUser(*uai.ID)))
	for _, who := range identities {
		l.owner.deploy(t, who.endpoint, "blue", l.owner.instance(t))
	}
	for _, row := range grantRows {
		for kind, who := range identities {
			t.Run(row.name+"/"+kind, func(t *testing.T) {
				l.grantAll(t, who.principal, row.roles)
				got := l.ask(t, who.endpoint, "blue", question{Do: "read", Account: accountOne, Container: "box", Blob: "hello.txt", ClientID: who.client})
				switch {
				case row.reads && got.Text != helloText:
					t.Errorf("read %q: %s", got.Text, got.Error)
				case !row.reads && (got.Status != 403 || got.Code != "AuthorizationPermissionMismatch" || got.Text != ""):
					t.Errorf("read %q, %d %s: %s", got.Text, got.Status, got.Code, got.Error)
				}
			})
		}
	}
	t.Run("data reader does not write", func(t *testing.T) {
		who := identities["system-assigned"]
		l.grantAll(t, who.principal, [][2]string{{"Storage Blob Data Reader", accountID(accountOne)}})
		if got := l.ask(t, who.endpoint, "blue", question{Do: "write", Account: accountOne, Container: "box", Blob: "new.txt"}); got.Code != "AuthorizationPermissionMismatch" {
			t.Errorf("write: %d %s %s", got.Status, got.Code, got.Error)
		}
	})
}

// TestPrincipalReadsBlob is the same table for a client secret.
func TestPrincipalReadsBlob(t *testing.T) {
	covers.C(t, sdk, "R-1001", "R-1002", "R-1003", "R-512")
	l := newLab(t, nil)
	l.otherScopes(t)
	for _, row := range grantRows {
		t.Run(row.name, func(t *testing.T) {
			p := l.principal(row.name)
			l.grantAll(t, p.oid, row.roles)
			resp, err := p.blobs(t, accountOne).DownloadStream(t.Context(), "box", "hello.txt", nil)
			if !row.reads {
				wantError(t, err, 403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || string(text) != helloText {
				t.Errorf("read %q, %v", text, err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("missing blob and container need the role first", func(t *testing.T) {
		covers.C(t, sdk, "R-1018")
		p := l.principal("looking")
		client := p.blobs(t, accountOne)
		_, err := client.DownloadStream(t.Context(), "box", "nothing.txt", nil)
		wantError(t, err, 403, "AuthorizationPermissionMismatch")
		l.grantAll(t, p.oid, [][2]string{{"Storage Blob Data Reader", accountID(accountOne)}})
		_, err = client.DownloadStream(t.Context(), "box", "nothing.txt", nil)
		wantError(t, err, 404, "BlobNotFound")
		_, err = client.DownloadStream(t.Context(), "nobox", "hello.txt", nil)
		wantError(t, err, 404, "ContainerNotFound")
		if _, err = p.blobs(t, "e2enosuchaccount").DownloadStream(t.Context(), "box", "hello.txt", nil); err == nil {
			t.Error("an account that does not exist answered")
		}
	})
}

// TestDeploymentReadsBlobOrFails is the issue's own story with the Go scorer:
// refused for each wrong role, in the deployment's error and its log; then the
// right role, and the deployment made again.
func TestDeploymentReadsBlobOrFails(t *testing.T) {
	covers.C(t, sdk, "R-206", "R-601", "R-603", "R-605", "R-606", "R-1001", "R-1002", "R-1003", "R-1033")
	l := newLab(t, nil)
	principal := *l.owner.endpoint(t, "story", wish(nil)).Identity.PrincipalID
	body := l.owner.scorer(t)
	for _, row := range []grantRow{
		{name: "no role"},
		{name: "sibling container", roles: [][2]string{{"Storage Blob Data Reader", containerID(accountOne, "sibling")}}},
		{name: "another account", roles: [][2]string{{"Storage Blob Data Reader", accountID(accountTwo)}}},
		{name: "Owner and Contributor", roles: [][2]string{{"Owner", accountID(accountOne)}, {"Contributor", accountID(accountOne)}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l.grantAll(t, principal, row.roles)
			err := l.owner.tryDeploy(t, "story", "green", body)
			if err == nil {
				t.Fatal("the deployment succeeded without the role")
			}
			for _, text := range []string{"ResourceNotReady", "AuthorizationPermissionMismatch", "box/hello.txt refused: 403"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error lacks %q: %v", text, err)
				}
			}
			if got := l.owner.stateOf(t, "story", "green"); got != "Failed" {
				t.Errorf("state %q, want Failed", got)
			}
			log := l.owner.said(t, "story", "green", "AuthorizationPermissionMismatch")
			if !strings.Contains(log, "AuthorizationPermissionMismatch") || strings.Contains(log, helloText) {
				t.Errorf("log:\n%s", log)
			}
			if got := l.score(t, "story", "green", *l.owner.keys(t, "story").PrimaryKey, `{"data":[]}`); got.status == 200 {
				t.Errorf("a failed deployment answers: %s", got.body)
			}
			// A failed first provisioning cannot be mended in place.
			wantError(t, l.owner.tryDeploy(t, "story", "green", body), 400, "BadRequest", "unrecoverable")
			if err := l.owner.deleteDeployment(t, "story", "green"); err != nil {
				t.Fatal(err)
			}
			if got := l.owner.stateOf(t, "story", "green"); got != "" {
				t.Errorf("after the delete: %s", got)
			}
		})
	}
	t.Run("the right role", func(t *testing.T) {
		l.owner.grant(t, principal, "Storage Blob Data Reader", containerID(accountOne, "box"))
		l.owner.deploy(t, "story", "green", body)
		log := l.owner.said(t, "story", "green", "Blob contains: "+helloText, "Model loaded")
		if !strings.Contains(log, "Blob contains: "+helloText) || !strings.Contains(log, "Model loaded") {
			t.Errorf("log:\n%s", log)
		}
		if log := l.owner.logs(t, "story", "green", armmachinelearning.ContainerTypeStorageInitializer); !strings.Contains(log, "Downloaded model regression:1") || !strings.Contains(log, principal) {
			t.Errorf("storage-initializer log:\n%s", log)
		}
		if err := l.owner.traffic(t, "story", map[string]int32{"green": 100}); err != nil {
			t.Fatal(err)
		}
		if got := l.score(t, "story", "", *l.owner.keys(t, "story").PrimaryKey, `{"data":[[1,2,3,4,5,6,7,8,9,10],[10,9,8,7,6,5,4,3,2,1]]}`); got.status != 200 || !strings.HasPrefix(got.body, "[") {
			t.Errorf("score: %d %s", got.status, got.body)
		}
	})
}
