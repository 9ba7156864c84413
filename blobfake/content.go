package blobfake

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"net/http"
	"os"

	"github.com/amlocal/amlocal/store"
)

// content is a request body that was read and checked, not yet part of a blob.
type content struct {
	piece
	md5     string // base64
	crc     string // base64; empty unless the client sent one
	release func()
}

// storageCRC64 is the polynomial of x-ms-content-crc64 (azblob: shared).
const storageCRC64 = 0x9A6C9329AC4BC9B5

// ingest reads the body of r: small ones into memory, large ones into a file.
// The caller must call release when its transaction has ended.
func (s *Service) ingest(r *http.Request, limit int64) (*content, error) {
	if r.ContentLength < 0 {
		return nil, errMissingLength()
	}
	if r.ContentLength > limit {
		return nil, errBodyTooLarge(limit)
	}
	wantMD5, wantCRC := r.Header.Get("Content-MD5"), r.Header.Get("x-ms-content-crc64")
	if !validMD5(wantMD5) {
		return nil, errInvalidMD5(wantMD5)
	}
	body := io.Reader(r.Body)
	var crc hash.Hash64
	if wantCRC != "" {
		crc = crc64.New(crc64.MakeTable(storageCRC64))
		body = io.TeeReader(body, crc)
	}
	c, err := s.keep(r.Context(), body, r.ContentLength)
	if err != nil {
		return nil, fmt.Errorf("read the request body: %w", err)
	}
	if wantMD5 != "" && wantMD5 != c.md5 {
		c.release()
		return nil, errMD5Mismatch(wantMD5, c.md5)
	}
	if crc != nil {
		c.crc = base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint64(nil, crc.Sum64()))
		if wantCRC != c.crc {
			c.release()
			return nil, errCRCMismatch(wantCRC, c.crc)
		}
	}
	return c, nil
}

func (s *Service) keep(ctx context.Context, body io.Reader, size int64) (*content, error) {
	if size <= inlineLimit {
		data := make([]byte, size)
		if _, err := io.ReadFull(body, data); err != nil {
			return nil, err
		}
		sum := md5.Sum(data)
		return &content{
			piece:   piece{Size: size, Inline: data},
			md5:     base64.StdEncoding.EncodeToString(sum[:]),
			release: func() {},
		}, nil
	}
	file, err := s.files.Stage(ctx, body)
	if err != nil {
		return nil, err
	}
	if file.Size != size {
		file.Release()
		return nil, io.ErrUnexpectedEOF
	}
	return &content{
		piece:   piece{Size: size, Digest: file.Digest},
		md5:     base64.StdEncoding.EncodeToString(file.MD5[:]),
		release: file.Release,
	}, nil
}

func validMD5(v string) bool {
	sum, err := base64.StdEncoding.DecodeString(v)
	return v == "" || err == nil && len(sum) == md5.Size
}

func (p piece) isFile() bool { return p.Digest != store.Digest{} }

func (s *Service) ref(tx store.Tx, p piece) error {
	if !p.isFile() {
		return nil
	}
	return s.files.Ref(tx, p.Digest)
}

func (s *Service) unref(tx store.Tx, p piece) error {
	if !p.isFile() {
		return nil
	}
	return s.files.Unref(tx, p.Digest)
}

func (s *Service) unrefBlocks(tx store.Tx, blocks []block) error {
	for _, b := range blocks {
		if err := s.unref(tx, b.piece); err != nil {
			return err
		}
	}
	return nil
}

// maxOpen is how many files a reader opens before the first byte. A file once
// open stays readable whatever happens to the blob; only a read of more pieces
// than this can be cut short by an overwrite, and then breaks the connection.
const maxOpen = 128

// reader reads a range of a blob piece by piece.
type reader struct {
	s     *Service
	parts []part
	next  int
	cur   io.Reader
	close io.Closer
}

type part struct {
	piece
	offset, length int64
	file           *os.File
}

// openRange opens the pieces under a range. It fails with fs.ErrNotExist when
// the blob was replaced since its record was read: read it again.
func (s *Service) openRange(blocks []block, offset, length int64) (*reader, error) {
	rd := &reader{s: s}
	for _, b := range blocks {
		if length == 0 {
			break
		}
		if offset >= b.Size {
			offset -= b.Size
			continue
		}
		n := min(length, b.Size-offset)
		rd.parts = append(rd.parts, part{piece: b.piece, offset: offset, length: n})
		offset, length = 0, length-n
	}
	for i := range rd.parts[:min(maxOpen, len(rd.parts))] {
		if p := &rd.parts[i]; p.isFile() {
			f, err := s.files.Open(p.Digest)
			if err != nil {
				_ = rd.Close()
				return nil, err
			}
			p.file = f
		}
	}
	return rd, nil
}

// Read implements io.Reader.
func (rd *reader) Read(b []byte) (int, error) {
	for {
		if rd.cur == nil {
			if rd.next == len(rd.parts) {
				return 0, io.EOF
			}
			if err := rd.advance(); err != nil {
				return 0, err
			}
		}
		n, err := rd.cur.Read(b)
		if err == io.EOF {
			rd.finish()
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (rd *reader) advance() error {
	p := &rd.parts[rd.next]
	rd.next++
	if !p.isFile() {
		if p.offset+p.length > int64(len(p.Inline)) {
			return io.ErrUnexpectedEOF
		}
		rd.cur = bytes.NewReader(p.Inline[p.offset : p.offset+p.length])
		return nil
	}
	if p.file == nil {
		f, err := rd.s.files.Open(p.Digest)
		if err != nil {
			return err
		}
		p.file = f
	}
	rd.cur, rd.close = io.NewSectionReader(p.file, p.offset, p.length), p.file
	p.file = nil
	return nil
}

func (rd *reader) finish() {
	rd.cur = nil
	if rd.close != nil {
		_ = rd.close.Close()
		rd.close = nil
	}
}

// Close closes what is still open.
func (rd *reader) Close() error {
	rd.finish()
	for i := range rd.parts {
		if f := rd.parts[i].file; f != nil {
			_ = f.Close()
			rd.parts[i].file = nil
		}
	}
	return nil
}
