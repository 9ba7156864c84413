package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// Limits of the engine, checked when a closure writes rather than when the
// committer applies it, so that the error is the closure's own.
const (
	maxKey   = bolt.MaxKeySize
	maxValue = bolt.MaxValueSize
)

// checkBucket refuses the names the store keeps for itself.
func checkBucket(name string) error {
	switch {
	case name == "":
		return errors.New("store: a bucket needs a name")
	case name[0] == 0:
		return fmt.Errorf("store: the bucket name %q is reserved", name)
	case len(name) > maxKey:
		return fmt.Errorf("store: the bucket name has %d bytes, more than %d", len(name), maxKey)
	}
	return nil
}

// readTx is a snapshot of the committed documents.
type readTx struct {
	btx   *bolt.Tx
	ended atomic.Bool
}

// use panics when a transaction has outlived its closure: an empty answer
// would be taken for the truth.
func (t *readTx) use() {
	if t.ended.Load() {
		panic("store: a transaction was used after its closure returned")
	}
}

// Get implements ReadTx.
func (t *readTx) Get(bucket string, key []byte) ([]byte, bool) {
	t.use()
	if checkBucket(bucket) != nil {
		return nil, false
	}
	return t.get(bucket, key)
}

func (t *readTx) get(bucket string, key []byte) ([]byte, bool) {
	b := t.btx.Bucket([]byte(bucket))
	if b == nil {
		return nil, false
	}
	v := b.Get(key)
	if v == nil {
		return nil, false
	}
	return clone(v), true
}

// Scan implements ReadTx.
func (t *readTx) Scan(bucket string, prefix, from []byte) iter.Seq2[[]byte, []byte] {
	return t.merge(bucket, bytes.Clone(prefix), bytes.Clone(from), nil)
}

// merge walks the committed keys together with the ones changes lists, which
// win. changes is asked when the walk begins.
func (t *readTx) merge(bucket string, prefix, from []byte, changes func(prefix, start []byte) []change) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		t.use()
		if checkBucket(bucket) != nil {
			return
		}
		start := prefix
		if bytes.Compare(from, prefix) > 0 {
			start = from
		}
		var pending []change
		if changes != nil {
			pending = changes(prefix, start)
		}
		var (
			c    *bolt.Cursor
			k, v []byte
		)
		if b := t.btx.Bucket([]byte(bucket)); b != nil {
			c = b.Cursor()
			k, v = c.Seek(start)
		}
		for {
			if k != nil && !bytes.HasPrefix(k, prefix) {
				k = nil
			}
			if len(pending) > 0 {
				order := -1
				if k != nil {
					order = bytes.Compare(pending[0].key, k)
				}
				if order <= 0 {
					p := pending[0]
					pending = pending[1:]
					if order == 0 {
						k, v = c.Next()
					}
					if p.deleted {
						continue
					}
					if !yield(bytes.Clone(p.key), clone(p.value)) {
						return
					}
					t.use()
					continue
				}
			}
			if k == nil {
				return
			}
			if !yield(bytes.Clone(k), clone(v)) {
				return
			}
			t.use()
			k, v = c.Next()
		}
	}
}

// clone copies a value; an empty value stays different from none.
func clone(v []byte) []byte { return append(make([]byte, 0, len(v)), v...) }
