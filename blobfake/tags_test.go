package blobfake

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	sdkblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	sdkcontainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/amlocal/amlocal/internal/covers"
)

func sdkTags(t *testing.T, b *sdkblob.Client) map[string]string {
	t.Helper()
	got, err := b.GetTags(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{}
	for _, one := range got.BlobTagSet {
		tags[*one.Key] = *one.Value
	}
	return tags
}

func TestSDKTags(t *testing.T) {
	covers.C(t, client)
	w := newWorld(t)
	w.container("ccc", Private)
	ctx := context.Background()
	c := w.clients()["shared key"]().ServiceClient().NewContainerClient("ccc")
	block := c.NewBlockBlobClient("a")
	first := map[string]string{"Project": "Cas cade+1", "project": "a=b:c/d_e.f-g", "empty": ""}
	if _, err := block.UploadBuffer(ctx, []byte("x"), &blockblob.UploadBufferOptions{Tags: first}); err != nil {
		t.Fatal(err)
	}
	b := c.NewBlobClient("a")
	if got := sdkTags(t, b); !maps.Equal(got, first) {
		t.Errorf("uploaded with %v", got)
	}
	before, err := b.GetProperties(ctx, nil)
	if err != nil || before.TagCount == nil || *before.TagCount != 3 {
		t.Fatalf("%+v %v", before, err)
	}
	if _, err := b.SetTags(ctx, map[string]string{"k": "v"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := sdkTags(t, b); !maps.Equal(got, map[string]string{"k": "v"}) {
		t.Errorf("set to %v", got)
	}
	after, err := b.GetProperties(ctx, nil)
	if err != nil || *after.TagCount != 1 || *after.ETag != *before.ETag {
		t.Errorf("tags changed the blob: %+v %v", after, err)
	}

	// Lists name them on demand, copies leave them behind, a new upload drops them.
	page, err := c.NewListBlobsFlatPager(&sdkcontainer.ListBlobsFlatOptions{Include: sdkcontainer.ListBlobsInclude{Tags: true}}).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if item := page.Segment.BlobItems[0]; *item.Properties.TagCount != 1 || *item.BlobTags.BlobTagSet[0].Key != "k" {
		t.Errorf("listed as %+v", item)
	}
	if _, err := c.NewBlobClient("copy").StartCopyFromURL(ctx, b.URL(), nil); err != nil {
		t.Fatal(err)
	}
	if got := sdkTags(t, c.NewBlobClient("copy")); len(got) != 0 {
		t.Errorf("the copy has %v", got)
	}
	if _, err := c.NewBlobClient("tagged").StartCopyFromURL(ctx, b.URL(), &sdkblob.StartCopyFromURLOptions{BlobTags: map[string]string{"of": "copy"}}); err != nil {
		t.Fatal(err)
	}
	if got := sdkTags(t, c.NewBlobClient("tagged")); got["of"] != "copy" || len(got) != 1 {
		t.Errorf("the tagged copy has %v", got)
	}
	w.put("/ccc/a", "again")
	if a := w.own("HEAD", "/ccc/a", ""); a.Header.Get("x-ms-tag-count") != "" || len(sdkTags(t, b)) != 0 {
		t.Errorf("tags outlived an upload: %v", a.Header)
	}
	// In blocks.
	if _, err := block.UploadStream(ctx, strings.NewReader(strings.Repeat("x", 3<<20)), &azblob.UploadStreamOptions{BlockSize: 1 << 20, Tags: map[string]string{"in": "blocks"}}); err != nil {
		t.Fatal(err)
	}
	if got := sdkTags(t, b); got["in"] != "blocks" {
		t.Errorf("uploaded in blocks with %v", got)
	}
	if _, err := b.SetTags(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := sdkTags(t, b); len(got) != 0 {
		t.Errorf("emptied to %v", got)
	}
}

// tagSAS is an account SAS that may tag.
func (w *world) tagSAS() string {
	return AccountSAS(*w.accounts[acct], "sco", "rwdlact", time.Time{}, w.clock.Now().Add(time.Hour))
}

func TestTagLimits(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "x")
	many := func(n int) (list []tag) {
		for i := range n {
			list = append(list, tag{fmt.Sprintf("k%d", i), "v"})
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		list   []tag
		status int
		code   string
	}{
		{"ten", many(10), 204, ""},
		{"longest", []tag{{strings.Repeat("k", 128), strings.Repeat("v", 256)}}, 204, ""},
		{"all characters", []tag{{"azAZ09 +-./:=_", " +-./:=_"}}, 204, ""},
		{"eleven", many(11), 400, "TagsTooLarge"},
		{"long name", []tag{{strings.Repeat("k", 129), ""}}, 400, "TagsTooLarge"},
		{"long value", []tag{{"k", strings.Repeat("v", 257)}}, 400, "TagsTooLarge"},
		{"no name", []tag{{"", "v"}}, 400, "EmptyTagName"},
		{"twice", []tag{{"k", "1"}, {"k", "2"}}, 400, "DuplicateTagNames"},
		{"character", []tag{{"k", "a&b"}}, 400, "InvalidTag"},
		{"character of a name", []tag{{"k\u00e9", "a"}}, 400, "InvalidTag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, header := "<Tags><TagSet>", []string{}
			for _, one := range tt.list {
				body += "<Tag><Key>" + one.Key + "</Key><Value>" + strings.ReplaceAll(one.Value, "&", "&amp;") + "</Value></Tag>"
				header = append(header, url.QueryEscape(one.Key)+"="+url.QueryEscape(one.Value))
			}
			a := w.do("PUT", blobURL+"/ccc/f?comp=tags&"+w.tagSAS(), body+"</TagSet></Tags>", "x-ms-version", "2021-12-02")
			if a.StatusCode != tt.status || a.code() != tt.code {
				t.Errorf("as a body: %d %s: %s", a.StatusCode, a.code(), a.body)
			}
			want := map[bool]int{true: 201, false: tt.status}[tt.status == 204]
			a = w.do("PUT", blobURL+"/ccc/g?"+w.tagSAS(), "x", "x-ms-version", "2021-12-02", "x-ms-blob-type", "BlockBlob", "x-ms-tags", strings.Join(header, "&"))
			if a.StatusCode != want || a.code() != tt.code {
				t.Errorf("as a header: %d %s: %s", a.StatusCode, a.code(), a.body)
			}
		})
	}
	for body, code := range map[string]string{
		"": "InvalidXmlDocument", "<Tags>": "InvalidXmlDocument", "<Tags/>": "InvalidXmlDocument", "<TagSet/>": "InvalidXmlDocument",
		"<Tags><TagSet/></Tags><Tags/>": "InvalidXmlDocument", "<Tags><TagSet/></Tags>": "",
	} {
		if a := w.do("PUT", blobURL+"/ccc/f?comp=tags&"+w.tagSAS(), body, "x-ms-version", "2021-12-02"); a.code() != code {
			t.Errorf("%q: %d %s", body, a.StatusCode, a.code())
		}
	}
	for _, header := range []string{"a", "a=%zz"} {
		if a := w.do("PUT", blobURL+"/ccc/g?"+w.tagSAS(), "x", "x-ms-version", "2021-12-02", "x-ms-blob-type", "BlockBlob", "x-ms-tags", header); a.code() != "InvalidHeaderValue" {
			t.Errorf("%q: %d %s", header, a.StatusCode, a.code())
		}
	}
	for path, code := range map[string]string{"/ccc/none": "BlobNotFound", "/ddd/f": "ContainerNotFound"} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			if a := w.do(method, blobURL+path+"?comp=tags&"+w.tagSAS(), "<Tags><TagSet/></Tags>", "x-ms-version", "2021-12-02"); a.code() != code {
				t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.code())
			}
		}
	}
}

// TestTagRights: tags need a right of their own, with a blob's content too.
func TestTagRights(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "x")
	const set = "<Tags><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tags>"
	type call struct {
		name, method, path, body string
		headers                  []string
		right                    string
		status                   int
	}
	calls := []call{
		{"read", "GET", "/ccc/f?comp=tags", "", nil, readTags, 200},
		{"write", "PUT", "/ccc/f?comp=tags", set, nil, writeTags, 204},
		{"upload", "PUT", "/ccc/g?x=", "x", []string{"x-ms-blob-type", "BlockBlob", "x-ms-tags", "k=v"}, writeTags, 201},
		{"list", "GET", "/ccc?restype=container&comp=list&include=tags", "", nil, readTags, 200},
	}
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			w.rbac.clear()
			for _, action := range []string{readBlobs, writeBlobs, addBlobs, deleteBlobs} {
				w.rbac.allow(alice, action, true, accountID)
			}
			ask := func(credential ...string) answer {
				path := c.path
				if len(credential) == 1 {
					path += "&" + credential[0]
				}
				headers := append([]string{"x-ms-version", "2021-12-02"}, c.headers...)
				if len(credential) == 2 {
					headers = append(headers, credential...)
				}
				return w.do(c.method, blobURL+path, c.body, headers...)
			}
			bearer := "Bearer " + w.tokens.sign(alice, storageID, nil)
			if a := ask("Authorization", bearer); a.code() != "AuthorizationPermissionMismatch" {
				t.Errorf("without the role: %d %s", a.StatusCode, a.body)
			}
			w.rbac.allow(alice, c.right, true, accountID)
			if a := ask("Authorization", bearer); a.StatusCode != c.status {
				t.Errorf("with the role: %d %s", a.StatusCode, a.body)
			}
			if a := ask(w.sas()); a.code() != "AuthorizationPermissionMismatch" {
				t.Errorf("a signature without t: %d %s", a.StatusCode, a.body)
			}
			if a := ask(w.tagSAS()); a.StatusCode != c.status {
				t.Errorf("a signature with t: %d %s", a.StatusCode, a.body)
			}
			if a := ask(); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("anonymous: %d %s", a.StatusCode, a.body)
			}
		})
	}
	if a := w.own("GET", "/?comp=blobs&where=k%3D%27v%27", ""); a.code() != "AuthorizationPermissionMismatch" {
		t.Errorf("find without f: %d %s", a.StatusCode, a.body)
	}
}

func FuzzTags(f *testing.F) {
	f.Add("a=b&c=d", "<Tags><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tags>")
	f.Add("=&a=a&", "<Tags/><x>")
	f.Fuzz(func(t *testing.T, header, body string) {
		for _, read := range []func() (map[string]string, error){
			func() (map[string]string, error) { return headerTags(http.Header{"X-Ms-Tags": {header}}) },
			func() (map[string]string, error) { return parseTags([]byte(body)) },
		} {
			tags, err := read()
			if err != nil {
				continue
			}
			if len(tags) > maxTags {
				t.Fatalf("%d tags", len(tags))
			}
			for k, v := range tags {
				if k == "" || len(k) > maxTagName || len(v) > maxTagValue || strings.ContainsFunc(k+v, notOfTags) {
					t.Fatalf("%q=%q", k, v)
				}
			}
		}
	})
}
