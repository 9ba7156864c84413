package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// change is one pending write.
type change struct {
	key     []byte
	value   []byte
	deleted bool
}

// updateTx is one closure's change: what it wrote lies in changes, over the
// transaction its batch shares, until the closure has succeeded.
type updateTx struct {
	readTx
	s       *Store
	changes map[string]map[string]change
	hooks   []func()
}

// Get implements ReadTx.
func (t *updateTx) Get(bucket string, key []byte) ([]byte, bool) {
	t.use()
	if checkBucket(bucket) != nil {
		return nil, false
	}
	return t.get(bucket, key)
}

func (t *updateTx) get(bucket string, key []byte) ([]byte, bool) {
	if c, ok := t.changes[bucket][string(key)]; ok {
		if c.deleted {
			return nil, false
		}
		return clone(c.value), true
	}
	return t.readTx.get(bucket, key)
}

// Scan implements ReadTx. A walk does not see what is written while it lasts.
func (t *updateTx) Scan(bucket string, prefix, from []byte) iter.Seq2[[]byte, []byte] {
	return t.merge(bucket, bytes.Clone(prefix), bytes.Clone(from), func(prefix, start []byte) []change {
		var found []change
		for k, c := range t.changes[bucket] {
			if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
				found = append(found, c)
			}
		}
		slices.SortFunc(found, func(a, b change) int { return bytes.Compare(a.key, b.key) })
		return found
	})
}

// Put implements Tx.
func (t *updateTx) Put(bucket string, key, value []byte) error {
	t.use()
	if err := checkBucket(bucket); err != nil {
		return err
	}
	switch {
	case len(key) == 0:
		return errors.New("store: a key may not be empty")
	case len(key) > maxKey:
		return fmt.Errorf("store: the key has %d bytes, more than %d", len(key), maxKey)
	case int64(len(value)) > maxValue:
		return fmt.Errorf("store: the value has %d bytes, more than %d", len(value), maxValue)
	}
	t.put(bucket, key, value)
	return nil
}

func (t *updateTx) put(bucket string, key, value []byte) {
	t.set(bucket, change{key: bytes.Clone(key), value: clone(value)})
}

// Delete implements Tx. Deleting what is not there is no error.
func (t *updateTx) Delete(bucket string, key []byte) error {
	t.use()
	if err := checkBucket(bucket); err != nil {
		return err
	}
	t.delete(bucket, key)
	return nil
}

func (t *updateTx) delete(bucket string, key []byte) {
	t.set(bucket, change{key: bytes.Clone(key), deleted: true})
}

func (t *updateTx) set(bucket string, c change) {
	if t.changes == nil {
		t.changes = make(map[string]map[string]change)
	}
	if t.changes[bucket] == nil {
		t.changes[bucket] = make(map[string]change)
	}
	t.changes[bucket][string(c.key)] = c
}

// Version implements Tx. A number is never given twice, not even when the
// closure that got it failed.
func (t *updateTx) Version() (uint64, error) {
	t.use()
	t.s.version++
	return t.s.version, nil
}

// OnCommit implements Tx.
func (t *updateTx) OnCommit(f func()) {
	t.use()
	t.hooks = append(t.hooks, f)
}

// apply writes the changes, in key order, into the shared transaction and
// reports whether there were any.
func (t *updateTx) apply() (changed bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(t.changes)) {
		pending := t.changes[name]
		b := t.btx.Bucket([]byte(name))
		for _, k := range slices.Sorted(maps.Keys(pending)) {
			c := pending[k]
			if c.deleted {
				if b == nil || b.Get(c.key) == nil {
					continue
				}
				changed = true
				if err := b.Delete(c.key); err != nil {
					return changed, fmt.Errorf("delete from %q: %w", name, err)
				}
				continue
			}
			if b == nil {
				if b, err = t.btx.CreateBucket([]byte(name)); err != nil {
					return changed, fmt.Errorf("make bucket %q: %w", name, err)
				}
			}
			changed = true
			if err := b.Put(c.key, c.value); err != nil {
				return changed, fmt.Errorf("put into %q: %w", name, err)
			}
		}
	}
	return changed, nil
}

// size estimates the bytes the change adds to a batch.
func (t *updateTx) size() (n int) {
	for _, pending := range t.changes {
		for k, c := range pending {
			n += len(k) + len(c.value)
		}
	}
	return n
}

// released lists the contents whose count this change took to zero.
func (t *updateTx) released() (gone []Digest) {
	for k, c := range t.changes[string(filesBucket)] {
		if c.deleted {
			gone = append(gone, Digest([]byte(k)))
		}
	}
	return gone
}

var (
	_ Tx        = (*updateTx)(nil)
	_ Documents = (*Store)(nil)
)
