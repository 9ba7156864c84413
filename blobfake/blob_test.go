package blobfake

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/store"
)

func TestRanges(t *testing.T) {
	covers.R(t, "R-513")
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "0123456789")
	w.put("/ccc/empty", "")
	w.put("/ccc/big", strings.Repeat("0123456789", 1000))
	for _, tc := range []struct {
		blob, header, value string
		status              int
		body, contentRange  string
	}{
		{"f", "x-ms-range", "bytes=0-33554431", 206, "0123456789", "bytes 0-9/10"},
		{"f", "Range", "bytes=2-4", 206, "234", "bytes 2-4/10"},
		{"f", "Range", "bytes=7-", 206, "789", "bytes 7-9/10"},
		{"f", "Range", "bytes=9-9", 206, "9", "bytes 9-9/10"},
		{"f", "Range", "bytes=10-", 416, "", "bytes */10"},
		{"f", "Range", "bytes=4-2", 400, "", ""},
		{"f", "Range", "bytes=-3", 400, "", ""},
		{"f", "Range", "bytes=0-1,3-4", 400, "", ""},
		{"big", "Range", "bytes=9998-20000", 206, "89", "bytes 9998-9999/10000"},
		{"empty", "x-ms-range", "bytes=0-33554431", 416, "", "bytes */0"},
		{"empty", "x-none", "", 200, "", ""},
	} {
		t.Run(tc.blob+" "+tc.value, func(t *testing.T) {
			a := w.own("GET", "/ccc/"+tc.blob, "", tc.header, tc.value)
			if a.StatusCode != tc.status || a.Header.Get("Content-Range") != tc.contentRange {
				t.Fatalf("%d %q", a.StatusCode, a.Header.Get("Content-Range"))
			}
			switch tc.status {
			case 416:
				if a.code() != "InvalidRange" {
					t.Error(a.code())
				}
			case 400:
				if a.code() != "InvalidHeaderValue" {
					t.Error(a.code())
				}
			default:
				if string(a.body) != tc.body {
					t.Errorf("body %q", a.body)
				}
			}
		})
	}
	// Of two ranges x-ms-range counts.
	if a := w.own("GET", "/ccc/f", "", "Range", "bytes=0-0", "x-ms-range", "bytes=1-1"); string(a.body) != "1" {
		t.Errorf("x-ms-range: %q", a.body)
	}
	a := w.own("GET", "/ccc/f", "", "Range", "bytes=2-4", "x-ms-range-get-content-md5", "true")
	if a.Header.Get("Content-MD5") != md5Of("234") || a.Header.Get("x-ms-blob-content-md5") != md5Of("0123456789") {
		t.Errorf("MD5s: %v", a.Header)
	}
	if a := w.own("HEAD", "/ccc/f", "", "Range", "bytes=2-4"); a.StatusCode != 200 || a.ContentLength != 10 {
		t.Errorf("HEAD with a range: %d %d", a.StatusCode, a.ContentLength)
	}
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	tag := w.put("/ccc/f", "one").Header.Get("ETag")
	modified := w.own("HEAD", "/ccc/f", "").Header.Get("Last-Modified")
	before := w.clock.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		method, path, header, value string
		status                      int
		code                        string
	}{
		{"GET", "/ccc/f", "If-Match", tag, 200, ""},
		{"GET", "/ccc/f", "If-Match", strings.Trim(tag, `"`), 200, ""},
		{"GET", "/ccc/f", "If-Match", `"0x0"`, 412, "ConditionNotMet"},
		{"GET", "/ccc/f", "If-None-Match", tag, 304, "ConditionNotMet"},
		{"GET", "/ccc/f", "If-None-Match", `"0x0"`, 200, ""},
		{"HEAD", "/ccc/f", "If-None-Match", tag, 304, "ConditionNotMet"},
		{"GET", "/ccc/f", "If-Modified-Since", modified, 304, "ConditionNotMet"},
		{"GET", "/ccc/f", "If-Modified-Since", before, 200, ""},
		{"GET", "/ccc/f", "If-Unmodified-Since", before, 412, "ConditionNotMet"},
		{"GET", "/ccc/f", "If-Unmodified-Since", modified, 200, ""},
		{"GET", "/ccc/f", "If-Modified-Since", "soon", 400, "InvalidHeaderValue"},
		{"PUT", "/ccc/f", "If-None-Match", "*", 409, "BlobAlreadyExists"},
		{"PUT", "/ccc/f", "If-Match", `"0x0"`, 412, "ConditionNotMet"},
		{"PUT", "/ccc/new", "If-Match", "*", 412, "ConditionNotMet"},
		{"PUT", "/ccc/new", "If-None-Match", "*", 201, ""},
		{"PUT", "/ccc/f?comp=metadata", "If-Match", `"0x0"`, 412, "ConditionNotMet"},
		{"PUT", "/ccc/f?comp=properties", "If-None-Match", tag, 412, "ConditionNotMet"},
		{"DELETE", "/ccc/f", "If-Match", `"0x0"`, 412, "ConditionNotMet"},
		{"DELETE", "/ccc/f", "If-Match", tag, 202, ""},
	} {
		t.Run(tc.method+tc.path+" "+tc.header+" "+tc.value, func(t *testing.T) {
			a := w.own(tc.method, tc.path, "", tc.header, tc.value, "x-ms-blob-type", "BlockBlob")
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("%d %s: %s", a.StatusCode, a.code(), a.body)
			}
		})
	}
	if w.own("PUT", "/ccc/new?comp=blocklist", "<BlockList/>", "If-None-Match", "*").code() != "BlobAlreadyExists" {
		t.Error("Put Block List ignored If-None-Match")
	}
}

func TestPutBlobChecks(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	for _, tc := range []struct {
		name    string
		headers []string
		status  int
		code    string
	}{
		{"right MD5", []string{"Content-MD5", md5Of("data")}, 201, ""},
		{"wrong MD5", []string{"Content-MD5", md5Of("else")}, 400, "Md5Mismatch"},
		{"not an MD5", []string{"Content-MD5", "abc"}, 400, "InvalidMd5"},
		{"wrong CRC", []string{"x-ms-content-crc64", "AAAAAAAAAAA="}, 400, "Crc64Mismatch"},
		{"page blob", []string{"x-ms-blob-type", "PageBlob"}, 501, "NotImplemented"},
		{"odd type", []string{"x-ms-blob-type", "Blob"}, 400, "InvalidHeaderValue"},
		{"no type", []string{"x-ms-blob-type", ""}, 400, "MissingRequiredHeader"},
		{"bad metadata", []string{"x-ms-meta-a-b", "1"}, 400, "InvalidMetadata"},
		{"much metadata", []string{"x-ms-meta-a", strings.Repeat("m", 9000)}, 400, "MetadataTooLarge"},
		{"lease", []string{"x-ms-lease-id", "1"}, 412, "LeaseNotPresentWithBlobOperation"},
		{"customer key", []string{"x-ms-encryption-key", "k"}, 501, "NotImplemented"},
		{"tags without the right to", []string{"x-ms-tags", "a=b"}, 403, "AuthorizationPermissionMismatch"},
		{"condition on tags", []string{"x-ms-if-tags", "a='b'"}, 501, "NotImplemented"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.own("PUT", "/ccc/f", "data", append([]string{"x-ms-blob-type", "BlockBlob"}, tc.headers...)...)
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("%d %s: %s", a.StatusCode, a.code(), a.body)
			}
			if tc.status == 201 && (a.Header.Get("ETag") == "" || a.Header.Get("Last-Modified") == "" || a.Header.Get("Content-MD5") != md5Of("data")) {
				t.Errorf("%v", a.Header)
			}
		})
	}
	req, _ := http.NewRequest("PUT", blobURL+"/ccc/chunked?"+w.sas(), struct{ io.Reader }{strings.NewReader("x")})
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	res, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 411 {
		t.Errorf("chunked: %d", res.StatusCode)
	}
}

func TestProperties(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "data", "x-ms-blob-content-type", "text/csv", "x-ms-blob-cache-control", "no-cache", "x-ms-blob-content-language", "de")
	h := w.own("HEAD", "/ccc/f", "").Header
	for name, want := range map[string]string{
		"Content-Type": "text/csv", "Cache-Control": "no-cache", "Content-Language": "de", "Content-MD5": md5Of("data"),
		"x-ms-blob-type": "BlockBlob", "x-ms-server-encrypted": "true", "x-ms-lease-state": "available", "Accept-Ranges": "bytes",
		"Server": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0", "x-ms-access-tier": "Hot",
	} {
		if h.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, h.Get(name), want)
		}
	}
	if a := w.own("PUT", "/ccc/f?comp=properties", "", "x-ms-blob-content-type", "text/html"); a.StatusCode != 200 {
		t.Fatal(a.StatusCode)
	}
	h = w.own("HEAD", "/ccc/f", "", "x-ms-client-request-id", "mine").Header
	if h.Get("Content-Type") != "text/html" || h.Get("Cache-Control") != "" || h.Get("x-ms-client-request-id") != "mine" {
		t.Errorf("%v", h)
	}
	w.put("/ccc/plain", "data")
	if got := w.own("HEAD", "/ccc/plain", "").Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("default type %q", got)
	}
}

// azure-ai-ml looks for upload_status in the header names as they came over
// the wire.
func TestMetadataHeadersAreLowerCaseOnTheWire(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "x")
	if a := w.own("PUT", "/ccc/f?comp=metadata", "", "X-Ms-Meta-Upload_Status", "completed", "x-ms-meta-name", "n"); a.StatusCode != 200 {
		t.Fatal(a.StatusCode)
	}
	conn, err := tls.Dial("tcp", w.tls.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "HEAD /ccc/f?%s HTTP/1.1\r\nHost: acct.blob.core.windows.net\r\nConnection: close\r\n\r\n", w.sas())
	raw, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\r\nx-ms-meta-upload_status: completed\r\n", "\r\nx-ms-meta-name: n\r\n"} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("no %q in\n%s", want, raw)
		}
	}
}

func TestContainerDocuments(t *testing.T) {
	w := newWorld(t)
	if a := w.own("PUT", "/ccc?restype=container", "", "x-ms-meta-k", "v", "x-ms-blob-public-access", "blob"); a.StatusCode != 201 || a.Header.Get("ETag") == "" {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	h := w.own("HEAD", "/ccc?restype=container", "").Header
	if h.Get("x-ms-meta-k") != "v" || h.Get("x-ms-blob-public-access") != "blob" {
		t.Errorf("%v", h)
	}
	w.own("PUT", "/ccc?restype=container&comp=metadata", "", "x-ms-meta-k", "w")
	if a := w.own("GET", "/?comp=list&include=metadata&prefix=c", ""); !bytes.Contains(a.body, []byte("<Metadata><k>w</k></Metadata>")) ||
		!bytes.Contains(a.body, []byte("<PublicAccess>blob</PublicAccess>")) {
		t.Errorf("%s", a.body)
	}
	for name, code := range map[string]string{"UP": "OutOfRangeInput", "Upper": "InvalidResourceName", "a--b": "InvalidResourceName", "-ab": "InvalidResourceName", "a_b": "InvalidResourceName"} {
		if a := w.own("PUT", "/"+name+"?restype=container", ""); a.code() != code {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.code())
		}
	}
	for _, q := range []string{"maxresults=0", "maxresults=x", "include=everything", "marker=x"} {
		if a := w.own("GET", "/ccc?restype=container&comp=list&"+q, ""); a.StatusCode != 400 {
			t.Errorf("%s: %d", q, a.StatusCode)
		}
	}
	if a := w.own("GET", "/?restype=service&comp=properties", ""); a.StatusCode != 200 || !bytes.Contains(a.body, []byte("<StorageServiceProperties>")) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.own("GET", "/?restype=account&comp=properties", ""); a.Header.Get("x-ms-account-kind") != "StorageV2" {
		t.Errorf("%v", a.Header)
	}
}

// files counts the content files below the temporary folder, once the store
// has dropped what a commit left without references.
func (w *world) files() int {
	w.t.Helper()
	w.update(func(store.Tx) error { return nil })
	matches, err := filepath.Glob(filepath.Join(os.TempDir(), "amlocal-store-*", "files", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(matches)
}

func TestControlPlaneAndReferences(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // so that files can be counted
	w := newWorld(t)
	w.container("ccc", Private)
	w.container("ddd", Private)
	data := strings.Repeat("d", 10000)
	w.put("/ccc/f", data)
	w.put("/ddd/same", data)
	w.own("PUT", "/ccc/g?comp=block&blockid=AAAA", strings.Repeat("e", 10000))
	if n := w.files(); n != 2 {
		t.Fatalf("%d files, want 2: equal content is kept once", n)
	}
	w.update(func(tx store.Tx) error {
		created, err := w.svc.CreateContainer(tx, acct, "ccc", Private, nil)
		if created {
			t.Error("created twice")
		}
		return err
	})
	w.put("/ccc/f", "small now")
	if a := w.own("GET", "/ddd/same", ""); string(a.body) != data {
		t.Fatal("shared content is gone")
	}
	if err := w.store.View(context.Background(), func(tx store.ReadTx) error {
		list, err := w.svc.Containers(tx, acct)
		if err == nil && (len(list) != 2 || list[0].Name != "ccc" || list[1].Name != "ddd") {
			t.Errorf("%+v", list)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.update(func(tx store.Tx) error { return w.svc.DeleteAccount(tx, acct) })
	if n := w.files(); n != 0 {
		t.Errorf("%d files left after the account", n)
	}
	if a := w.own("GET", "/ccc/f", ""); a.code() != "ContainerNotFound" {
		t.Error(a.code())
	}
}

func TestUncommittedBlocksExpire(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.own("PUT", "/ccc/f?comp=block&blockid=AAAA", "data")
	list := "<BlockList><Uncommitted>AAAA</Uncommitted></BlockList>"
	w.clock.Advance(8 * 24 * time.Hour)
	if a := w.own("PUT", "/ccc/f?comp=blocklist", list); a.code() != "InvalidBlockList" {
		t.Errorf("a week later: %d %s", a.StatusCode, a.code())
	}
	again, err := New(w.deps())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	_ = w.store.View(context.Background(), func(tx store.ReadTx) error {
		if keys := keysBelow(tx, blockBucket, nil); len(keys) != 0 {
			t.Errorf("%d blocks survived the start", len(keys))
		}
		return nil
	})
}

// Readers see one revision or another, whole, whatever writers do.
func TestReadersAndWriters(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	content := func(c string) string { return strings.Repeat(c, 20000) }
	w.put("/ccc/f", content("a"))
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := range 15 {
				w.put("/ccc/f", content(string(rune('a'+(n+i)%26))))
			}
		})
		wg.Go(func() {
			for range 40 {
				a := w.own("GET", "/ccc/f", "")
				if a.StatusCode != 200 || len(a.body) != 20000 || strings.Trim(string(a.body), string(a.body[:1])) != "" {
					t.Errorf("torn read: %d, %d bytes", a.StatusCode, len(a.body))
				}
				if a.Header.Get("Content-MD5") != md5Of(string(a.body)) {
					t.Error("headers of one revision, body of another")
				}
			}
		})
	}
	wg.Wait()
}

// A client that waits for "100 Continue" has not sent its body: the refusal
// must not wait for it.
func TestRefusalBeforeContinue(t *testing.T) {
	w := newWorld(t)
	conn, err := tls.Dial("tcp", w.tls.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprint(conn, "PUT /ccc/f HTTP/1.1\r\nHost: acct.blob.core.windows.net\r\nx-ms-version: 2021-12-02\r\n"+
		"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 401 || res.Header.Get("x-ms-error-code") != "NoAuthenticationInformation" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
