package blobfake

import (
	"net/http"
	"strings"
	"unicode"
)

// maxMetadata is the total size of names and values.
const maxMetadata = 8 << 10

// requestMetadata reads x-ms-meta-* headers. Names are kept in lower case: what
// case a client sent cannot be told after Go read it, and Azure compares them
// without regard to it.
func requestMetadata(h http.Header) (map[string]string, error) {
	var metadata map[string]string
	size := 0
	for name, values := range h {
		name, ok := strings.CutPrefix(lower(name), "x-ms-meta-")
		if !ok {
			continue
		}
		if name == "" {
			return nil, errMetadataKeyEmpty()
		}
		if !validMetadataName(name) {
			return nil, errMetadataName()
		}
		if metadata == nil {
			metadata = map[string]string{}
		}
		metadata[name] = strings.Join(values, ",")
		size += len(name) + len(metadata[name])
	}
	if size > maxMetadata {
		return nil, errMetadataTooLarge()
	}
	return metadata, nil
}

// validMetadataName: names must be C# identifiers.
func validMetadataName(name string) bool {
	for i, c := range name {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return true
}

// requestHeaders reads the x-ms-blob-* properties. Put Blob also takes the
// plain Content-* headers; in other operations those describe the body sent.
func requestHeaders(h http.Header, plainToo bool) (headers, error) {
	pick := func(name, plain string) string {
		if v := h.Get(name); v != "" || !plainToo {
			return v
		}
		return h.Get(plain)
	}
	p := headers{
		ContentType:        pick("x-ms-blob-content-type", "Content-Type"),
		ContentEncoding:    pick("x-ms-blob-content-encoding", "Content-Encoding"),
		ContentLanguage:    pick("x-ms-blob-content-language", "Content-Language"),
		CacheControl:       pick("x-ms-blob-cache-control", "Cache-Control"),
		ContentDisposition: h.Get("x-ms-blob-content-disposition"),
		ContentMD5:         h.Get("x-ms-blob-content-md5"),
	}
	if !validMD5(p.ContentMD5) {
		return p, errInvalidMD5(p.ContentMD5)
	}
	return p, nil
}

// requestTier is the access tier a write names, "" for the account's default.
func requestTier(h http.Header) (string, error) {
	v := h.Get("x-ms-access-tier")
	switch v {
	case "", "Hot", "Cool", "Cold":
		return v, nil
	case "Archive", "Premium", "P4", "P6", "P10", "P15", "P20", "P30", "P40", "P50", "P60", "P70", "P80":
		return "", errNotImplemented("the access tier " + v)
	}
	return "", errInvalidHeader("x-ms-access-tier", v)
}
