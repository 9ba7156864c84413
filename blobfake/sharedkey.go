package blobfake

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how far a signed request's clock may be from ours.
const maxSkew = 15 * time.Minute

// verifySharedKey checks "account:signature" against both account keys.
func (s *Service) verifySharedKey(r *http.Request, t *target, credential string) error {
	account, signature, ok := strings.Cut(credential, ":")
	if !ok || account == "" || signature == "" {
		return errInvalidScheme()
	}
	if !t.found.AllowSharedKey {
		return errKeyAuthForbidden()
	}
	if err := s.checkDate(r); err != nil {
		return err
	}
	toSign := sharedKeyString(r, t, account)
	if account != t.found.Name || !signedWith(t.found.Keys, toSign, signature) {
		return errAuthenticationFailed(fmt.Sprintf(
			"The MAC signature found in the HTTP request '%s' is not the same as any computed signature. Server used following string to sign: '%s'.",
			signature, toSign))
	}
	return nil
}

func (s *Service) checkDate(r *http.Request) error {
	date := r.Header.Get("x-ms-date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return errAuthenticationFailed(fmt.Sprintf("The Date header in the request is incorrect: '%s'.", date))
	}
	switch skew := s.clients.Now().Sub(at); {
	case skew > maxSkew:
		return errAuthenticationFailed(fmt.Sprintf("Request date header too old: '%s'", date))
	case skew < -maxSkew:
		return errAuthenticationFailed(fmt.Sprintf("Request date header too far in the future: '%s'", date))
	}
	return nil
}

// signedWith compares in constant time against what each key would give.
func signedWith(keys [2]string, toSign, signature string) bool {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	found := false
	for _, k := range keys {
		secret, err := base64.StdEncoding.DecodeString(k)
		if err != nil || len(secret) == 0 {
			continue // an account without this key
		}
		if hmac.Equal(given, mac(secret, toSign)) {
			found = true
		}
	}
	return found
}

func mac(secret []byte, message string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// sharedKeyString is the string a SharedKey caller signs.
func sharedKeyString(r *http.Request, t *target, account string) string {
	h := r.Header
	date := h.Get("Date")
	if h.Get("x-ms-date") != "" {
		date = ""
	}
	return strings.Join([]string{
		r.Method,
		h.Get("Content-Encoding"),
		h.Get("Content-Language"),
		signedLength(r, t.version),
		h.Get("Content-MD5"),
		h.Get("Content-Type"),
		date,
		h.Get("If-Modified-Since"),
		h.Get("If-Match"),
		h.Get("If-None-Match"),
		h.Get("If-Unmodified-Since"),
		h.Get("Range"),
	}, "\n") + "\n" + canonicalHeaders(h, t.version) + canonicalResource(t, account)
}

// signedLength: "0" is signed as nothing from 2015-02-21 on, before that as
// the client sent it.
func signedLength(r *http.Request, v version) string {
	length := r.Header.Get("Content-Length")
	if length == "" && r.ContentLength > 0 {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	if length == "0" && v >= emptyLengthVersion {
		return ""
	}
	if length == "" && v < emptyLengthVersion && r.ContentLength == 0 && r.Method == http.MethodPut {
		return "0"
	}
	return length
}

// canonicalHeaders are the x-ms headers, each with its line end.
func canonicalHeaders(h http.Header, v version) string {
	type pair struct{ name, value string }
	var pairs []pair
	for name, values := range h {
		name = lower(name)
		if !strings.HasPrefix(name, "x-ms-") {
			continue
		}
		trimmed := make([]string, len(values))
		for i, value := range values {
			trimmed[i] = strings.TrimSpace(value)
		}
		value := strings.Join(trimmed, ",")
		if value == "" && v < emptyHeaderVersion {
			continue
		}
		pairs = append(pairs, pair{name, value})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return compareHeaderNames(a.name, b.name) })
	var b strings.Builder
	for _, p := range pairs {
		b.WriteString(p.name + ":" + p.value + "\n")
	}
	return b.String()
}

// headerOrder is the order in which the service sorts the characters of header
// names, by culture rather than by code: '_' before digits, '-' and ' ignored
// unless nothing else tells two names apart. Every Microsoft client has the
// same table (azblob: shared_key_credential.go).
const headerOrder = "!#$%&*.^_`|~+0123456789abcdefghijklmnopqrstuvwxyz"

func compareHeaderNames(a, b string) int {
	i, j := 0, 0
	for {
		for i < len(a) && strings.IndexByte(headerOrder, a[i]) < 0 {
			i++
		}
		for j < len(b) && strings.IndexByte(headerOrder, b[j]) < 0 {
			j++
		}
		if i == len(a) || j == len(b) {
			break
		}
		if c := cmp.Compare(strings.IndexByte(headerOrder, a[i]), strings.IndexByte(headerOrder, b[j])); c != 0 {
			return c
		}
		i, j = i+1, j+1
	}
	switch {
	case i < len(a):
		return 1
	case j < len(b):
		return -1
	}
	// The same but for ignored characters: the earlier dash sorts later.
	for k := range min(len(a), len(b)) {
		if da, db := a[k] == '-', b[k] == '-'; da != db {
			if da {
				return 1
			}
			return -1
		}
	}
	return cmp.Compare(len(a), len(b))
}

// canonicalResource is the account, the path as sent and the decoded query. By
// path the account therefore appears twice, as storage emulators expect.
func canonicalResource(t *target, account string) string {
	var b strings.Builder
	b.WriteString("/" + account + t.rawPath)
	names := make([]string, 0, len(t.query))
	for name := range t.query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Clone(t.query[name])
		slices.Sort(values)
		b.WriteString("\n" + name + ":" + strings.Join(values, ","))
	}
	return b.String()
}
