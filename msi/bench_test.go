package msi_test

import (
	"net/http/httptest"
	"testing"
)

// BenchmarkCachedToken is what a scoring script without a cache of its own
// costs per call.
func BenchmarkCachedToken(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		r := get(e + v2017 + "&resource=" + st)
		r.Header.Set("secret", secret)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != 200 {
			b.Fatal(rec.Body)
		}
	}
}
