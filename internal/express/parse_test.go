package express

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		text     string
		ordinary bool
	}{
		"post":                   {"POST /score?a=b HTTP/1.1\r\nHost: h\r\ncontent-length: 3\r\nx-a: 1\r\nX-A: 2\r\n\r\nabc", true},
		"get":                    {"GET / HTTP/1.1\r\nHost: h:443\r\nConnection: Keep-Alive\r\n\r\n", true},
		"empty value":            {"GET / HTTP/1.1\r\nHost: h\r\nX-A:\r\n\r\n", true},
		"escaped path":           {"GET /a%2Fb HTTP/1.1\r\nHost: h\r\n\r\n", true},
		"not all there":          {"GET / HTTP/1.1\r\nHost: h\r\n", false},
		"nothing":                {"", false},
		"HTTP/1.0":               {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", false},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", false},
		"two hosts":              {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", false},
		"another host":           {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", false},
		"HEAD":                   {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"CONNECT":                {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"absolute form":          {"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"two slashes":            {"GET //h/ HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"asterisk":               {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"space in the target":    {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"bad escape":             {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", false},
		"chunked":                {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		"chunked and length":     {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		"expect":                 {"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false},
		"upgrade":                {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n", false},
		"close":                  {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
		"two lengths":            {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", false},
		"signed length":          {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\nx", false},
		"large body":             {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 32769\r\n\r\n", false},
		"endless length":         {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", false},
		"large head":             {"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + strings.Repeat("x", maxHead) + "\r\n\r\n", false},
		"many fields":            {"GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X-A: 1\r\n", maxFields) + "\r\n", false},
		"folded":                 {"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n 2\r\n\r\n", false},
		"space before the colon": {"GET / HTTP/1.1\r\nHost: h\r\nX-A : 1\r\n\r\n", false},
		"no colon":               {"GET / HTTP/1.1\r\nHost: h\r\nX-A\r\n\r\n", false},
		"bare line feed":         {"GET / HTTP/1.1\nHost: h\r\n\r\n", false},
		"bare carriage return":   {"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r2\r\n\r\n", false},
		"control byte":           {"GET / HTTP/1.1\r\nHost: h\r\nX-A: \x00\r\n\r\n", false},
		"pragma":                 {"GET / HTTP/1.1\r\nHost: h\r\nPragma: no-cache\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := parse(new(http.Request), []byte(test.text))
			if (r != nil) != test.ordinary {
				t.Errorf("ordinary: %t, want %t", r != nil, test.ordinary)
			}
			sameAsNetHTTP(t, []byte(test.text))
		})
	}
}

// sameAsNetHTTP: what is taken for ordinary is what net/http reads.
func sameAsNetHTTP(t *testing.T, raw []byte) {
	t.Helper()
	base := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	got, head, length := parse(base, raw)
	if got == nil {
		return
	}
	rest := bufio.NewReader(bytes.NewReader(raw))
	want, err := http.ReadRequest(rest)
	if err != nil {
		t.Fatalf("ordinary, and net/http says %v: %q", err, raw)
	}
	if read := len(raw) - rest.Buffered(); want.Body == http.NoBody && read != head && len(raw) < 4096 {
		t.Fatalf("the head has %d bytes, net/http read %d: %q", head, read, raw)
	}
	if want.Close || len(want.TransferEncoding) > 0 || want.Trailer != nil {
		t.Fatalf("ordinary, and net/http sees close %t, encoding %v, trailer %v: %q", want.Close, want.TransferEncoding, want.Trailer, raw)
	}
	if int64(length) != want.ContentLength || got.ContentLength != want.ContentLength {
		t.Fatalf("length %d, want %d: %q", got.ContentLength, want.ContentLength, raw)
	}
	for what, pair := range map[string][2]any{
		"method": {got.Method, want.Method}, "url": {got.URL, want.URL}, "target": {got.RequestURI, want.RequestURI},
		"host": {got.Host, want.Host}, "header": {got.Header, want.Header}, "protocol": {got.Proto, want.Proto},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Fatalf("%s: %q, want %q: %q", what, pair[0], pair[1], raw)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("POST /score?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nx-a: 1\r\nX-A:\t2 \r\nAuthorization: Bearer k\r\n\r\nabc"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: keep-alive\r\n\r\n"))
	f.Add([]byte("PUT /%41;b=c HTTP/1.1\r\nHost: h\r\nX-\x80: \xff\r\nPragma: no-cache\r\n\r\n"))
	f.Fuzz(sameAsNetHTTP)
}
