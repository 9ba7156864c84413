package blobfake

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// hostSuffix is what follows the account's name in a host.
const hostSuffix = ".blob.core.windows.net"

// target is what a request addresses, parsed once before routing.
type target struct {
	account   string
	container string
	blob      string // exact decoded name bytes
	pathStyle bool
	// rawPath is the path as it came over the wire: signatures are made of it.
	rawPath string
	query   queryValues
	version version
	err     error

	// found is the account record, once authentication has looked it up.
	found Account
	// sas is the verified signature of a SAS caller.
	sas *sasToken
	// createOnly says that the caller may add blobs but not replace them.
	createOnly bool
}

type targetKey struct{}

func targetOf(r *http.Request) *target { return r.Context().Value(targetKey{}).(*target) }

// parseTarget reads the address of r and returns the request the router sees:
// its path is /container/blob, whichever way the account was named.
func parseTarget(r *http.Request) (*http.Request, *target) {
	t := &target{rawPath: rawPath(r), query: parseQuery(r.URL.RawQuery)}
	t.version, t.err = requestVersion(r, t.query)
	if name, ok := hostAccount(r.Host); ok {
		t.account = name
	} else {
		t.pathStyle = true
	}
	rest := strings.TrimPrefix(t.rawPath, "/")
	if t.pathStyle {
		var account string
		account, rest, _ = strings.Cut(rest, "/")
		t.account = strings.ToLower(account)
	}
	container, blob, _ := strings.Cut(rest, "/")
	var err error
	if t.container, err = url.PathUnescape(container); err != nil && t.err == nil {
		t.err = errInvalidURI()
	}
	if t.blob, err = url.PathUnescape(blob); err != nil && t.err == nil {
		t.err = errInvalidURI()
	}
	if t.err == nil && !(validName(t.container) && validName(t.blob)) {
		t.err = errInvalidURI()
	}
	routed := r.WithContext(context.WithValue(r.Context(), targetKey{}, t))
	u := *r.URL
	u.RawPath = "/" + container
	if blob != "" {
		u.RawPath += "/" + blob
	}
	u.Path = "/" + t.container
	if t.blob != "" {
		u.Path += "/" + t.blob
	}
	routed.URL = &u
	return routed, t
}

// hostAccount is the account that a public host name stands for.
func hostAccount(host string) (string, bool) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	name, ok := strings.CutSuffix(host, hostSuffix)
	return name, ok && name != "" && !strings.Contains(name, ".")
}

// rawPath is the path exactly as sent: net/url re-encodes what it dislikes, and
// a signature covers the client's spelling.
func rawPath(r *http.Request) string {
	raw := r.RequestURI
	if i := strings.Index(raw, "://"); i >= 0 && !strings.HasPrefix(raw, "/") {
		rest := raw[i+3:]
		if j := strings.IndexAny(rest, "/?"); j >= 0 {
			raw = rest[j:]
		} else {
			raw = "/"
		}
	}
	raw, _, _ = strings.Cut(raw, "?")
	if !strings.HasPrefix(raw, "/") {
		raw = r.URL.EscapedPath()
	}
	if raw == "" {
		raw = "/"
	}
	return raw
}

// validName refuses what cannot be part of a key. A blob's name is at most
// 1,024 characters.
func validName(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0) && utf8.RuneCountInString(s) <= 1024
}

// queryValues are query parameters by lower-cased name, decoded.
type queryValues map[string][]string

// parseQuery is more forgiving than url.ParseQuery: a semicolon is data, and
// what does not decode stays as it is, so that a signature over it still can
// be checked.
func parseQuery(raw string) queryValues {
	q := queryValues{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name = strings.ToLower(unescapeQuery(name))
		q[name] = append(q[name], unescapeQuery(value))
	}
	return q
}

func unescapeQuery(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

func (q queryValues) get(name string) string {
	if v := q[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (q queryValues) has(name string) bool { return len(q[name]) > 0 }
