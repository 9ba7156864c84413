package blobfake

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
)

const challenge = "Bearer authorization_uri=https://login.microsoftonline.com/" + tenant +
	"/oauth2/authorize resource_id=https://storage.azure.com"

// bearerWorld has container c with blob f that alice may read.
func bearerWorld(t *testing.T) *world {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	w.rbac.allow(alice, readBlobs, true, accountID)
	return w
}

func (w *world) get(token, version string, extra ...string) answer {
	w.t.Helper()
	headers := append([]string{"Authorization", "Bearer " + token}, extra...)
	if version != "" {
		headers = append(headers, "x-ms-version", version)
	}
	return w.do("GET", blobURL+"/ccc/f", "", headers...)
}

func TestBearerVectors(t *testing.T) {
	covers.R(t, "R-512", "R-514", "R-515", "R-1014", "R-1015", "R-1016", "R-1017")
	w := bearerWorld(t)
	const lifetime = "Lifetime validation failed. The token is expired."
	const audience = "Audience validation failed. Audience did not match."
	const unsupported = "Authentication scheme Bearer is not supported in this version."
	expired := func(c jwt.MapClaims) { c["exp"] = w.clock.Now().Add(-time.Minute).Unix() }
	good := w.tokens.sign(alice, storageID, nil)
	for _, tc := range []struct {
		name, token, version string
		status               int
		code, detail         string
		challenged           bool
	}{
		{"S02 audience without slash", good, "2021-12-02", 200, "", "", false},
		{"S01 audience with slash", w.tokens.sign(alice, storageID+"/", nil), "2019-02-02", 200, "", "", false},
		{"audience by id", w.tokens.sign(alice, "e406a681-f3d4-42a8-90b6-c2b029497af1", nil), "2021-12-02", 200, "", "", false},
		{"S03 own account", w.tokens.sign(alice, blobURL, nil), "2021-12-02", 200, "", "", false},
		{"S03 own account, slash", w.tokens.sign(alice, blobURL+"/", nil), "2021-12-02", 200, "", "", false},
		{"S03 other account", w.tokens.sign(alice, "https://other.blob.core.windows.net", nil), "2021-12-02", 401, "InvalidAuthenticationInfo", audience, true},
		{"S04 management", w.tokens.sign(alice, "https://management.azure.com", nil), "2021-12-02", 401, "InvalidAuthenticationInfo", audience, true},
		{"S05 management, old", w.tokens.sign(alice, "https://management.azure.com", nil), "2019-02-02", 403, "AuthenticationFailed", audience, false},
		{"vault", w.tokens.sign(alice, "https://vault.azure.net", nil), "2021-12-02", 401, "InvalidAuthenticationInfo", audience, true},
		{"S06 expired", w.tokens.sign(alice, storageID, expired), "2021-12-02", 401, "InvalidAuthenticationInfo", lifetime, true},
		{"expired, old", w.tokens.sign(alice, storageID, expired), "2019-02-02", 403, "AuthenticationFailed", lifetime, false},
		{"S07 no version", good, "", 403, "AuthenticationFailed", unsupported, false},
		{"S07 too old", good, "2017-07-29", 403, "AuthenticationFailed", unsupported, false},
		{"oldest for bearer", good, "2017-11-09", 200, "", "", false},
		{"version of tomorrow", good, "2031-01-01", 200, "", "", false},
		{"S13 signature", good[:len(good)-8] + "AAAAAAAA", "2021-12-02", 401, "InvalidAuthenticationInfo", "Signature validation failed.", true},
		{"alg none", unsigned(t), "2021-12-02", 401, "InvalidAuthenticationInfo", "Signature validation failed.", true},
		{"issuer", w.tokens.sign(alice, storageID, func(c jwt.MapClaims) { c["iss"] = "https://sts.windows.net/else/" }), "2021-12-02", 401, "InvalidAuthenticationInfo", "Issuer validation failed. Issuer did not match.", true},
		{"malformed", "not-a-token", "2021-12-02", 401, "InvalidAuthenticationInfo", "Token validation failed. The token is malformed.", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.get(tc.token, tc.version)
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("got %d %s, want %d %s: %s", a.StatusCode, a.code(), tc.status, tc.code, a.body)
			}
			if got := a.Header.Get("WWW-Authenticate"); (got == challenge) != tc.challenged || !tc.challenged && got != "" {
				t.Errorf("WWW-Authenticate = %q", got)
			}
			if tc.version != "" && a.Header.Get("x-ms-version") != tc.version {
				t.Errorf("x-ms-version = %q", a.Header.Get("x-ms-version"))
			}
			if tc.status == 200 {
				if string(a.body) != "hello" {
					t.Errorf("body %q", a.body)
				}
				return
			}
			e := a.error(t)
			if e.Code != tc.code || e.AuthenticationErrorDetail != tc.detail {
				t.Errorf("body %+v", e)
			}
			if !strings.Contains(e.Message, "\nRequestId:"+a.Header.Get("x-ms-request-id")+"\nTime:") {
				t.Errorf("message %q", e.Message)
			}
			if a.Header.Get("Content-Type") != "application/xml" {
				t.Errorf("content type %q", a.Header.Get("Content-Type"))
			}
		})
	}
}

func unsigned(t *testing.T) string {
	raw, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"aud": storageID, "iss": issuer, "oid": alice.ObjectID,
		"exp": time.Now().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestHowToRestRead(t *testing.T) {
	covers.R(t, "R-514")
	w := bearerWorld(t)
	a := w.do("GET", blobURL+"/ccc/f?api-version=2019-04-01", "", "Authorization", "Bearer "+w.tokens.sign(alice, storageID+"/", nil),
		"x-ms-version", "2019-02-02", "x-ms-blob-type", "BlockBlob")
	if a.StatusCode != 200 || string(a.body) != "hello" || a.Header.Get("x-ms-version") != "2019-02-02" {
		t.Fatalf("%d %s %v", a.StatusCode, a.body, a.Header)
	}
}

func TestExpiryByMovingTheClock(t *testing.T) {
	covers.R(t, "R-1015")
	w := bearerWorld(t)
	token := w.tokens.sign(alice, storageID, nil)
	if a := w.get(token, "2021-12-02"); a.StatusCode != 200 {
		t.Fatalf("fresh: %d", a.StatusCode)
	}
	w.clock.Advance(2 * time.Hour)
	if a := w.get(token, "2021-12-02"); a.StatusCode != 401 {
		t.Fatalf("expired: %d", a.StatusCode)
	}
}

func TestBearerNeedsTLS(t *testing.T) {
	w := bearerWorld(t)
	a := w.do("GET", w.plain.URL+"/acct/ccc/f", "", "Authorization", "Bearer "+w.tokens.sign(alice, storageID, nil), "x-ms-version", "2021-12-02")
	if a.StatusCode != 403 || a.error(t).AuthenticationErrorDetail != "Authentication scheme Bearer is not allowed with HTTP." {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
}

func TestRoles(t *testing.T) {
	covers.R(t, "R-1001", "R-1002", "R-1003")
	w := bearerWorld(t)
	scope := accountID + "/blobServices/default/containers/ccc"
	for _, tc := range []struct {
		name   string
		grant  func()
		status int
	}{
		{"no role", func() {}, 403},
		{"reader on the container", func() { w.rbac.allow(alice, readBlobs, true, scope) }, 200},
		{"reader on the account", func() { w.rbac.allow(alice, readBlobs, true, accountID) }, 200},
		{"reader on another account", func() { w.rbac.allow(alice, readBlobs, true, w.accounts["other"].ResourceID) }, 403},
		{"reader on a sibling container", func() { w.rbac.allow(alice, readBlobs, true, scope+"d") }, 403},
		{"the same string as an action", func() { w.rbac.allow(alice, readBlobs, false, accountID) }, 403},
		{"reads containers only", func() { w.rbac.allow(alice, readContainers, false, accountID) }, 403},
		{"writes only", func() { w.rbac.allow(alice, writeBlobs, true, accountID) }, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.rbac.clear()
			tc.grant()
			a := w.get(w.tokens.sign(alice, storageID, nil), "2021-12-02")
			if a.StatusCode != tc.status {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if tc.status == 200 {
				return
			}
			if a.code() != "AuthorizationPermissionMismatch" || a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s, %q", a.code(), a.Header.Get("WWW-Authenticate"))
			}
			if e := a.error(t); !strings.HasPrefix(e.Message, "This request is not authorized to perform this operation using this permission.\n") {
				t.Errorf("message %q", e.Message)
			}
			denial, ok := w.audit.LastDenial()
			if !ok || denial.RequestID != a.Header.Get("x-ms-request-id") || denial.Caller.Principal.ObjectID != alice.ObjectID ||
				denial.Decisions[0].Check.Scope != scope {
				t.Errorf("audit %+v", denial)
			}
		})
	}
}

// Each operation asks RBAC for what the REST reference names.
func TestChecksPerOperation(t *testing.T) {
	w := newWorld(t)
	scope := accountID + "/blobServices/default/containers/ccc"
	token := w.tokens.sign(alice, storageID, nil)
	for _, tc := range []struct {
		method, path, action string
		data                 bool
		scope                string
	}{
		{"GET", "/?comp=list", readContainers, false, accountID},
		{"GET", "/?restype=service&comp=properties", provider + "blobServices/read", false, accountID},
		{"GET", "/?restype=account&comp=properties", provider + "blobServices/getInfo/action", false, accountID},
		{"POST", "/?restype=service&comp=userdelegationkey", provider + "blobServices/generateUserDelegationKey/action", false, accountID},
		{"PUT", "/ccc?restype=container", containerNoun + "write", false, scope},
		{"DELETE", "/ccc?restype=container", containerNoun + "delete", false, scope},
		{"HEAD", "/ccc?restype=container", readContainers, false, scope},
		{"GET", "/ccc?restype=container&comp=list", readBlobs, true, scope},
		{"PUT", "/ccc/f", writeBlobs, true, scope},
		{"PUT", "/ccc/f?comp=block&blockid=AAAA", writeBlobs, true, scope},
		{"PUT", "/ccc/f?comp=blocklist", writeBlobs, true, scope},
		{"PUT", "/ccc/f?comp=metadata", writeBlobs, true, scope},
		{"PUT", "/ccc/f?comp=tags", blobNoun + "tags/write", true, scope},
		{"GET", "/ccc/f?comp=tags", blobNoun + "tags/read", true, scope},
		{"DELETE", "/ccc/f", deleteBlobs, true, scope},
		{"HEAD", "/ccc/f", readBlobs, true, scope},
	} {
		t.Run(tc.method+tc.path, func(t *testing.T) {
			a := w.do(tc.method, blobURL+tc.path, "", "Authorization", "Bearer "+token, "x-ms-version", "2021-12-02")
			if a.StatusCode != 403 || a.code() != "AuthorizationPermissionMismatch" {
				t.Fatalf("%d %s", a.StatusCode, a.code())
			}
			d, _ := w.audit.LastDenial()
			want := azure.Check{Action: tc.action, Data: tc.data, Scope: tc.scope}
			if tc.data { // what conditions may read
				_, want.Blob, _ = strings.Cut(strings.TrimPrefix(strings.Split(tc.path, "?")[0], "/"), "/")
				switch {
				case want.Blob == "":
					want.SubOperation = "Blob.List"
				case tc.path == "/ccc/f" && tc.method == "PUT", strings.HasSuffix(tc.path, "=blocklist"):
					want.SubOperation = "Blob.Write.WithTagHeaders"
				}
			}
			if got := d.Decisions[0].Check; got != want {
				t.Errorf("checked %+v, want %+v", got, want)
			}
		})
	}
}

func TestAddCreatesButDoesNotReplace(t *testing.T) {
	w := bearerWorld(t)
	w.rbac.allow(alice, addBlobs, true, accountID)
	token := w.tokens.sign(alice, storageID, nil)
	for path, want := range map[string]int{"/ccc/new": 201, "/ccc/f": 403, "/ccc/new2?comp=block&blockid=AAAA": 201, "/ccc/f?comp=metadata": 403} {
		a := w.do("PUT", blobURL+path, "x", "Authorization", "Bearer "+token, "x-ms-version", "2021-12-02", "x-ms-blob-type", "BlockBlob")
		if a.StatusCode != want {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.code())
		}
	}
	if a := w.own("GET", "/ccc/f", ""); string(a.body) != "hello" {
		t.Errorf("replaced: %q", a.body)
	}
}

func TestAnonymous(t *testing.T) {
	covers.R(t, "R-1018")
	w := newWorld(t)
	w.container("private", Private)
	w.container("blobs", PublicBlobs)
	w.container("open", PublicContainer)
	for _, c := range []string{"private", "blobs", "open"} {
		w.put("/"+c+"/f", "hello")
	}
	get := func(path, version string) answer {
		if version == "" {
			return w.do("GET", blobURL+path, "")
		}
		return w.do("GET", blobURL+path, "", "x-ms-version", version)
	}
	for _, tc := range []struct {
		name, path, version string
		status              int
		code                string
	}{
		{"S09 private", "/private/f", "2021-12-02", 401, "NoAuthenticationInformation"},
		{"S10 private, old", "/private/f", "2019-02-02", 404, "ResourceNotFound"},
		{"browser", "/private/f", "", 404, "ResourceNotFound"},
		{"no such container", "/nowhere/f", "2021-12-02", 401, "NoAuthenticationInformation"},
		{"public blob", "/blobs/f", "2021-12-02", 200, ""},
		{"public blob, missing", "/blobs/g", "2021-12-02", 404, "BlobNotFound"},
		{"list of public blobs", "/blobs?restype=container&comp=list", "2021-12-02", 401, "NoAuthenticationInformation"},
		{"list of public container", "/open?restype=container&comp=list", "2021-12-02", 200, ""},
		{"blob of public container", "/open/f", "", 200, ""},
		{"account", "/?comp=list", "2021-12-02", 401, "NoAuthenticationInformation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := get(tc.path, tc.version)
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("%d %s: %s", a.StatusCode, a.code(), a.body)
			}
			if got := a.Header.Get("WWW-Authenticate"); (got == challenge) != (tc.status == 401) {
				t.Errorf("challenge %q", got)
			}
		})
	}
	if a := w.do("PUT", blobURL+"/open/g", "x", "x-ms-blob-type", "BlockBlob", "x-ms-version", "2021-12-02"); a.StatusCode != 401 {
		t.Errorf("anonymous write: %d", a.StatusCode)
	}
	w.accounts[acct].AllowBlobPublicAccess = false
	for _, version := range []string{"2021-12-02", "2019-02-02", ""} { // S11
		if a := get("/blobs/f", version); a.StatusCode != 409 || a.code() != "PublicAccessNotPermitted" {
			t.Errorf("S11 %q: %d %s", version, a.StatusCode, a.code())
		}
	}
	if a := w.own("PUT", "/later?restype=container", "", "x-ms-blob-public-access", "blob"); a.code() != "PublicAccessNotPermitted" {
		t.Errorf("create public: %d %s", a.StatusCode, a.code())
	}
}

func TestNotFound(t *testing.T) {
	covers.R(t, "R-1018")
	w := newWorld(t)
	w.container("ccc", Private)
	for _, tc := range []struct {
		method, path, code string
		status             int
	}{
		{"GET", "/ccc/nope", "BlobNotFound", 404},
		{"HEAD", "/ccc/nope", "BlobNotFound", 404},
		{"HEAD", "/ccc/folder/", "BlobNotFound", 404},
		{"DELETE", "/ccc/nope", "BlobNotFound", 404},
		{"GET", "/ddd/nope", "ContainerNotFound", 404},
		{"HEAD", "/ddd?restype=container", "ContainerNotFound", 404},
		{"DELETE", "/ddd?restype=container", "ContainerNotFound", 404},
		{"GET", "/ddd?restype=container&comp=list", "ContainerNotFound", 404},
		{"GET", "/UPPER/x", "InvalidResourceName", 400},
		{"GET", "/ccc/f?snapshot=2020-01-01", "BlobNotFound", 404},
		{"GET", "/ccc/f?comp=nonsense", "InvalidQueryParameterValue", 400},
		{"PATCH", "/ccc/f", "UnsupportedHttpVerb", 405},
		{"PUT", "/ccc/f?comp=lease", "NotImplemented", 501},
		{"PUT", "/ccc/f?comp=snapshot", "NotImplemented", 501},
	} {
		t.Run(tc.method+tc.path, func(t *testing.T) {
			a := w.own(tc.method, tc.path, "")
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("%d %s: %s", a.StatusCode, a.code(), a.body)
			}
			if tc.method == "HEAD" && len(a.body) != 0 {
				t.Errorf("HEAD has a body")
			}
		})
	}
	if a := w.do("GET", w.plain.URL+"/absent/ccc/f", ""); a.StatusCode != 404 || a.code() != "ResourceNotFound" {
		t.Errorf("missing account: %d %s", a.StatusCode, a.code())
	}
	if a := w.do("GET", blobURL+"/ccc/f", "", "x-ms-version", "yesterday"); a.StatusCode != 400 || a.code() != "InvalidHeaderValue" {
		t.Errorf("malformed version: %d %s", a.StatusCode, a.code())
	}
	if a := w.do("GET", blobURL+"/ccc/f", "", "Authorization", "Basic abc", "x-ms-version", "2021-12-02"); a.StatusCode != 400 || a.code() != "InvalidAuthenticationInfo" {
		t.Errorf("other scheme: %d %s", a.StatusCode, a.code())
	}
}

func TestReadAs(t *testing.T) {
	covers.R(t, "R-209", "R-1032")
	w := newWorld(t)
	w.container("ccc", Private)
	big := strings.Repeat("0123456789", 1000)
	w.put("/ccc/m/a", "small")
	w.put("/ccc/m/b", big)
	w.put("/ccc/n", "other")
	ctx := httpx.WithInstance(context.Background(), "ep/blue")
	refused := w.svc.ReadAs(ctx, alice, acct, "ccc", "m/", func(string, int64, func() (io.ReadCloser, error)) error {
		t.Error("visited without a role")
		return nil
	})
	if e := httpx.AsError(refused); e.Status != 403 || e.Code != "AuthorizationPermissionMismatch" {
		t.Fatalf("refusal: %v", refused)
	}
	d, ok := w.audit.LastDenial()
	if !ok || d.Status != 403 || d.Caller.Principal != alice || d.Instance != "ep/blue" || d.Plane != "blob" ||
		d.Decisions[0].Check != (azure.Check{Action: readBlobs, Data: true, Scope: accountID + "/blobServices/default/containers/ccc"}) {
		t.Fatalf("audit %+v", d)
	}
	w.rbac.allow(alice, readBlobs, true, accountID)
	got := map[string]string{}
	err := w.svc.ReadAs(ctx, alice, acct, "ccc", "m/", func(name string, size int64, open func() (io.ReadCloser, error)) error {
		rc, err := open()
		if err != nil {
			return err
		}
		defer rc.Close()
		b, err := io.ReadAll(rc)
		got[name] = string(b)
		if int64(len(b)) != size {
			t.Errorf("%s: size %d, read %d", name, size, len(b))
		}
		return err
	})
	if err != nil || len(got) != 2 || got["m/a"] != "small" || got["m/b"] != big {
		t.Fatalf("%v %d", err, len(got))
	}
	err = w.svc.ReadAs(ctx, alice, acct, "ddd", "", nil)
	if e := httpx.AsError(err); e.Code != "ContainerNotFound" || e.Status != http.StatusNotFound {
		t.Errorf("missing container: %v", err)
	}
}
