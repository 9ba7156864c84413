package blobfake

import (
	"bytes"
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amlocal/amlocal/internal/httpx"
)

const xmlHeader = `<?xml version="1.0" encoding="utf-8"?>`

func lower(s string) string { return strings.ToLower(s) }

// encodeError writes Azure's XML error. HEAD and 304 carry the code in the
// header alone.
func encodeError(w http.ResponseWriter, r *http.Request, e *httpx.Error) {
	h := w.Header()
	h.Set("x-ms-error-code", e.Code)
	if r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return
	}
	var b bytes.Buffer
	b.WriteString(xmlHeader + "<Error>")
	element(&b, "Code", e.Code)
	now := h.Get("Date")
	if t, err := http.ParseTime(now); err == nil {
		now = t.UTC().Format("2006-01-02T15:04:05.0000000Z")
	}
	element(&b, "Message", e.Message+"\nRequestId:"+httpx.RequestID(r.Context())+"\nTime:"+now)
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		element(&b, name, e.Extra[name])
	}
	b.WriteString("</Error>")
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(e.Status)
	_, _ = w.Write(b.Bytes())
}

// element writes one XML element with escaped text.
func element(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	escapeXML(b, value)
	b.WriteString("</" + name + ">")
}

// escapeXML leaves line ends readable, which xml.EscapeText does not.
func escapeXML(b *bytes.Buffer, s string) {
	var escaped bytes.Buffer
	_ = xml.EscapeText(&escaped, []byte(s))
	b.Write(bytes.ReplaceAll(escaped.Bytes(), []byte("&#xA;"), []byte("\n")))
}

func writeXML(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // the client is gone: nobody is left to tell
	return nil
}

// setMetadata writes x-ms-meta-* straight into the header map: azure-ai-ml
// compares the names in lower case, and Header.Set would capitalize them.
func setMetadata(h http.Header, metadata map[string]string) {
	for name, value := range metadata {
		h["x-ms-meta-"+name] = []string{value}
	}
}

func setValidators(h http.Header, etag string, modified time.Time) {
	h.Set("ETag", etag)
	h.Set("Last-Modified", httpTime(modified))
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// setIf writes a header unless its value is empty.
func setIf(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}
