package blobfake

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/amlocal/amlocal/store"
)

// loadBlob is the blob, ContainerNotFound or BlobNotFound.
func loadBlob(tx store.ReadTx, account, containerName, name string) (blob, error) {
	b, ok, err := get[blob](tx, blobBucket, key(account, containerName, name))
	if err != nil || ok {
		return b, err
	}
	if _, err := loadContainer(tx, account, containerName); err != nil {
		return b, err
	}
	return b, errBlobNotFound()
}

func (s *Service) viewBlob(ctx context.Context, account, container, name string) (b blob, err error) {
	err = s.docs.View(ctx, func(tx store.ReadTx) (err error) {
		b, err = loadBlob(tx, account, container, name)
		return err
	})
	return b, err
}

// maxRangeHash is the longest range whose MD5 can be asked for.
const maxRangeHash = 4 << 20

// getBlob answers Get Blob and Get Blob Properties.
func (s *Service) getBlob(w http.ResponseWriter, r *http.Request) error {
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	rng, ranged, err := requestRange(r.Header)
	if err != nil {
		return err
	}
	ranged = ranged && r.Method == http.MethodGet
	// Between reading the record and opening its files the blob may be
	// replaced; then the new one is the answer.
	for range 5 {
		err = s.serveBlob(w, r, cond, rng, ranged)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func (s *Service) serveBlob(w http.ResponseWriter, r *http.Request, cond conditions, rng byteRange, ranged bool) error {
	t := targetOf(r)
	b, err := s.viewBlob(r.Context(), t.account, t.container, t.blob)
	if err != nil {
		return err
	}
	if err := cond.checkRead(etag(b.Version), b.Modified); err != nil {
		return err
	}
	offset, length := int64(0), b.Size
	if ranged {
		if offset, length, err = rng.within(b.Size); err != nil {
			return err
		}
	}
	var sum string
	if r.Header.Get("x-ms-range-get-content-md5") == "true" {
		if !ranged {
			return errInvalidHeader("x-ms-range-get-content-md5", "true")
		}
		if length > maxRangeHash {
			return errRangeTooLarge()
		}
		if sum, err = s.rangeMD5(b, offset, length); err != nil {
			return err
		}
	}
	h := w.Header()
	if r.Method == http.MethodHead {
		setBlobHeaders(h, t, b)
		h.Set("Content-Length", strconv.FormatInt(b.Size, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	rd, err := s.openRange(b.Blocks, offset, length)
	if err != nil {
		return fmt.Errorf("open the content of %s/%s: %w", t.container, t.blob, err)
	}
	defer func() { _ = rd.Close() }()
	setBlobHeaders(h, t, b)
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	status := http.StatusOK
	if ranged {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+byteRange{offset, offset + length - 1}.String()+"/"+strconv.FormatInt(b.Size, 10))
		// Content-MD5 would be taken for the range's.
		h.Del("Content-MD5")
		setIf(h, "x-ms-blob-content-md5", b.Headers.ContentMD5)
		setIf(h, "Content-MD5", sum)
	}
	w.WriteHeader(status)
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	if n, err := io.CopyBuffer(writerOnly{w}, rd, *buf); err != nil || n != length {
		return fmt.Errorf("send %s/%s: %d of %d bytes: %w", t.container, t.blob, n, length, err)
	}
	return nil
}

// writerOnly keeps io.CopyBuffer from bypassing our buffer.
type writerOnly struct{ io.Writer }

func (s *Service) rangeMD5(b blob, offset, length int64) (string, error) {
	rd, err := s.openRange(b.Blocks, offset, length)
	if err != nil {
		return "", err
	}
	defer func() { _ = rd.Close() }()
	h := md5.New()
	if _, err := io.Copy(h, rd); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

func setBlobHeaders(h http.Header, t *target, b blob) {
	setValidators(h, etag(b.Version), b.Modified)
	h.Set("Content-Type", orDefault(b.Headers.ContentType, "application/octet-stream"))
	setIf(h, "Content-Encoding", b.Headers.ContentEncoding)
	setIf(h, "Content-Language", b.Headers.ContentLanguage)
	setIf(h, "Content-Disposition", b.Headers.ContentDisposition)
	setIf(h, "Cache-Control", b.Headers.CacheControl)
	setIf(h, "Content-MD5", b.Headers.ContentMD5)
	if t.sas != nil { // a service SAS may override what the reader is told
		for field, name := range map[string]string{
			"rscc": "Cache-Control", "rscd": "Content-Disposition", "rsce": "Content-Encoding",
			"rscl": "Content-Language", "rsct": "Content-Type",
		} {
			setIf(h, name, t.sas.get(field))
		}
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-ms-blob-type", "BlockBlob")
	h.Set("x-ms-creation-time", httpTime(b.Created))
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-lease-state", "available")
	h.Set("x-ms-server-encrypted", "true")
	h.Set("x-ms-access-tier", orDefault(b.Tier, "Hot"))
	if b.Tier == "" {
		h.Set("x-ms-access-tier-inferred", "true")
	}
	if c := b.Copy; c != nil {
		size := strconv.FormatInt(b.Size, 10)
		h.Set("x-ms-copy-id", c.ID)
		h.Set("x-ms-copy-source", c.Source)
		h.Set("x-ms-copy-status", "success")
		h.Set("x-ms-copy-progress", size+"/"+size)
		h.Set("x-ms-copy-completion-time", httpTime(c.Completed))
	}
	if len(b.Tags) > 0 && t.version >= tagsVersion {
		h.Set("x-ms-tag-count", strconv.Itoa(len(b.Tags)))
	}
	setMetadata(h, b.Metadata)
}

func (s *Service) getBlobMetadata(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	b, err := s.viewBlob(r.Context(), t.account, t.container, t.blob)
	if err != nil {
		return err
	}
	if err := cond.checkRead(etag(b.Version), b.Modified); err != nil {
		return err
	}
	setValidators(w.Header(), etag(b.Version), b.Modified)
	setMetadata(w.Header(), b.Metadata)
	w.WriteHeader(http.StatusOK)
	return nil
}

// change rewrites a blob's record under the request's conditions.
func (s *Service) change(r *http.Request, edit func(*blob)) (b blob, err error) {
	t := targetOf(r)
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return b, err
	}
	err = s.docs.Update(r.Context(), func(tx store.Tx) (err error) {
		if b, err = loadBlob(tx, t.account, t.container, t.blob); err != nil {
			return err
		}
		if err := cond.checkWrite(true, etag(b.Version), b.Modified); err != nil {
			return err
		}
		edit(&b)
		if b.Modified, b.Version, err = s.stamp(tx); err != nil {
			return err
		}
		return put(tx, blobBucket, key(t.account, t.container, t.blob), b)
	})
	return b, err
}

func (s *Service) setBlobMetadata(w http.ResponseWriter, r *http.Request) error {
	metadata, err := requestMetadata(r.Header)
	if err != nil {
		return err
	}
	b, err := s.change(r, func(b *blob) { b.Metadata = metadata })
	if err != nil {
		return err
	}
	setValidators(w.Header(), etag(b.Version), b.Modified)
	w.Header().Set("x-ms-request-server-encrypted", "true")
	w.WriteHeader(http.StatusOK)
	return nil
}

// setBlobProperties replaces all properties: one that is not sent is cleared.
func (s *Service) setBlobProperties(w http.ResponseWriter, r *http.Request) error {
	props, err := requestHeaders(r.Header, false)
	if err != nil {
		return err
	}
	b, err := s.change(r, func(b *blob) { b.Headers = props })
	if err != nil {
		return err
	}
	setValidators(w.Header(), etag(b.Version), b.Modified)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) deleteBlob(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	snapshots := r.Header.Get("x-ms-delete-snapshots")
	switch snapshots {
	case "", "include", "only":
	default:
		return errInvalidHeader("x-ms-delete-snapshots", snapshots)
	}
	err = s.docs.Update(r.Context(), func(tx store.Tx) error {
		b, err := loadBlob(tx, t.account, t.container, t.blob)
		if err != nil {
			return err
		}
		if err := cond.checkWrite(true, etag(b.Version), b.Modified); err != nil {
			return err
		}
		if snapshots == "only" { // there are none; the blob itself stays
			return nil
		}
		if err := s.unrefBlocks(tx, b.Blocks); err != nil {
			return err
		}
		if err := s.removeStaged(tx, prefixOf(t.account, t.container, t.blob)); err != nil {
			return err
		}
		return tx.Delete(blobBucket, key(t.account, t.container, t.blob))
	})
	if err != nil {
		return err
	}
	w.Header().Set("x-ms-delete-type-permanent", "true")
	w.WriteHeader(http.StatusAccepted)
	return nil
}
