package blobfake

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/amlocal/amlocal/store"
)

const (
	// blockLife is how long an uncommitted block is kept.
	blockLife = 7 * 24 * time.Hour
	// maxBlocks is the longest block list.
	maxBlocks = 50000
)

// blockIDLength is the decoded length of a block id: at most 64 bytes, and the
// same for all blocks of a blob.
func blockIDLength(id string) (int, bool) {
	raw, err := base64.StdEncoding.DecodeString(id)
	return len(raw), err == nil && len(raw) > 0 && len(raw) <= 64
}

func (s *Service) putBlock(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	if !t.query.has("blockid") {
		return errMissingQuery("blockid")
	}
	id := t.query.get("blockid")
	length, ok := blockIDLength(id)
	if !ok {
		return errInvalidQuery("blockid", id, "Not a valid base64 string.")
	}
	if r.ContentLength == 0 {
		return errInvalidHeader("Content-Length", "0")
	}
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) error {
		_, err := loadContainer(tx, t.account, t.container)
		return err
	}); err != nil {
		return err
	}
	c, err := s.ingest(r, maxBlock)
	if err != nil {
		return err
	}
	defer c.release()
	if err := s.docs.Update(r.Context(), func(tx store.Tx) error {
		return s.stageBlock(tx, t, id, length, c.piece)
	}); err != nil {
		return err
	}
	h := w.Header()
	if c.crc != "" {
		h.Set("x-ms-content-crc64", c.crc)
	} else {
		h.Set("Content-MD5", c.md5)
	}
	h.Set("x-ms-request-server-encrypted", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Service) stageBlock(tx store.Tx, t *target, id string, length int, p piece) error {
	if _, err := loadContainer(tx, t.account, t.container); err != nil {
		return err
	}
	prefix := prefixOf(t.account, t.container, t.blob)
	if err := s.matchFirst(tx, prefix, length); err != nil {
		return err
	}
	k := append(prefix, id...)
	old, ok, err := get[staged](tx, blockBucket, k)
	if err != nil {
		return err
	}
	if err := s.ref(tx, p); err != nil {
		return err
	}
	if ok {
		if err := s.unref(tx, old.piece); err != nil {
			return err
		}
	}
	return put(tx, blockBucket, k, staged{Time: s.now(), piece: p})
}

// matchFirst holds a block id's length against the blob's first uncommitted
// block, as they are all alike. One left over from more than a week ago does
// not count and goes, with its like.
func (s *Service) matchFirst(tx store.Tx, prefix []byte, length int) error {
	for k := range tx.Scan(blockBucket, prefix, nil) {
		first, _, err := get[staged](tx, blockBucket, k)
		if err != nil {
			return err
		}
		if s.now().Sub(first.Time) >= blockLife {
			break
		}
		if n, _ := blockIDLength(string(k[len(prefix):])); n != length {
			return errInvalidBlock()
		}
		return nil
	}
	return s.expireBlocks(tx, prefix)
}

// blockRef is an entry of a block list as sent.
type blockRef struct{ kind, id string }

// parseBlockList reads the body of Put Block List, in order.
func parseBlockList(body io.Reader) ([]blockRef, error) {
	d := xml.NewDecoder(body)
	var list []blockRef
	depth := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if depth != 0 || list == nil {
				return nil, errInvalidXML(io.ErrUnexpectedEOF)
			}
			return list, nil
		}
		if err != nil {
			return nil, errInvalidXML(err)
		}
		switch el := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				if el.Name.Local != "BlockList" || list != nil {
					return nil, errInvalidXML(fmt.Errorf("unexpected element %s", el.Name.Local))
				}
				list, depth = []blockRef{}, 1
				continue
			}
			var id string
			if err := d.DecodeElement(&id, &el); err != nil {
				return nil, errInvalidXML(err)
			}
			switch el.Name.Local {
			case "Latest", "Committed", "Uncommitted":
			default:
				return nil, errInvalidXML(fmt.Errorf("unexpected element %s", el.Name.Local))
			}
			id = strings.TrimSpace(id)
			if _, ok := blockIDLength(id); !ok {
				return nil, errXMLNodeValue(el.Name.Local, id)
			}
			if list = append(list, blockRef{el.Name.Local, id}); len(list) > maxBlocks {
				return nil, errBlockListTooLong()
			}
		case xml.EndElement:
			depth--
		}
	}
}

func (s *Service) putBlockList(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the block list: %w", err)
	}
	raw := md5.Sum(body)
	sum := base64.StdEncoding.EncodeToString(raw[:])
	if given := r.Header.Get("Content-MD5"); !validMD5(given) {
		return errInvalidMD5(given)
	} else if given != "" && given != sum {
		return errMD5Mismatch(given, sum)
	}
	list, err := parseBlockList(bytes.NewReader(body))
	if err != nil {
		return err
	}
	cond, err := parseConditions(r.Header, "")
	if err != nil {
		return err
	}
	d, err := s.readDraft(r, false)
	if err != nil {
		return err
	}
	var b blob
	if err := s.docs.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := s.admit(tx, r, cond)
		if err != nil {
			return err
		}
		if d.blocks, err = s.resolve(tx, t, old, list); err != nil {
			return err
		}
		b, err = s.commit(tx, r, old, exists, d)
		return err
	}); err != nil {
		return err
	}
	h := w.Header()
	setValidators(h, etag(b.Version), b.Modified)
	h.Set("Content-MD5", sum)
	h.Set("x-ms-request-server-encrypted", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// resolve finds the content of each block named in a list.
func (s *Service) resolve(tx store.ReadTx, t *target, old blob, list []blockRef) ([]block, error) {
	committed := make(map[string]piece, len(old.Blocks))
	for _, b := range old.Blocks {
		if b.ID != "" {
			committed[b.ID] = b.piece
		}
	}
	blocks := make([]block, 0, len(list))
	for _, ref := range list {
		p, found := committed[ref.id]
		found = found && ref.kind != "Uncommitted"
		if ref.kind != "Committed" {
			st, ok, err := get[staged](tx, blockBucket, key(t.account, t.container, t.blob, ref.id))
			if err != nil {
				return nil, err
			}
			if ok && s.now().Sub(st.Time) < blockLife {
				p, found = st.piece, true
			}
		}
		if !found {
			return nil, errInvalidBlockList()
		}
		blocks = append(blocks, block{ID: ref.id, piece: p})
	}
	return blocks, nil
}

func (s *Service) getBlockList(w http.ResponseWriter, r *http.Request) error {
	t := targetOf(r)
	kind := orDefault(lower(t.query.get("blocklisttype")), "committed")
	if kind != "committed" && kind != "uncommitted" && kind != "all" {
		return errInvalidQuery("blocklisttype", kind, "")
	}
	var b blob
	var exists bool
	type waiting struct {
		id   string
		size int64
	}
	var uncommitted []waiting
	if err := s.docs.View(r.Context(), func(tx store.ReadTx) (err error) {
		if b, exists, err = get[blob](tx, blobBucket, key(t.account, t.container, t.blob)); err != nil {
			return err
		}
		prefix := prefixOf(t.account, t.container, t.blob)
		for k := range tx.Scan(blockBucket, prefix, nil) {
			st, _, err := get[staged](tx, blockBucket, k)
			if err != nil {
				return err
			}
			if s.now().Sub(st.Time) < blockLife {
				uncommitted = append(uncommitted, waiting{string(k[len(prefix):]), st.Size})
			}
		}
		if !exists && len(uncommitted) == 0 {
			_, err = loadBlob(tx, t.account, t.container, t.blob)
		}
		return err
	}); err != nil {
		return err
	}
	h := w.Header()
	h.Set("x-ms-blob-content-length", strconv.FormatInt(b.Size, 10))
	if exists {
		setValidators(h, etag(b.Version), b.Modified)
	}
	var out bytes.Buffer
	out.WriteString(xmlHeader + "<BlockList>")
	entry := func(id string, size int64) {
		out.WriteString("<Block>")
		element(&out, "Name", id)
		element(&out, "Size", strconv.FormatInt(size, 10))
		out.WriteString("</Block>")
	}
	if kind != "uncommitted" {
		out.WriteString("<CommittedBlocks>")
		for _, c := range b.Blocks {
			if c.ID != "" {
				entry(c.ID, c.Size)
			}
		}
		out.WriteString("</CommittedBlocks>")
	}
	if kind != "committed" {
		out.WriteString("<UncommittedBlocks>")
		for _, u := range uncommitted {
			entry(u.id, u.size)
		}
		out.WriteString("</UncommittedBlocks>")
	}
	out.WriteString("</BlockList>")
	return writeXML(w, out.Bytes())
}

// removeStaged drops all uncommitted blocks below a key prefix.
func (s *Service) removeStaged(tx store.Tx, prefix []byte) error {
	return s.dropBlocks(tx, prefix, func(staged) bool { return true })
}

// expireBlocks drops those that were left lying for a week.
func (s *Service) expireBlocks(tx store.Tx, prefix []byte) error {
	now := s.now()
	return s.dropBlocks(tx, prefix, func(b staged) bool { return now.Sub(b.Time) >= blockLife })
}

// sweepBlocks does so for all blobs, once at the start.
func (s *Service) sweepBlocks(tx store.Tx) error { return s.expireBlocks(tx, nil) }

func (s *Service) dropBlocks(tx store.Tx, prefix []byte, drop func(staged) bool) error {
	for _, k := range keysBelow(tx, blockBucket, prefix) {
		b, _, err := get[staged](tx, blockBucket, k)
		if err != nil {
			return err
		}
		if !drop(b) {
			continue
		}
		if err := s.unref(tx, b.piece); err != nil {
			return err
		}
		if err := tx.Delete(blockBucket, k); err != nil {
			return err
		}
	}
	return nil
}
