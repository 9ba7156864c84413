package blobfake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

// network is one setting; the tests' callers are at 127.0.0.1.
type network struct {
	Network
	admits, trusts bool
}

func networks() map[string]network {
	from := func(rules ...string) (list []netip.Prefix) {
		for _, r := range rules {
			list = append(list, netip.MustParsePrefix(r))
		}
		return list
	}
	return map[string]network{
		"open":                       {Network{}, true, true},
		"rules without a denial":     {Network{Addresses: from("1.2.3.4/32")}, true, true},
		"denied":                     {Network{Deny: true}, false, false},
		"denied but to services":     {Network{Deny: true, Trusted: true}, false, true},
		"another address":            {Network{Deny: true, Addresses: from("1.2.3.4/32", "127.0.0.0/32")}, false, false},
		"our address":                {Network{Deny: true, Addresses: from("1.2.3.4/32", "127.0.0.1/32")}, true, false},
		"our range":                  {Network{Deny: true, Addresses: from("127.0.0.0/8")}, true, false},
		"closed":                     {Network{Closed: true}, false, false},
		"closed, whatever the rules": {Network{Closed: true, Deny: true, Addresses: from("127.0.0.1/32")}, false, false},
		"closed but to services":     {Network{Closed: true, Trusted: true}, false, true},
	}
}

func TestNetwork(t *testing.T) {
	covers.C(t, client, "R-209")
	w := newWorld(t)
	w.container("ccc", PublicContainer)
	w.put("/ccc/f", "text")
	w.rbac.allow(alice, readBlobs, true, accountID)
	clients := w.clients()
	clients["anonymous"] = func() *azblob.Client {
		c, err := azblob.NewClientWithNoCredential(blobURL, w.clientOptions())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, n := range networks() {
		w.accounts[acct].Network = n.Network
		for kind, make := range clients {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got, err := make().DownloadStream(context.Background(), "ccc", "f", nil)
				if n.admits {
					if err != nil {
						t.Fatal(err)
					}
					if err := got.Body.Close(); err != nil {
						t.Error(err)
					}
					return
				}
				var re *azcore.ResponseError
				if !errors.As(err, &re) || re.StatusCode != http.StatusForbidden || re.ErrorCode != "AuthorizationFailure" ||
					!strings.Contains(err.Error(), "This request is not authorized to perform this operation.") {
					t.Fatalf("got %v", err)
				}
			})
		}
		t.Run(name+"/platform", func(t *testing.T) {
			visited := 0
			err := w.svc.ReadAs(context.Background(), alice, acct, "ccc", "", func(string, int64, func() (io.ReadCloser, error)) error {
				visited++
				return nil
			})
			if n.trusts && (err != nil || visited != 1) {
				t.Errorf("%d visited, %v", visited, err)
			}
			if e := httpx.AsError(err); !n.trusts && (visited != 0 || e.Status != http.StatusForbidden || e.Code != "AuthorizationFailure" || e.Cause == nil) {
				t.Errorf("%d visited, %v", visited, err)
			}
		})
	}
}

// Nothing is written from a refused network, and no copy leaves one.
func TestNetworkRefusesWritesAndCopies(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "text")
	source := blobURL + "/ccc/f?" + SAS(*w.accounts[acct], "ccc", "f", "r", time.Time{}, w.clock.Now().Add(time.Hour))
	other := func(method, path string, headers ...string) answer {
		sas := AccountSAS(*w.accounts["other"], "sco", "rwdlac", time.Time{}, w.clock.Now().Add(time.Hour))
		return w.do(method, "https://other.blob.core.windows.net"+path+sas, "", append([]string{"x-ms-version", "2021-12-02"}, headers...)...)
	}
	if a := other("PUT", "/ddd?restype=container&"); a.StatusCode != http.StatusCreated {
		t.Fatalf("container: %d %s", a.StatusCode, a.body)
	}
	w.accounts[acct].Network = Network{Deny: true}
	if a := w.own("PUT", "/ccc/new", "x", "x-ms-blob-type", "BlockBlob"); a.StatusCode != 403 || a.code() != "AuthorizationFailure" {
		t.Errorf("put: %d %s", a.StatusCode, a.code())
	}
	if a := w.own("DELETE", "/ccc/f", ""); a.StatusCode != 403 || a.code() != "AuthorizationFailure" {
		t.Errorf("delete: %d %s", a.StatusCode, a.code())
	}
	if a := other("PUT", "/ddd/copy?", "x-ms-copy-source", source); a.StatusCode == http.StatusAccepted {
		t.Error("a blob was copied out of the network")
	}
	w.accounts[acct].Network = Network{}
	if a := other("PUT", "/ddd/copy?", "x-ms-copy-source", source); a.StatusCode != http.StatusAccepted {
		t.Errorf("copy: %d %s", a.StatusCode, a.body)
	}
	if a := w.own("GET", "/ccc/new", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("the refused blob: %d", a.StatusCode)
	}
	if a := w.own("GET", "/ccc/f", ""); string(a.body) != "text" {
		t.Errorf("the blob: %d %s", a.StatusCode, a.body)
	}
}
