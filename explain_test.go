package amlocal

import (
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
)

func explain(e audit.Entry) string {
	var b strings.Builder
	Explain(&b, e)
	return b.String()
}

func TestExplain(t *testing.T) {
	identity := azure.Principal{ObjectID: "oid", AppID: "cid", Type: azure.ServicePrincipal, Name: "ws/onlineEndpoints/ep", ResourceID: "/ep"}
	check := azure.Check{Action: "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", Data: true, Scope: "/acct/c"}
	entry := audit.Entry{
		RequestID: "rid", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Method: "GET", Host: "acct.blob.core.windows.net", Path: "/c/b",
		Instance: "ep/green", Status: 403, Code: "AuthorizationPermissionMismatch",
		Decisions: []azure.Decision{
			{Allowed: true, Principal: azure.Principal{Name: "somebody else"}},
			{Principal: identity, Check: check,
				Misses: []azure.Miss{{Role: "Storage Blob Data Reader", Reason: "assigned at /other, which does not contain /acct/c"}},
				Fixes:  []azure.Fix{{Role: "Storage Blob Data Reader", Scope: "/acct/c", Command: "az role assignment create ..."}, {Role: "Storage Blob Data Owner"}}},
		},
	}
	want := `refused   ws/onlineEndpoints/ep (managed identity, object id oid, client id cid)
          the identity of /ep
action    Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read (data action)
scope     /acct/c
request   GET https://acct.blob.core.windows.net/c/b, asked by ep/green
answer    403 AuthorizationPermissionMismatch at 2026-01-02T03:04:05Z, request id rid
What came near:
  - Storage Blob Data Reader: assigned at /other, which does not contain /acct/c
What would do, the least first: Storage Blob Data Reader; Storage Blob Data Owner
To assign it:
  az role assignment create ...
`
	if got := explain(entry); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExplainLittle(t *testing.T) {
	bare := explain(audit.Entry{Method: "PUT", Path: "/x", Status: 403, Decisions: []azure.Decision{{Check: azure.Check{Action: "a/write", Scope: "/x"}}}})
	for _, want := range []string{"a caller without a principal", "a/write (action)", "It holds no role that comes near.", "No built-in role grants this."} {
		if !strings.Contains(bare, want) {
			t.Errorf("no %q in:\n%s", want, bare)
		}
	}
	if got := explain(audit.Entry{Method: "GET", Path: "/x", Status: 401, Cause: "the token has expired"}); !strings.Contains(got, "No role check refused this request.\ncause: the token has expired\n") {
		t.Errorf("got:\n%s", got)
	}
	if got := explain(audit.Entry{Decisions: []azure.Decision{{Fixes: []azure.Fix{{Role: "Reader", Scope: "/x"}}}}}); !strings.Contains(got, "Assign Reader at /x.\n") {
		t.Errorf("got:\n%s", got)
	}
}
