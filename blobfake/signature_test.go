package blobfake

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSharedKeyRules(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	account := w.accounts[acct]
	// sign builds a request the way a careful script does.
	sign := func(method, path string, edit func(h http.Header), canonical string) answer {
		h := http.Header{}
		h.Set("x-ms-date", w.clock.Now().UTC().Format(http.TimeFormat))
		h.Set("x-ms-version", "2021-12-02")
		if edit != nil {
			edit(h)
		}
		var names []string
		for n := range h {
			if strings.HasPrefix(lower(n), "x-ms-") {
				names = append(names, lower(n))
			}
		}
		slices.Sort(names)
		toSign := method + strings.Repeat("\n", 6) + h.Get("Date") + strings.Repeat("\n", 5) + h.Get("Range") + "\n"
		if h.Get("x-ms-date") != "" {
			toSign = method + strings.Repeat("\n", 11) + h.Get("Range") + "\n"
		}
		for _, n := range names {
			toSign += n + ":" + h.Get(n) + "\n"
		}
		toSign += canonical
		q, _ := url.ParseQuery(signQuery(*account, queryValues{}, toSign))
		headers := []string{"Authorization", "SharedKey acct:" + q.Get("sig")}
		for n := range h {
			headers = append(headers, n, h.Get(n))
		}
		return w.do(method, blobURL+path, "", headers...)
	}
	at := func(d time.Duration) func(http.Header) {
		return func(h http.Header) { h.Set("x-ms-date", w.clock.Now().Add(d).UTC().Format(http.TimeFormat)) }
	}
	for _, tc := range []struct {
		name, path, canonical string
		edit                  func(http.Header)
		status                int
		detail                string
	}{
		{"plain", "/ccc/f", "/acct/ccc/f", nil, 200, ""},
		{"Date only", "/ccc/f", "/acct/ccc/f", func(h http.Header) {
			h.Set("Date", h.Get("x-ms-date"))
			h.Del("x-ms-date")
		}, 200, ""},
		{"range", "/ccc/f", "/acct/ccc/f", func(h http.Header) { h.Set("Range", "bytes=0-1") }, 206, ""},
		{"query in order", "/ccc?restype=container&comp=list&prefix=a%20b", "/acct/ccc\ncomp:list\nprefix:a b\nrestype:container", nil, 200, ""},
		{"query not decoded", "/ccc?restype=container&comp=list&prefix=a%20b", "/acct/ccc\ncomp:list\nprefix:a%20b\nrestype:container", nil, 403, "The MAC signature"},
		{"query names in lower case", "/ccc?RESTYPE=container&comp=list", "/acct/ccc\ncomp:list\nrestype:container", nil, 200, ""},
		{"list of values", "/ccc?restype=container&comp=list&include=metadata&include=copy", "/acct/ccc\ncomp:list\ninclude:copy,metadata\nrestype:container", nil, 200, ""},
		{"wrong resource", "/ccc/f", "/acct/ccc/g", nil, 403, "The MAC signature"},
		{"just in time", "/ccc/f", "/acct/ccc/f", at(-14 * time.Minute), 200, ""},
		{"too old", "/ccc/f", "/acct/ccc/f", at(-16 * time.Minute), 403, "Request date header too old"},
		{"too new", "/ccc/f", "/acct/ccc/f", at(16 * time.Minute), 403, "Request date header too far in the future"},
		{"no date", "/ccc/f", "/acct/ccc/f", func(h http.Header) { h.Del("x-ms-date") }, 403, "The Date header in the request is incorrect"},
		{"empty header signed", "/ccc/f", "/acct/ccc/f", func(h http.Header) { h.Set("x-ms-meta-e", "") }, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := sign("GET", tc.path, tc.edit, tc.canonical)
			if a.StatusCode != tc.status {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if tc.status == 403 {
				if e := a.error(t); e.Code != "AuthenticationFailed" || !strings.HasPrefix(e.AuthenticationErrorDetail, tc.detail) {
					t.Errorf("%+v", e)
				}
			}
		})
	}
	account.AllowSharedKey = false
	if a := sign("GET", "/ccc/f", nil, "/acct/ccc/f"); a.StatusCode != 403 || a.code() != "KeyBasedAuthenticationNotPermitted" {
		t.Errorf("shared key off: %d %s", a.StatusCode, a.code())
	}
	if a := w.own("GET", "/ccc/f", ""); a.code() != "KeyBasedAuthenticationNotPermitted" {
		t.Errorf("SAS with shared key off: %d %s", a.StatusCode, a.code())
	}
}

func TestSignedStringByVersion(t *testing.T) {
	put := func(v version, header string) string {
		r, _ := http.NewRequest("PUT", "http://acct.blob.core.windows.net/c/b", nil)
		r.RequestURI = "/c/b"
		if header != "" {
			r.Header.Set("Content-Length", header)
		}
		r.Header.Set("x-ms-meta-e", "")
		_, tg := parseTarget(r)
		tg.version = v
		return sharedKeyString(r, tg, "acct")
	}
	for _, tc := range []struct {
		v            version
		length, want string
	}{
		{"2021-12-02", "0", "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-meta-e:\n/acct/c/b"},
		{"2015-02-21", "0", "PUT\n\n\n\n\n\n\n\n\n\n\n\n/acct/c/b"},
		{"2014-02-14", "0", "PUT\n\n\n0\n\n\n\n\n\n\n\n\n/acct/c/b"},
		{"2014-02-14", "", "PUT\n\n\n0\n\n\n\n\n\n\n\n\n/acct/c/b"},
		{"2021-12-02", "7", "PUT\n\n\n7\n\n\n\n\n\n\n\n\nx-ms-meta-e:\n/acct/c/b"},
	} {
		if got := put(tc.v, tc.length); got != tc.want {
			t.Errorf("%s %q:\n got %q\nwant %q", tc.v, tc.length, got, tc.want)
		}
	}
}

func TestHeaderOrder(t *testing.T) {
	names := []string{"x-ms-meta-ab", "x-ms-meta-a1", "x-ms-meta-a_b", "x-ms-date", "x-ms-meta-a", "x-ms-blob-type", "x-ms-blob-cache-control"}
	slices.SortFunc(names, compareHeaderNames)
	want := []string{"x-ms-blob-cache-control", "x-ms-blob-type", "x-ms-date", "x-ms-meta-a", "x-ms-meta-a_b", "x-ms-meta-a1", "x-ms-meta-ab"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestAccountSASPermissions(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	hour := w.clock.Now().Add(time.Hour)
	for _, tc := range []struct {
		name, types, perms, method, path string
		status                           int
		code                             string
	}{
		{"read", "o", "r", "GET", "/ccc/f", 200, ""},
		{"read without r", "o", "w", "GET", "/ccc/f", 403, "AuthorizationPermissionMismatch"},
		{"read without o", "c", "r", "GET", "/ccc/f", 403, "AuthorizationResourceTypeMismatch"},
		{"list", "c", "l", "GET", "/ccc?restype=container&comp=list", 200, ""},
		{"list without l", "c", "r", "GET", "/ccc?restype=container&comp=list", 403, "AuthorizationPermissionMismatch"},
		{"create new", "o", "c", "PUT", "/ccc/new", 201, ""},
		{"overwrite with c", "o", "c", "PUT", "/ccc/f", 403, "UnauthorizedBlobOverwrite"},
		{"overwrite with w", "o", "w", "PUT", "/ccc/f", 201, ""},
		{"containers", "s", "l", "GET", "/?comp=list", 200, ""},
		{"delete container", "c", "d", "DELETE", "/ccc?restype=container", 202, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sep := "?"
			if strings.Contains(tc.path, "?") {
				sep = "&"
			}
			sas := AccountSAS(*w.accounts[acct], tc.types, tc.perms, time.Time{}, hour)
			a := w.do(tc.method, blobURL+tc.path+sep+sas, "", "x-ms-blob-type", "BlockBlob")
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("%d %s: %s", a.StatusCode, a.code(), a.body)
			}
		})
	}
}

func TestSASBounds(t *testing.T) {
	w := newWorld(t)
	w.container("ccc", Private)
	w.put("/ccc/f", "hello")
	account, now := *w.accounts[acct], w.clock.Now()
	// custom signs a container SAS with further fields.
	custom := func(sv string, fields ...string) string {
		q := queryValues{"sv": {sv}, "sr": {"c"}, "sp": {"r"}, "se": {sasTime(now.Add(time.Hour))}}
		for i := 0; i < len(fields); i += 2 {
			q[fields[i]] = []string{fields[i+1]}
		}
		resource := "/blob/acct/ccc"
		if sv < "2015-02-21" {
			resource = "/acct/ccc"
		}
		return signQuery(account, q, serviceString(resource, &sasToken{values: q, version: version(sv)}))
	}
	for _, tc := range []struct {
		name, base, sas string
		status          int
		code            string
	}{
		{"2012-02-12", blobURL, custom("2012-02-12"), 200, ""},
		{"2013-08-15", blobURL, custom("2013-08-15"), 200, ""},
		{"2015-04-05", blobURL, custom("2015-04-05"), 200, ""},
		{"2018-11-09", blobURL, custom("2018-11-09"), 200, ""},
		{"2026-04-06", blobURL, custom("2026-04-06"), 200, ""},
		{"over http by path", w.plain.URL + "/acct", custom("2022-11-02"), 200, ""},
		{"https only, over http", w.plain.URL + "/acct", custom("2022-11-02", "spr", "https"), 403, "AuthorizationProtocolMismatch"},
		{"https only", blobURL, custom("2022-11-02", "spr", "https"), 200, ""},
		{"our address", blobURL, custom("2022-11-02", "sip", "127.0.0.1"), 200, ""},
		{"a range with us", blobURL, custom("2022-11-02", "sip", "127.0.0.0-127.0.0.9"), 200, ""},
		{"another address", blobURL, custom("2022-11-02", "sip", "10.0.0.1"), 403, "AuthorizationSourceIPMismatch"},
		{"not yet", blobURL, SAS(account, "ccc", "", "r", now.Add(time.Minute), now.Add(time.Hour)), 403, "AuthenticationFailed"},
		{"expired", blobURL, SAS(account, "ccc", "", "r", time.Time{}, now.Add(-time.Second)), 403, "AuthenticationFailed"},
		{"policy", blobURL, custom("2022-11-02", "si", "p"), 403, "AuthenticationFailed"},
		{"twice the field", blobURL, custom("2022-11-02") + "&sp=rwd", 400, "InvalidQueryParameterValue"},
		{"other account's key", blobURL, SAS(*w.accounts["other"], "ccc", "", "r", time.Time{}, now.Add(time.Hour)), 403, "AuthenticationFailed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.do("GET", tc.base+"/ccc/f?"+tc.sas, "")
			if a.StatusCode != tc.status || a.code() != tc.code {
				t.Fatalf("%d %s: %s", a.StatusCode, a.code(), a.body)
			}
		})
	}
	a := w.do("GET", blobURL+"/ccc/f?"+custom("2022-11-02", "rsct", "text/x", "rscd", "attachment"), "")
	if a.Header.Get("Content-Type") != "text/x" || a.Header.Get("Content-Disposition") != "attachment" {
		t.Errorf("overrides: %v", a.Header)
	}
	// A container's SAS does nothing to the container itself.
	if a := w.do("DELETE", blobURL+"/ccc?restype=container&"+SAS(account, "ccc", "", "rwdl", time.Time{}, now.Add(time.Hour)), ""); a.code() != "AuthorizationResourceTypeMismatch" {
		t.Errorf("delete container: %d %s", a.StatusCode, a.code())
	}
	// The Authorization header wins over a signature in the query.
	if a := w.do("GET", blobURL+"/ccc/f?"+custom("2022-11-02"), "", "Authorization", "Bearer x", "x-ms-version", "2021-12-02"); a.StatusCode != 401 {
		t.Errorf("header and signature: %d", a.StatusCode)
	}
}
