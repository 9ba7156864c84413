package blobfake

import (
	"bytes"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/amlocal/amlocal/store"
)

// maxResults is the longest page of a listing, and the default one.
const maxResults = 5000

// page is what both listings are asked.
type page struct {
	prefix, marker, delimiter string
	max                       int
	include                   map[string]bool
}

func parsePage(q queryValues, allowed string) (page, error) {
	p := page{prefix: q.get("prefix"), delimiter: q.get("delimiter"), max: maxResults, include: map[string]bool{}}
	if v := q.get("maxresults"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return p, errInvalidQuery("maxresults", v, "Invalid integer.")
		}
		if n <= 0 {
			return p, errQueryOutOfRange("maxresults", v)
		}
		p.max = min(n, maxResults)
	}
	for item := range strings.SplitSeq(strings.Join(q["include"], ","), ",") {
		item = lower(strings.TrimSpace(item))
		if item == "" {
			continue
		}
		if !slices.Contains(strings.Fields(allowed), item) {
			return p, errInvalidQuery("include", item, "")
		}
		p.include[item] = true
	}
	marker, ok := decodeMarker(q.get("marker"))
	if !ok {
		return p, errInvalidQuery("marker", q.get("marker"), "")
	}
	p.marker = max(marker, q.get("startfrom"))
	return p, nil
}

// Markers are opaque to clients: a name in base64 with a mark of ours.
const markerMark = "1!"

func encodeMarker(name string) string {
	return markerMark + base64.RawURLEncoding.EncodeToString([]byte(name))
}

func decodeMarker(m string) (name string, ok bool) {
	if m == "" {
		return "", true
	}
	rest, ok := strings.CutPrefix(m, markerMark)
	if !ok {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(rest)
	return string(raw), err == nil
}

// openResults writes the head of a listing.
func openResults(b *bytes.Buffer, r *http.Request, t *target, p page, containerName string) {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	endpoint := scheme + r.Host + "/"
	if t.pathStyle {
		endpoint += t.account + "/"
	}
	b.WriteString(xmlHeader + `<EnumerationResults ServiceEndpoint="`)
	escapeXML(b, endpoint)
	if containerName != "" {
		b.WriteString(`" ContainerName="`)
		escapeXML(b, containerName)
	}
	b.WriteString(`">`)
	for _, param := range []string{"prefix", "marker", "maxresults", "delimiter"} {
		if v := t.query.get(param); v != "" {
			name := map[string]string{"prefix": "Prefix", "marker": "Marker", "maxresults": "MaxResults", "delimiter": "Delimiter"}[param]
			element(b, name, v)
		}
	}
}

func closeResults(b *bytes.Buffer, next string) {
	if next == "" {
		b.WriteString("<NextMarker /></EnumerationResults>")
		return
	}
	element(b, "NextMarker", encodeMarker(next))
	b.WriteString("</EnumerationResults>")
}

func (s *Service) listContainers(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	p, err := parsePage(t.query, "metadata deleted system")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	openResults(&b, r, t, p, "")
	b.WriteString("<Containers>")
	next := ""
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) error {
		base, n := prefixOf(t.account), 0
		for k := range tx.Scan(containerBucket, append(slices.Clone(base), p.prefix...), append(slices.Clone(base), p.marker...)) {
			name := string(k[len(base):])
			if n == p.max {
				next = name
				return nil
			}
			c, _, err := get[container](tx, containerBucket, k)
			if err != nil {
				return err
			}
			writeContainer(&b, name, c, p.include["metadata"])
			n++
		}
		return nil
	}); err != nil {
		return err
	}
	b.WriteString("</Containers>")
	closeResults(&b, next)
	return writeXML(w, b.Bytes())
}

func writeContainer(b *bytes.Buffer, name string, c container, metadata bool) {
	b.WriteString("<Container>")
	element(b, "Name", name)
	b.WriteString("<Properties>")
	element(b, "Last-Modified", httpTime(c.Modified))
	element(b, "Etag", bareETag(c.Version))
	b.WriteString("<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>")
	if c.Public != Private {
		element(b, "PublicAccess", string(c.Public))
	}
	b.WriteString("<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>" +
		"<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>" +
		"<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>" +
		"<ImmutableStorageWithVersioningEnabled>false</ImmutableStorageWithVersioningEnabled></Properties>")
	if metadata {
		writeMetadata(b, c.Metadata)
	}
	b.WriteString("</Container>")
}

func writeMetadata(b *bytes.Buffer, metadata map[string]string) {
	b.WriteString("<Metadata>")
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		element(b, name, metadata[name])
	}
	b.WriteString("</Metadata>")
}

func (s *Service) listBlobs(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	p, err := parsePage(t.query, "snapshots metadata uncommittedblobs copy deleted tags versions deletedwithversions immutabilitypolicy legalhold permissions")
	if err != nil {
		return err
	}
	if p.include["tags"] {
		if err := s.mayUseTags(r, readTags); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	openResults(&b, r, t, p, t.container)
	b.WriteString("<Blobs>")
	next := ""
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) error {
		if _, err := loadContainer(tx, t.account, t.container); err != nil {
			return err
		}
		c := cursor{s: s, tx: tx, account: t.account, container: t.container, prefix: p.prefix, uncommitted: p.include["uncommittedblobs"]}
		next, err = writePage(&b, c, p)
		return err
	}); err != nil {
		return err
	}
	b.WriteString("</Blobs>")
	closeResults(&b, next)
	return writeXML(w, b.Bytes())
}

// writePage writes one page in name order, blobs and prefixes mixed as Azure
// mixes them, and returns the name the next page begins at.
func writePage(b *bytes.Buffer, c cursor, p page) (next string, err error) {
	from := p.marker
	for n := 0; ; n++ {
		name, rec, ok, err := c.seek(from)
		if err != nil || !ok {
			return "", err
		}
		if n == p.max {
			return name, nil
		}
		if p.delimiter != "" {
			if i := strings.Index(name[len(p.prefix):], p.delimiter); i >= 0 {
				group := name[:len(p.prefix)+i+len(p.delimiter)]
				b.WriteString("<BlobPrefix>")
				writeName(b, group)
				b.WriteString("</BlobPrefix>")
				from = after(group)
				continue
			}
		}
		writeBlob(b, name, rec, p)
		from = name + "\x00"
	}
}

// after is the smallest string above all that begin with s. Names are UTF-8,
// so their last byte is never 0xff.
func after(s string) string { return s[:len(s)-1] + string([]byte{s[len(s)-1] + 1}) }

// cursor finds blobs by name order, uncommitted ones too when asked.
type cursor struct {
	s                          *Service
	tx                         store.ReadTx
	account, container, prefix string
	uncommitted                bool
}

// seek is the first blob whose name is not below from; rec is nil for one that
// has only uncommitted blocks.
func (c cursor) seek(from string) (name string, rec *blob, ok bool, err error) {
	base := string(prefixOf(c.account, c.container))
	for k := range c.tx.Scan(blobBucket, []byte(base+c.prefix), []byte(base+from)) {
		b, _, err := get[blob](c.tx, blobBucket, k)
		if err != nil {
			return "", nil, false, err
		}
		name, rec, ok = string(k[len(base):]), &b, true
		break
	}
	if !c.uncommitted {
		return name, rec, ok, nil
	}
	// Block keys go on after the name with NUL, which "just after" must pass.
	if done, found := strings.CutSuffix(from, "\x00"); found {
		from = done + "\x01"
	}
	for k := range c.tx.Scan(blockBucket, []byte(base+c.prefix), []byte(base+from)) {
		waiting, _, _ := strings.Cut(string(k[len(base):]), "\x00")
		if !ok || waiting < name {
			return waiting, nil, true, nil
		}
		break
	}
	return name, rec, ok, nil
}

func writeBlob(b *bytes.Buffer, name string, rec *blob, p page) {
	b.WriteString("<Blob>")
	writeName(b, name)
	b.WriteString("<Properties>")
	if rec == nil {
		b.WriteString("<Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>")
		return
	}
	element(b, "Creation-Time", httpTime(rec.Created))
	element(b, "Last-Modified", httpTime(rec.Modified))
	element(b, "Etag", bareETag(rec.Version))
	element(b, "Content-Length", strconv.FormatInt(rec.Size, 10))
	element(b, "Content-Type", rec.Headers.ContentType)
	element(b, "Content-Encoding", rec.Headers.ContentEncoding)
	element(b, "Content-Language", rec.Headers.ContentLanguage)
	b.WriteString("<Content-CRC64 />")
	element(b, "Content-MD5", rec.Headers.ContentMD5)
	element(b, "Cache-Control", rec.Headers.CacheControl)
	element(b, "Content-Disposition", rec.Headers.ContentDisposition)
	b.WriteString("<BlobType>BlockBlob</BlobType>")
	element(b, "AccessTier", orDefault(rec.Tier, "Hot"))
	if rec.Tier == "" {
		b.WriteString("<AccessTierInferred>true</AccessTierInferred>")
	}
	b.WriteString("<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>")
	if c := rec.Copy; c != nil && p.include["copy"] {
		size := strconv.FormatInt(rec.Size, 10)
		element(b, "CopyId", c.ID)
		element(b, "CopySource", c.Source)
		element(b, "CopyStatus", "success")
		element(b, "CopyProgress", size+"/"+size)
		element(b, "CopyCompletionTime", httpTime(c.Completed))
	}
	if n := len(rec.Tags); n > 0 {
		element(b, "TagCount", strconv.Itoa(n))
	}
	b.WriteString("</Properties>")
	if p.include["metadata"] {
		writeMetadata(b, rec.Metadata)
	}
	if p.include["tags"] && len(rec.Tags) > 0 {
		writeTagSet(b, rec.Tags)
	}
	b.WriteString("<OrMetadata /></Blob>")
}

// writeName percent-encodes a name that XML cannot carry, and says so.
func writeName(b *bytes.Buffer, name string) {
	for _, c := range name {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0xfffe || c == 0xffff || c == utf8.RuneError {
			b.WriteString(`<Name Encoded="true">`)
			b.WriteString(percentEncode(name))
			b.WriteString("</Name>")
			return
		}
	}
	element(b, "Name", name)
}

func percentEncode(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + string([]byte{hexDigits[c>>4], hexDigits[c&15]}))
	}
	return b.String()
}
