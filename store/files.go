package store

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Digest is the SHA-256 of a content and its name in Files. As text, in JSON
// too, it is lower-case hexadecimal.
type Digest [sha256.Size]byte

// ParseDigest reads what String writes.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	return d, d.UnmarshalText([]byte(s))
}

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes the one
// spelling MarshalText makes.
func (d *Digest) UnmarshalText(text []byte) error {
	var v Digest
	if len(text) != hex.EncodedLen(len(v)) {
		return fmt.Errorf("store: %q is not a SHA-256 digest", text)
	}
	if _, err := hex.Decode(v[:], text); err != nil || v.String() != string(text) {
		return fmt.Errorf("store: %q is not a SHA-256 digest", text)
	}
	*d = v
	return nil
}

// Files keeps contents that are too large for a document, each once, named by
// its digest. How often documents refer to one is counted in the transactions
// that write the documents; at zero, and with no Staged holding it, the file
// goes.
type Files struct {
	s             *Store
	dir, incoming string
	buffers       sync.Pool // of *[]byte, for copying

	mu     sync.Mutex // also held while a name appears or disappears
	closed bool
	pins   map[Digest]int
}

// Staged is a content that is complete and on disk but perhaps not yet
// referred to. It stays until Release.
type Staged struct {
	Digest Digest
	MD5    [md5.Size]byte
	Size   int64

	release func()
}

// Release ends the hold. Call it when the transaction that refers to the
// content has ended, however it ended. More than once is the same as once.
func (st *Staged) Release() { st.release() }

func openFiles(s *Store) (*Files, error) {
	f := &Files{
		s:        s,
		dir:      filepath.Join(s.dir, filesName),
		incoming: filepath.Join(s.dir, incomingName),
		pins:     make(map[Digest]int),
		buffers: sync.Pool{New: func() any {
			b := make([]byte, 128<<10)
			return &b
		}},
	}
	// Nobody can be writing there: we hold the lock.
	if err := os.RemoveAll(f.incoming); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for _, dir := range []string{f.incoming, f.dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	if s.durability == Power {
		if err := syncDir(s.dir); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return f, nil
}

func (f *Files) path(d Digest) string { return filepath.Join(f.dir, d.String()) }

// Stage streams r to disk and holds the result. An error of r, or the end of
// ctx, which is looked at between reads, leaves nothing behind.
func (f *Files) Stage(ctx context.Context, r io.Reader) (_ *Staged, err error) {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	tmp, err := os.CreateTemp(f.incoming, "*")
	if err != nil {
		return nil, fmt.Errorf("store: stage: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	sha, sum := sha256.New(), md5.New()
	st := &Staged{}
	buf := f.buffers.Get().(*[]byte)
	st.Size, err = io.CopyBuffer(io.MultiWriter(tmp, sha, sum), &contextReader{ctx, r}, *buf)
	f.buffers.Put(buf)
	if err != nil {
		return nil, fmt.Errorf("store: stage: %w", err)
	}
	sha.Sum(st.Digest[:0])
	sum.Sum(st.MD5[:0])
	if f.s.durability == Power {
		if err := tmp.Sync(); err != nil {
			return nil, fmt.Errorf("store: stage: %w", err)
		}
	}
	if err := tmp.Close(); err != nil {
		return nil, fmt.Errorf("store: stage: %w", err)
	}
	if err := f.settle(tmp.Name(), st.Digest); err != nil {
		return nil, err
	}
	st.release = sync.OnceFunc(func() { f.unpin(st.Digest) })
	if f.s.durability == Power {
		if err := syncDir(f.dir); err != nil {
			st.Release()
			return nil, fmt.Errorf("store: stage: %w", err)
		}
	}
	return st, nil
}

// settle gives a finished content its name and the first hold on it. A file
// of that name is replaced: the new one is known to be whole and synced.
func (f *Files) settle(tmp string, d Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if err := os.Rename(tmp, f.path(d)); err != nil {
		return fmt.Errorf("store: stage: %w", err)
	}
	f.pins[d]++
	return nil
}

func (f *Files) unpin(d Digest) {
	f.mu.Lock()
	f.pins[d]--
	last := f.pins[d] == 0
	if last {
		delete(f.pins, d)
	}
	f.mu.Unlock()
	if last {
		f.s.addOrphans(d)
	}
}

// Open opens a content for reading. One that nothing refers to any more, or
// that was deleted after the caller looked, is fs.ErrNotExist; a file once
// open stays readable.
func (f *Files) Open(d Digest) (*os.File, error) {
	file, err := os.Open(f.path(d))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return file, nil
}

// Ref adds one reference. The content must be held by a Staged or have a
// reference already, else the error is fs.ErrNotExist.
func (f *Files) Ref(tx Tx, d Digest) error {
	t, n, err := f.count(tx, d)
	if err != nil {
		return err
	}
	if n == 0 && !f.pinned(d) {
		return fmt.Errorf("store: ref %s: %w", d, fs.ErrNotExist)
	}
	t.put(string(filesBucket), d[:], numberBytes(n+1))
	return nil
}

// Unref takes one reference away. When the transaction commits and it was the
// last, the file goes.
func (f *Files) Unref(tx Tx, d Digest) error {
	t, n, err := f.count(tx, d)
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("store: unref %s: nothing refers to it", d)
	case n == 1:
		t.delete(string(filesBucket), d[:])
	default:
		t.put(string(filesBucket), d[:], numberBytes(n-1))
	}
	return nil
}

func (f *Files) count(tx Tx, d Digest) (*updateTx, uint64, error) {
	t, ok := tx.(*updateTx)
	if !ok || t.s != f.s {
		return nil, 0, errors.New("store: the transaction does not belong to this store")
	}
	t.use()
	v, _ := t.get(string(filesBucket), d[:])
	return t, number(v), nil
}

func (f *Files) pinned(d Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pins[d] > 0
}

// removeUnpinned removes a file that has no references, unless it is held.
func (f *Files) removeUnpinned(d Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins[d] > 0 {
		return nil // its Release asks again
	}
	if err := os.Remove(f.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close keeps contents that are still arriving from settling in a folder that
// is not ours any more.
func (f *Files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// contextReader ends a copy soon after its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
