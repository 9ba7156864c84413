package blobfake

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// The documented limits of a blob's index tags.
const (
	maxTags     = 10
	maxTagName  = 128
	maxTagValue = 256
	// maxTagsBody is far above the longest list of tags, escaped.
	maxTagsBody = 64 << 10
)

const (
	readTags  = blobNoun + "tags/read"
	writeTags = blobNoun + "tags/write"
)

// tag is a pair as it was sent: one name may come twice, which is refused.
type tag struct {
	Key   string `xml:"Key"`
	Value string `xml:"Value"`
}

// newTags checks what a client sent. Codes as Azurite has them, but for
// InvalidTag, where that repeats another.
func newTags(list []tag) (map[string]string, error) {
	if len(list) > maxTags {
		return nil, errTagsTooLarge()
	}
	var tags map[string]string
	for _, t := range list {
		switch {
		case t.Key == "":
			return nil, errEmptyTagName()
		case len(t.Key) > maxTagName || len(t.Value) > maxTagValue:
			return nil, errTagsTooLarge()
		case strings.ContainsFunc(t.Key+t.Value, notOfTags):
			return nil, errInvalidTag()
		}
		if _, twice := tags[t.Key]; twice {
			return nil, errDuplicateTags()
		}
		if tags == nil {
			tags = map[string]string{}
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

func notOfTags(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(" +-./:=_", c)
}

// headerTags reads x-ms-tags, which is written as a query is. What is none at
// all gets the code of a bad header; unverified.
func headerTags(h http.Header) (map[string]string, error) {
	raw := h.Get("x-ms-tags")
	if raw == "" {
		return nil, nil
	}
	var list []tag
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, ok := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(name)
		text, err2 := url.QueryUnescape(value)
		if !ok || err1 != nil || err2 != nil {
			return nil, errInvalidHeader("x-ms-tags", raw)
		}
		list = append(list, tag{key, text})
	}
	return newTags(list)
}

// parseTags reads the body of Set Blob Tags.
func parseTags(body []byte) (map[string]string, error) {
	var doc struct {
		XMLName xml.Name `xml:"Tags"`
		Sets    []struct {
			Tags []tag `xml:"Tag"`
		} `xml:"TagSet"`
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&doc); err != nil {
		return nil, errInvalidXML(err)
	}
	if len(doc.Sets) != 1 {
		return nil, errInvalidXML(fmt.Errorf("%d elements TagSet", len(doc.Sets)))
	}
	for {
		switch token, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return newTags(doc.Sets[0].Tags)
		case err != nil:
			return nil, errInvalidXML(err)
		default:
			if _, more := token.(xml.StartElement); more {
				return nil, errInvalidXML(errors.New("something follows the tags"))
			}
		}
	}
}

func writeTagSet(b *bytes.Buffer, tags map[string]string) {
	b.WriteString("<Tags><TagSet>")
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		b.WriteString("<Tag>")
		element(b, "Key", name)
		element(b, "Value", tags[name])
		b.WriteString("</Tag>")
	}
	b.WriteString("</TagSet></Tags>")
}

// mayUseTags asks for the right to read or write tags beside that of the
// operation: to write a blob with tags and to list blobs with theirs needs it
// too (azure-cli issue 23536, azure-sdk-for-python issue 35718).
func (s *Service) mayUseTags(r *http.Request, action string) error {
	t := targetOf(r)
	who := httpx.Caller(r.Context())
	rw := s.rows[httpx.Entry(r.Context()).Operation]
	check := rw.Check(r)
	check.Action, check.SubOperation = action, ""
	switch who.Scheme {
	case azure.Bearer:
		return s.plane.Require(r, check)
	case azure.SAS:
		if !t.sas.allows("t") {
			return errPermissionMismatch()
		}
		if t.sas.kind != delegationSAS {
			return nil
		}
		d := s.authorizer.Decide(r.Context(), t.sas.signer, check)
		httpx.Entry(r.Context()).Decide(d)
		if !d.Allowed {
			return errPermissionMismatch()
		}
	case azure.Anonymous:
		return s.errAnonymous(t.version)
	}
	return nil
}

func (s *Service) getBlobTags(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	rec, err := s.viewBlob(r.Context(), t.account, t.container, t.blob)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(xmlHeader)
	writeTagSet(&b, rec.Tags)
	return writeXML(w, b.Bytes())
}

// setBlobTags replaces all tags. Neither ETag nor Last-Modified change.
func (s *Service) setBlobTags(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the tags: %w", err)
	}
	tags, err := parseTags(body)
	if err != nil {
		return err
	}
	if err := s.docs.Update(r.Context(), func(tx store.Tx) error {
		b, err := loadBlob(tx, t.account, t.container, t.blob)
		if err != nil {
			return err
		}
		b.Tags = tags
		return put(tx, blobBucket, key(t.account, t.container, t.blob), b)
	}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
