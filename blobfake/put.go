package blobfake

import (
	"net/http"

	"github.com/amlocal/amlocal/store"
)

// maxPutBlob is the largest body of one Put Blob, maxBlock of one Put Block.
const (
	maxPutBlob = 5000 << 20
	maxBlock   = 4000 << 20
)

// draft is a blob about to be written, whichever operation writes it.
type draft struct {
	headers  headers
	metadata map[string]string
	tags     map[string]string
	tier     string
	blocks   []block
	copied   *copyState
}

// admit checks, before a body is read and again when it is written, that the
// blob may be created or replaced.
func (s *Service) admit(tx store.ReadTx, r *http.Request, cond conditions) (old blob, exists bool, err error) {
	t := targetOf(r)
	if _, err := loadContainer(tx, t.account, t.container); err != nil {
		return old, false, err
	}
	old, exists, err = get[blob](tx, blobBucket, key(t.account, t.container, t.blob))
	if err != nil {
		return old, exists, err
	}
	if err := cond.checkWrite(exists, etag(old.Version), old.Modified); err != nil {
		return old, exists, err
	}
	if exists {
		err = mayOverwrite(r)
	}
	return old, exists, err
}

// commit writes d over what is there and drops what that no longer needs.
func (s *Service) commit(tx store.Tx, r *http.Request, old blob, exists bool, d draft) (blob, error) {
	t := targetOf(r)
	for _, b := range d.blocks { // first, so that shared pieces never reach zero
		if err := s.ref(tx, b.piece); err != nil {
			return blob{}, err
		}
	}
	if err := s.unrefBlocks(tx, old.Blocks); err != nil {
		return blob{}, err
	}
	if err := s.removeStaged(tx, prefixOf(t.account, t.container, t.blob)); err != nil {
		return blob{}, err
	}
	now, v, err := s.stamp(tx)
	if err != nil {
		return blob{}, err
	}
	b := blob{
		Created: now, Modified: now, Version: v, Headers: d.headers, Metadata: d.metadata,
		Tags: d.tags, Tier: d.tier, Copy: d.copied, Blocks: d.blocks,
	}
	if exists {
		b.Created = old.Created
	}
	for _, p := range d.blocks {
		b.Size += p.Size
	}
	if b.Headers.ContentType == "" {
		b.Headers.ContentType = "application/octet-stream"
	}
	return b, put(tx, blobBucket, key(t.account, t.container, t.blob), b)
}

// readDraft takes from the headers what Put Blob and Put Block List share.
func (s *Service) readDraft(r *http.Request, plainToo bool) (d draft, err error) {
	if d.headers, err = requestHeaders(r.Header, plainToo); err != nil {
		return d, err
	}
	if d.metadata, err = requestMetadata(r.Header); err != nil {
		return d, err
	}
	if d.tags, err = headerTags(r.Header); err != nil {
		return d, err
	}
	if d.tags != nil {
		if err := s.mayUseTags(r, writeTags); err != nil {
			return d, err
		}
	}
	d.tier, err = requestTier(r.Header)
	return d, err
}

func (s *Service) putBlob(w http.ResponseWriter, r *http.Request) error {
	switch kind := r.Header.Get("x-ms-blob-type"); kind {
	case "BlockBlob":
	case "":
		return errMissingHeader("x-ms-blob-type")
	case "AppendBlob", "PageBlob":
		return errNotImplemented("blobs of type " + kind)
	default:
		return errInvalidHeader("x-ms-blob-type", kind)
	}
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	d, err := s.readDraft(r, true)
	if err != nil {
		return err
	}
	// A refusal should not cost the transfer.
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) error {
		_, _, err := s.admit(tx, r, cond)
		return err
	}); err != nil {
		return err
	}
	c, err := s.ingest(r, maxPutBlob)
	if err != nil {
		return err
	}
	defer c.release()
	if d.headers.ContentMD5 == "" {
		d.headers.ContentMD5 = c.md5
	} else if d.headers.ContentMD5 != c.md5 { // as Azurite; unverified
		return errMD5Mismatch(d.headers.ContentMD5, c.md5)
	}
	if c.Size > 0 {
		d.blocks = []block{{piece: c.piece}}
	}
	var b blob
	if err := s.docs.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := s.admit(tx, r, cond)
		if err != nil {
			return err
		}
		b, err = s.commit(tx, r, old, exists, d)
		return err
	}); err != nil {
		return err
	}
	h := w.Header()
	setValidators(h, etag(b.Version), b.Modified)
	h.Set("Content-MD5", c.md5)
	setIf(h, "x-ms-content-crc64", c.crc)
	h.Set("x-ms-request-server-encrypted", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}
