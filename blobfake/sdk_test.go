package blobfake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	sdkcontainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
)

const client = "azblob"

func (w *world) clientOptions() *azblob.ClientOptions {
	return &azblob.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w.http, Retry: policy.RetryOptions{MaxRetries: -1}}}
}

// fakeCredential hands out real JWTs.
type fakeCredential struct {
	w   *world
	who azure.Principal
}

func (c fakeCredential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	aud := strings.TrimSuffix(o.Scopes[0], "/.default")
	return azcore.AccessToken{Token: c.w.tokens.sign(c.who, aud, nil), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// clients are the ways to reach account acct.
func (w *world) clients() map[string]func() *azblob.Client {
	must := func(c *azblob.Client, err error) *azblob.Client {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return c
	}
	key := func(n int) *azblob.SharedKeyCredential {
		cred, err := azblob.NewSharedKeyCredential(acct, w.accounts[acct].Keys[n])
		if err != nil {
			w.t.Fatal(err)
		}
		return cred
	}
	return map[string]func() *azblob.Client{
		"shared key": func() *azblob.Client {
			return must(azblob.NewClientWithSharedKeyCredential(blobURL, key(0), w.clientOptions()))
		},
		"second key": func() *azblob.Client {
			return must(azblob.NewClientWithSharedKeyCredential(blobURL, key(1), w.clientOptions()))
		},
		"shared key by path over http": func() *azblob.Client {
			return must(azblob.NewClientWithSharedKeyCredential(w.plain.URL+"/acct", key(0), &azblob.ClientOptions{}))
		},
		"account SAS": func() *azblob.Client {
			return must(azblob.NewClientWithNoCredential(blobURL+"/?"+w.sas(), w.clientOptions()))
		},
		"connection string": func() *azblob.Client {
			return must(azblob.NewClientFromConnectionString("DefaultEndpointsProtocol=https;AccountName=acct;AccountKey="+
				w.accounts[acct].Keys[0]+";EndpointSuffix=core.windows.net", w.clientOptions()))
		},
		"bearer": func() *azblob.Client {
			for _, a := range []string{readBlobs, writeBlobs, deleteBlobs} {
				w.rbac.allow(alice, a, true, accountID)
			}
			for _, a := range []string{"read", "write", "delete"} {
				w.rbac.allow(alice, containerNoun+a, false, accountID)
			}
			return must(azblob.NewClient(blobURL, fakeCredential{w, alice}, w.clientOptions()))
		},
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewSource(int64(n)))
	_, _ = r.Read(b)
	return b
}

// TestSDKFlow is a day in the life of a container, for every kind of caller.
func TestSDKFlow(t *testing.T) {
	covers.C(t, client, "R-116", "R-117", "R-512", "R-513")
	w := newWorld(t)
	ctx := context.Background()
	for name, connect := range w.clients() {
		t.Run(name, func(t *testing.T) {
			c := connect()
			if _, err := c.CreateContainer(ctx, "flow", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.CreateContainer(ctx, "flow", nil); !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
				t.Fatalf("second create: %v", err)
			}
			small, large := []byte("hello, wörld"), randomBytes(300<<10)
			odd := "dir with space/ü+%25&=?#;,'()~!*@$//x:y"
			for blobName, data := range map[string][]byte{"small": small, "large": large, "empty": nil, odd: small} {
				if _, err := c.UploadBuffer(ctx, "flow", blobName, data, &azblob.UploadBufferOptions{
					BlockSize: 64 << 10, Concurrency: 4,
					Metadata:    map[string]*string{"Upload_Status": to.Ptr("completed"), "a_b": to.Ptr("1"), "a1": to.Ptr("2"), "ab": to.Ptr("3")},
					HTTPHeaders: &sdkblob.HTTPHeaders{BlobContentType: to.Ptr("text/plain")},
				}); err != nil {
					t.Fatalf("upload %s: %v", blobName, err)
				}
				got := download(t, c, "flow", blobName)
				if !bytes.Equal(got, data) {
					t.Fatalf("%s: %d bytes back, want %d", blobName, len(got), len(data))
				}
			}
			// In blocks, as big files go.
			if _, err := c.UploadStream(ctx, "flow", "blocks", bytes.NewReader(large), &azblob.UploadStreamOptions{BlockSize: 64 << 10, Concurrency: 4}); err != nil {
				t.Fatal(err)
			}
			// DownloadBuffer asks for ranges, in parallel.
			buf := make([]byte, len(large))
			if n, err := c.DownloadBuffer(ctx, "flow", "blocks", buf, &azblob.DownloadBufferOptions{BlockSize: 50000, Concurrency: 4}); err != nil || n != int64(len(large)) || !bytes.Equal(buf, large) {
				t.Fatalf("ranges: %d %v", n, err)
			}
			props, err := c.ServiceClient().NewContainerClient("flow").NewBlobClient("large").GetProperties(ctx, nil)
			if err != nil || *props.ContentLength != int64(len(large)) || *props.ContentType != "text/plain" ||
				*props.BlobType != sdkblob.BlobTypeBlockBlob || *metadataValue(props.Metadata, "upload_status") != "completed" {
				t.Fatalf("%+v %v", props, err)
			}
			if got := names(t, c, "flow", ""); !slices.Equal(got, []string{"blocks", odd, "empty", "large", "small"}) {
				t.Fatalf("list %q", got)
			}
			if _, err := c.DeleteBlob(ctx, "flow", "small", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.DeleteBlob(ctx, "flow", "small", nil); !bloberror.HasCode(err, bloberror.BlobNotFound) {
				t.Fatal(err)
			}
			found := false
			for p := c.NewListContainersPager(nil); p.More(); {
				page, err := p.NextPage(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, item := range page.ContainerItems {
					found = found || *item.Name == "flow"
				}
			}
			if !found {
				t.Error("the container is not listed")
			}
			if _, err := c.DeleteContainer(ctx, "flow", nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func metadataValue(m map[string]*string, name string) *string {
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return to.Ptr("")
}

func download(t *testing.T, c *azblob.Client, container, name string) []byte {
	t.Helper()
	res, err := c.DownloadStream(context.Background(), container, name, nil)
	if err != nil {
		t.Fatalf("download %s: %v", name, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("download %s: %v", name, err)
	}
	return b
}

func names(t *testing.T, c *azblob.Client, container, prefix string) []string {
	t.Helper()
	var out []string
	for p := c.NewListBlobsFlatPager(container, &azblob.ListBlobsFlatOptions{Prefix: &prefix, MaxResults: to.Ptr(int32(2))}); p.More(); {
		page, err := p.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			out = append(out, *item.Name)
		}
	}
	return out
}

func TestSDKRefusals(t *testing.T) {
	covers.C(t, client, "R-1001", "R-1018")
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "x")
	ctx := context.Background()
	c, err := azblob.NewClient(blobURL, fakeCredential{w, alice}, w.clientOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.DownloadStream(ctx, "ccc", "f", nil)
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != 403 || re.ErrorCode != "AuthorizationPermissionMismatch" {
		t.Errorf("no role: %v", err)
	}
	w.rbac.allow(alice, readBlobs, true, accountID)
	if _, err = c.DownloadStream(ctx, "ccc", "g", nil); !bloberror.HasCode(err, bloberror.BlobNotFound) {
		t.Errorf("missing blob: %v", err)
	}
	if _, err = c.DownloadStream(ctx, "ddd", "g", nil); !bloberror.HasCode(err, bloberror.ContainerNotFound) {
		t.Errorf("missing container: %v", err)
	}
	bad, _ := azblob.NewSharedKeyCredential(acct, testKey("wrong"))
	k, _ := azblob.NewClientWithSharedKeyCredential(blobURL, bad, w.clientOptions())
	if _, err = k.DownloadStream(ctx, "ccc", "f", nil); !bloberror.HasCode(err, bloberror.AuthenticationFailed) {
		t.Errorf("wrong key: %v", err)
	}
	// The refusal of a large upload must reach the client, not break its pipe.
	if _, err = k.UploadBuffer(ctx, "ccc", "big", randomBytes(3<<20), nil); !bloberror.HasCode(err, bloberror.AuthenticationFailed) {
		t.Errorf("large upload with a wrong key: %v", err)
	}
}

func TestSDKBlocks(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	ctx := context.Background()
	c := w.clients()["shared key"]().ServiceClient().NewContainerClient("ccc")
	b := c.NewBlockBlobClient("f")
	body := func(s string) io.ReadSeekCloser { return readSeekNop{bytes.NewReader([]byte(s))} }
	big := strings.Repeat("b", 5000)
	for id, data := range map[string]string{"QUFB": "aaa", "QkJC": big, "Q0ND": "ccc"} {
		if _, err := b.StageBlock(ctx, id, body(data), &blockblob.StageBlockOptions{TransactionalValidation: sdkblob.TransferValidationTypeComputeCRC64()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.StageBlock(ctx, "QUFBQQ==", body("x"), nil); !bloberror.HasCode(err, bloberror.InvalidBlobOrBlock) {
		t.Errorf("id of another length: %v", err)
	}
	if _, err := b.GetProperties(ctx, nil); !bloberror.HasCode(err, bloberror.BlobNotFound) {
		t.Errorf("uncommitted blob: %v", err)
	}
	list, err := b.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	if err != nil || len(list.UncommittedBlocks) != 3 || len(list.CommittedBlocks) != 0 {
		t.Fatalf("%+v %v", list, err)
	}
	if _, err := b.CommitBlockList(ctx, []string{"QUFB", "RERE"}, nil); !bloberror.HasCode(err, bloberror.InvalidBlockList) {
		t.Errorf("unknown block: %v", err)
	}
	if _, err := b.CommitBlockList(ctx, []string{"Q0ND", "QkJC", "QUFB"}, nil); err != nil {
		t.Fatal(err)
	}
	// Blocks of the committed blob can be used again, in another order.
	if _, err := b.StageBlock(ctx, "RERE", body("ddd"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CommitBlockList(ctx, []string{"QUFB", "RERE", "QkJC", "QUFB"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := w.own("GET", "/ccc/f", "").body; string(got) != "aaaddd"+big+"aaa" {
		t.Errorf("%d bytes", len(got))
	}
	if got := w.own("GET", "/ccc/f", "", "Range", "bytes=4-8").body; string(got) != "ddbbb" {
		t.Errorf("across blocks: %q", got)
	}
	list, err = b.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	if err != nil || len(list.UncommittedBlocks) != 0 || len(list.CommittedBlocks) != 4 || *list.BlobContentLength != 5009 {
		t.Fatalf("%+v %v", list, err)
	}
}

type readSeekNop struct{ *bytes.Reader }

func (readSeekNop) Close() error { return nil }

func TestSDKHierarchyAndIncludes(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	for _, n := range []string{"a/1", "a/2", "a/b/3", "top", "z/9"} {
		w.put("/ccc/"+n, n, "x-ms-meta-k", "v of "+n)
	}
	w.own("PUT", "/ccc/m?comp=block&blockid=AAAA", "pending")
	ctx := context.Background()
	c := w.clients()["shared key"]().ServiceClient().NewContainerClient("ccc")
	walk := func(prefix string) (out []string) {
		for p := c.NewListBlobsHierarchyPager("/", &sdkcontainer.ListBlobsHierarchyOptions{Prefix: &prefix, MaxResults: to.Ptr(int32(1))}); p.More(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range page.Segment.BlobPrefixes {
				out = append(out, *b.Name)
			}
			for _, b := range page.Segment.BlobItems {
				out = append(out, *b.Name)
			}
		}
		return out
	}
	if got := walk(""); !slices.Equal(got, []string{"a/", "top", "z/"}) {
		t.Errorf("root: %q", got)
	}
	if got := walk("a/"); !slices.Equal(got, []string{"a/1", "a/2", "a/b/"}) {
		t.Errorf("a/: %q", got)
	}
	var got []string
	for p := c.NewListBlobsFlatPager(&sdkcontainer.ListBlobsFlatOptions{Include: sdkcontainer.ListBlobsInclude{Metadata: true, UncommittedBlobs: true}}); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			got = append(got, fmt.Sprintf("%s=%s", *b.Name, *metadataValue(b.Metadata, "k")))
		}
	}
	if want := []string{"a/1=v of a/1", "a/2=v of a/2", "a/b/3=v of a/b/3", "m=", "top=v of top", "z/9=v of z/9"}; !slices.Equal(got, want) {
		t.Errorf("flat: %q", got)
	}
}

func TestSDKServiceSAS(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	w.put("/ccc/g", "other")
	b := w.clients()["shared key"]().ServiceClient().NewContainerClient("ccc").NewBlobClient("f")
	u, err := b.GetSASURL(sas.BlobPermissions{Read: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := w.do("GET", u, ""); a.StatusCode != 200 || string(a.body) != "hello" {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for what, a := range map[string]answer{
		"another blob":      w.do("GET", strings.Replace(u, "/f?", "/g?", 1), ""),
		"altered":           w.do("GET", strings.Replace(u, "sp=r", "sp=rw", 1), ""),
		"another container": w.do("GET", strings.Replace(u, "/ccc/", "/ddd/", 1), ""),
	} {
		if a.StatusCode != 403 || a.code() != "AuthenticationFailed" {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.code())
		}
	}
	if a := w.do("DELETE", u, ""); a.StatusCode != 403 || a.code() != "AuthorizationPermissionMismatch" {
		t.Errorf("delete: %d %s", a.StatusCode, a.code())
	}
	w.clock.Advance(2 * time.Hour)
	if a := w.do("GET", u, ""); a.StatusCode != 403 || !strings.HasPrefix(a.error(t).AuthenticationErrorDetail, "Signature not valid in the specified time frame") {
		t.Errorf("expired: %d %s", a.StatusCode, a.body)
	}
}

func TestSDKUserDelegationSAS(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	ctx := context.Background()
	c, err := service.NewClient(blobURL, fakeCredential{w, alice}, &service.ClientOptions{ClientOptions: w.clientOptions().ClientOptions})
	if err != nil {
		t.Fatal(err)
	}
	start, expiry := w.clock.Now().Add(-time.Minute), w.clock.Now().Add(time.Hour)
	info := service.KeyInfo{Start: to.Ptr(start.UTC().Format(sas.TimeFormat)), Expiry: to.Ptr(expiry.UTC().Format(sas.TimeFormat))}
	if _, err := c.GetUserDelegationCredential(ctx, info, nil); !bloberror.HasCode(err, "AuthorizationPermissionMismatch") {
		t.Fatalf("without a role: %v", err)
	}
	w.rbac.allow(alice, provider+"blobServices/generateUserDelegationKey/action", false, accountID)
	cred, err := c.GetUserDelegationCredential(ctx, info, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := sas.BlobSignatureValues{Protocol: sas.ProtocolHTTPS, StartTime: start, ExpiryTime: expiry,
		Permissions: "rw", ContainerName: "ccc", BlobName: "f"}.SignWithUserDelegation(cred)
	if err != nil {
		t.Fatal(err)
	}
	u := blobURL + "/ccc/f?" + q.Encode()
	// The signature is good, but it is worth no more than its signer's roles.
	if a := w.do("GET", u, ""); a.StatusCode != 403 || a.code() != "AuthorizationPermissionMismatch" {
		t.Fatalf("signer without role: %d %s", a.StatusCode, a.body)
	}
	w.rbac.allow(alice, readBlobs, true, accountID)
	if a := w.do("GET", u, ""); a.StatusCode != 200 || string(a.body) != "hello" {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do("PUT", u, "x", "x-ms-blob-type", "BlockBlob"); a.code() != "AuthorizationPermissionMismatch" {
		t.Errorf("write beyond the signer: %d %s", a.StatusCode, a.code())
	}
	if a := w.do("GET", strings.Replace(u, "sp=rw", "sp=rwd", 1), ""); a.code() != "AuthenticationFailed" {
		t.Errorf("altered: %d %s", a.StatusCode, a.code())
	}
}

func TestSDKCopy(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", strings.Repeat("x", 9000), "x-ms-meta-k", "v")
	ctx := context.Background()
	c := w.clients()["shared key"]().ServiceClient().NewContainerClient("ccc")
	res, err := c.NewBlobClient("copy").StartCopyFromURL(ctx, c.NewBlobClient("f").URL(), nil)
	if err != nil || *res.CopyStatus != sdkblob.CopyStatusTypeSuccess {
		t.Fatalf("%+v %v", res, err)
	}
	if a := w.own("DELETE", "/ccc/f", ""); a.StatusCode != http.StatusAccepted {
		t.Fatal(a.StatusCode)
	}
	a := w.own("GET", "/ccc/copy", "")
	if len(a.body) != 9000 || a.Header.Get("x-ms-meta-k") != "v" || a.Header.Get("x-ms-copy-status") != "success" {
		t.Errorf("%d bytes %v", len(a.body), a.Header)
	}
	// Another account's blob needs a credential of its own.
	if _, err := c.NewBlobClient("stolen").StartCopyFromURL(ctx, "https://other.blob.core.windows.net/ccc/f", nil); err == nil {
		t.Error("copied from another account without a credential")
	}
	if a := w.do("PUT", blobURL+"/ccc/again?"+SAS(*w.accounts[acct], "ccc", "again", "cw", time.Time{}, w.clock.Now().Add(time.Hour)), "",
		"x-ms-version", "2021-12-02", "x-ms-copy-source", blobURL+"/ccc/copy"); a.StatusCode == 202 {
		t.Error("a SAS for one blob read another")
	}
	src := blobURL + "/ccc/copy?" + SAS(*w.accounts[acct], "ccc", "copy", "r", time.Time{}, w.clock.Now().Add(time.Hour))
	if a := w.do("PUT", blobURL+"/ccc/again?"+SAS(*w.accounts[acct], "ccc", "again", "cw", time.Time{}, w.clock.Now().Add(time.Hour)), "",
		"x-ms-version", "2021-12-02", "x-ms-copy-source", src); a.StatusCode != 202 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestSDKPublicAccess(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	ctx := context.Background()
	c := w.clients()["shared key"]().ServiceClient().NewContainerClient("ccc")
	if _, err := c.SetAccessPolicy(ctx, &sdkcontainer.SetAccessPolicyOptions{Access: to.Ptr(sdkcontainer.PublicAccessTypeBlob)}); err != nil {
		t.Fatal(err)
	}
	if p, err := c.GetAccessPolicy(ctx, nil); err != nil || *p.BlobPublicAccess != sdkcontainer.PublicAccessTypeBlob {
		t.Fatalf("%+v %v", p, err)
	}
	if a := w.do("GET", blobURL+"/ccc/f", ""); a.StatusCode != 200 {
		t.Errorf("public blob: %d", a.StatusCode)
	}
	policy := []*sdkcontainer.SignedIdentifier{{ID: to.Ptr("p"), AccessPolicy: &sdkcontainer.AccessPolicy{Permission: to.Ptr("r")}}}
	if _, err := c.SetAccessPolicy(ctx, &sdkcontainer.SetAccessPolicyOptions{ContainerACL: policy}); !bloberror.HasCode(err, "NotImplemented") {
		t.Errorf("stored policy: %v", err)
	}
	if a := w.own("GET", "/ccc?restype=container&comp=acl", ""); a.code() != "AuthorizationResourceTypeMismatch" {
		t.Errorf("ACL by SAS: %d %s", a.StatusCode, a.code())
	}
}
