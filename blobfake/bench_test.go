package blobfake

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

func benchRequest(b *testing.B, w *world, method, path string, body []byte) {
	b.Helper()
	req, err := http.NewRequest(method, w.plain.URL+"/acct"+path+"?"+w.sas(), bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode >= 300 {
		b.Fatalf("%d %v", res.StatusCode, err)
	}
}

func BenchmarkGet1KiB(b *testing.B) {
	w := newWorld(b)
	w.container("ccc", Private)
	benchRequest(b, w, "PUT", "/ccc/f", randomBytes(1<<10))
	for b.Loop() {
		benchRequest(b, w, "GET", "/ccc/f", nil)
	}
}

func BenchmarkPut1KiB(b *testing.B) {
	w := newWorld(b)
	w.container("ccc", Private)
	data := randomBytes(1 << 10)
	for b.Loop() {
		benchRequest(b, w, "PUT", "/ccc/f", data)
	}
}

func BenchmarkPut64MiB(b *testing.B) {
	w := newWorld(b)
	w.container("ccc", Private)
	data := randomBytes(64 << 20)
	b.SetBytes(64 << 20)
	for b.Loop() {
		benchRequest(b, w, "PUT", "/ccc/f", data)
	}
}

func BenchmarkGet64MiB(b *testing.B) {
	w := newWorld(b)
	w.container("ccc", Private)
	benchRequest(b, w, "PUT", "/ccc/f", randomBytes(64<<20))
	b.SetBytes(64 << 20)
	for b.Loop() {
		benchRequest(b, w, "GET", "/ccc/f", nil)
	}
}

func BenchmarkList5000(b *testing.B) {
	w := newWorld(b)
	w.container("ccc", Private)
	for i := range 5000 {
		benchRequest(b, w, "PUT", "/ccc/"+string(rune('a'+i%26))+"/"+testKey(string(rune('A' + i%20)))[:8]+string(rune(0x4e00+i)), []byte("x"))
	}
	for b.Loop() {
		req, _ := http.NewRequest("GET", w.plain.URL+"/acct/ccc?restype=container&comp=list&"+w.sas(), nil)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}
