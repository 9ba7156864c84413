package intercept

import (
	"encoding/base64"
	"strings"
	"testing"
)

func FuzzProxySecret(f *testing.F) {
	for _, s := range []string{"", "Basic", "Basic ", "basic aTpz", "Basic aTo=", "Bearer x", "Basic !!", "Basic aQ=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		secret, ok := parseProxySecret(header)
		if ok && secret == "" {
			t.Error("an empty secret is accepted")
		}
	})
}

func TestProxySecret(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	for header, want := range map[string]string{
		"Basic " + encode([]byte("i-1:s3cret")): "s3cret",
		"BASIC " + encode([]byte(":s:t")):       "s:t",
		"Basic " + encode([]byte("nocolon")):    "",
		"Bearer s3cret":                         "",
	} {
		if got, _ := parseProxySecret(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func FuzzReasonPhrase(f *testing.F) {
	for _, s := range []string{"", "plain", "two\r\nlines: x", "umlaut \u00e4", strings.Repeat("long ", 1000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sentence string) {
		got := reasonPhrase(sentence)
		if len(got) > 400 || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q does not fit a status line", got)
		}
	})
}
