package gateway

import (
	"net/http"
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
