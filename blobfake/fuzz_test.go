package blobfake

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func FuzzSharedKeyString(f *testing.F) {
	f.Add("/ccc/f?comp=list&a=1;b=2", "a_b", "v")
	f.Add("/a%2Fb//c%zz?%zz&=&x=+", "x", " \t")
	f.Add("http://h?x", "é", "")
	f.Fuzz(func(t *testing.T, uri, metaName, metaValue string) {
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			return
		}
		r := &http.Request{Method: "GET", URL: u, RequestURI: uri, Host: "acct.blob.core.windows.net",
			Header: http.Header{"X-Ms-Meta-" + metaName: {metaValue}, "x-ms-date": {"d"}}}
		_, tg := parseTarget(r)
		s := sharedKeyString(r, tg, acct)
		if !strings.HasPrefix(s, "GET\n") || !strings.Contains(s, "/"+acct+"/") {
			t.Fatalf("%q", s)
		}
		if s != sharedKeyString(r, tg, acct) {
			t.Fatal("depends on map order")
		}
	})
}

func FuzzHeaderOrder(f *testing.F) {
	f.Add("x-ms-a", "x-msa", "x-ms-a_b")
	f.Add("", "-", "--")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compareHeaderNames(a, b) != -compareHeaderNames(b, a) {
			t.Fatalf("%q %q are not ordered one way", a, b)
		}
		if compareHeaderNames(a, a) != 0 {
			t.Fatalf("%q differs from itself", a)
		}
		_ = c
	})
}

func FuzzSAS(f *testing.F) {
	f.Add("sv=2022-11-02&sr=b&sp=r&se=2030-01-01T00%3A00%3A00Z&sig=x")
	f.Add("sv=2026-04-06&ss=b&srt=o&sp=r&sp=w&sig=%0a")
	f.Add("skoid=a&sktid=b&sv=2025-07-05&sig=;&se=2030-01-01")
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := parseSAS(parseQuery(raw))
		if err != nil {
			return
		}
		strings := append(delegationStrings("/blob/a/c", tok), serviceString("/blob/a/c", tok), accountString("a", tok))
		for i, a := range strings {
			if slices.Contains(strings[i+1:], a) {
				t.Fatalf("two kinds of signature sign %q", a)
			}
		}
		_, _ = parseSASTime(tok.get("se"))
		_ = inRange("127.0.0.1:1", tok.get("sip"))
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=5-", int64(5))
	f.Add("bytes=9223372036854775807-", int64(0))
	f.Add("bytes=+1--2", int64(3))
	f.Fuzz(func(t *testing.T, v string, size int64) {
		rng, ok := parseRange(v)
		if !ok || size < 0 {
			return
		}
		offset, length, err := rng.within(size)
		if err == nil && (offset < 0 || length < 1 || offset+length > size) {
			t.Fatalf("%q of %d: %d+%d", v, size, offset, length)
		}
	})
}

func FuzzBlockList(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>AAAA</Latest><Committed>QUFB</Committed></BlockList>`))
	f.Add([]byte(`<BlockList/>`))
	f.Add([]byte(`<BlockList><Latest>AAAA</Latest></BlockList><BlockList/>`))
	f.Add([]byte(`<BlockList><Latest>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := parseBlockList(bytes.NewReader(body))
		if err != nil {
			return
		}
		for _, ref := range list {
			if _, ok := blockIDLength(ref.id); !ok {
				t.Fatalf("accepted id %q", ref.id)
			}
		}
	})
}

func FuzzBlobName(f *testing.F) {
	for _, s := range []string{"a", "a//b/", "ü/%", "a\x01b", "%2f", "..", "\\", "\ufffe", "]]>&<"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		uri := "/ccc/" + url.PathEscape(name)
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		_, tg := parseTarget(&http.Request{Method: "GET", URL: u, RequestURI: uri, Host: "acct.blob.core.windows.net", Header: http.Header{}})
		if tg.err != nil {
			if validName(name) {
				t.Fatalf("refused %q", name)
			}
			return
		}
		if tg.container != "ccc" || tg.blob != name {
			t.Fatalf("%q became %q", name, tg.blob)
		}
		// A listing must give the same name back.
		var b bytes.Buffer
		writeName(&b, name)
		var back struct {
			Encoded bool   `xml:"Encoded,attr"`
			Value   string `xml:",chardata"`
		}
		if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatalf("%q: %v", b.String(), err)
		}
		got := back.Value
		if back.Encoded {
			got, _ = url.PathUnescape(got)
		}
		if got != name {
			t.Fatalf("listed %q as %q", name, got)
		}
		if m, ok := decodeMarker(encodeMarker(name)); !ok || m != name {
			t.Fatalf("marker of %q", name)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("a=b&A=c&%zz=;&=")
	f.Fuzz(func(t *testing.T, raw string) {
		for name, values := range parseQuery(raw) {
			if name != lower(name) || len(values) == 0 {
				t.Fatalf("%q %q", name, values)
			}
		}
	})
}
