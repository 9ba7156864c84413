package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func FuzzBearer(f *testing.F) {
	for _, s := range []string{"", "Bearer", "Bearer ", "bearer x", "Bearer  x ", "Basic x", "Bearer a b", "Bearer a,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		credential, ok := bearer(http.Header{"Authorization": {value}})
		if ok && (credential == "" || strings.ContainsAny(credential, " \t,") || !strings.Contains(value, credential)) {
			t.Errorf("%q gives %q", value, credential)
		}
	})
}

func FuzzClientRequestID(f *testing.F) {
	for _, s := range []string{"", "abc", "a/b", "ü-_9", strings.Repeat("x", 100), "\x00\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got := sanitizeClientRequestID(id)
		if len(got) > 40 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("%q gives %q", id, got)
		}
		if again := sanitizeClientRequestID(got); again != got {
			t.Errorf("%q, then %q", got, again)
		}
	})
}

// FuzzPlainResponse: what is read in place is what net/http reads.
func FuzzPlainResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-A: 1\r\nx-a:\t2 \r\n\r\nok",
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 200 \r\nContent-Length: +1\r\n\r\nx",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, head := plainResponse(raw)
		if got == nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		if err != nil {
			t.Fatalf("plain, and net/http says %v: %q", err, raw)
		}
		if want.Close || len(want.TransferEncoding) > 0 || want.Trailer != nil || want.ContentLength != got.ContentLength ||
			want.StatusCode != got.StatusCode || want.Proto != got.Proto || !reflect.DeepEqual(want.Header, got.Header) {
			t.Fatalf("%+v, want %+v: %q", got, want, raw)
		}
		body := &knownBody{r: bytes.NewReader(raw[head:]), left: got.ContentLength}
		mine, err := io.ReadAll(body)
		theirs, err2 := io.ReadAll(want.Body)
		if !bytes.Equal(mine, theirs) || err != err2 {
			t.Fatalf("%q %v, want %q %v: %q", mine, err, theirs, err2, raw)
		}
	})
}
