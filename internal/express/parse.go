package express

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

const (
	// maxHead is the largest head that is ordinary, maxBody the largest body.
	// A connection's buffer holds both.
	maxHead = 8 << 10
	maxBody = 32 << 10

	maxFields = 64
)

var endOfHead = []byte("\r\n\r\n")

// parse makes of base the ordinary request that begins in p. head is its head's
// length and body that of the body to follow; nil says that the request is not
// ordinary, or not all there.
func parse(base *http.Request, p []byte) (r *http.Request, head, body int) {
	head = bytes.Index(p[:min(len(p), maxHead)], endOfHead)
	if head < 0 {
		return nil, 0, 0
	}
	head += len(endOfHead)
	// The first line is a string of its own, and so are two of the fields: logs
	// keep them, and would keep the caller's credential in memory with them.
	end := bytes.Index(p, endOfHead[:2])
	line, text := string(p[:end]), string(p[end+2:head-2])
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	if version != "HTTP/1.1" || !ordinaryMethod(method) || !ordinaryTarget(target) {
		return nil, 0, 0
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, 0, 0
	}
	r = new(http.Request)
	*r = *base
	r.Method, r.URL, r.RequestURI = method, u, target
	if !fields(r, text) {
		return nil, 0, 0
	}
	if body, err = bodyLength(r); err != nil || body > maxBody {
		return nil, 0, 0
	}
	r.ContentLength = int64(body)
	return r, head, body
}

func ordinaryMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// ordinaryTarget takes a path with a query, in visible ASCII.
func ordinaryTarget(target string) bool {
	if len(target) == 0 || target[0] != '/' || strings.HasPrefix(target, "//") {
		return false
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// fields reads the lines of a request's head into r.Header and r.Host.
func fields(r *http.Request, text string) (ok bool) {
	if r.Header, ok = Fields(text); !ok {
		return false
	}
	for _, name := range []string{"Transfer-Encoding", "Expect", "Upgrade", "Te", "Trailer", "Pragma"} { // net/http makes more of Pragma
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	host := r.Header["Host"]
	if len(host) != 1 || !PlainHost(host[0]) {
		return false
	}
	r.Host = strings.Clone(host[0])
	if agent := r.Header["User-Agent"]; len(agent) > 0 {
		agent[0] = strings.Clone(agent[0])
	}
	delete(r.Header, "Host")
	for _, value := range r.Header["Connection"] {
		if !strings.EqualFold(value, "keep-alive") {
			return false
		}
	}
	return true
}

// Fields reads the lines of a head, each with its line end, as net/http does; ok
// says that there are few and that all are plain. The values share memory with
// the text.
func Fields(text string) (h http.Header, ok bool) {
	count := strings.Count(text, "\n")
	if count > maxFields {
		return nil, false
	}
	h = make(http.Header, count)
	values := make([]string, count) // one array for the values of all fields
	for text != "" {
		line, rest, ended := strings.Cut(text, "\r\n")
		name, value, found := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ended || !found || !isToken(name) || !isFieldValue(value) {
			return nil, false
		}
		text = rest
		name = textproto.CanonicalMIMEHeaderKey(name)
		if before, ok := h[name]; ok {
			h[name] = append(before, value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
	return h, true
}

// bodyLength reads Content-Length; none means none.
func bodyLength(r *http.Request) (int, error) {
	values, ok := r.Header["Content-Length"]
	if !ok {
		return 0, nil
	}
	if len(values) != 1 || len(values[0]) == 0 || len(values[0]) > 6 {
		return 0, strconv.ErrSyntax
	}
	for i := range len(values[0]) {
		if c := values[0][i]; c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.Atoi(values[0])
}

// PlainHost takes a DNS name or IPv4 address, with a port or without.
func PlainHost(host string) bool {
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != ':' {
			return false
		}
	}
	return host != ""
}

// isToken follows RFC 9110, 5.6.2.
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

func isFieldValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
