package store

import (
	"context"
	"iter"
)

// ReadTx is a consistent view of the documents. Values it returns are the
// caller's own copies.
type ReadTx interface {
	// Get returns the value of a key; ok is false when there is none.
	Get(bucket string, key []byte) (value []byte, ok bool)
	// Scan walks, in key order, the keys that begin with prefix and are not
	// below from (nil from: all). Do not write to the bucket while scanning.
	Scan(bucket string, prefix, from []byte) iter.Seq2[[]byte, []byte]
}

// Tx is one atomic change. It becomes durable when Update returns nil, as a
// whole or not at all.
type Tx interface {
	ReadTx
	Put(bucket string, key, value []byte) error
	Delete(bucket string, key []byte) error
	// Version returns a number greater than any this store has returned
	// before, across restarts: what ETags are made of.
	Version() (uint64, error)
	// OnCommit registers f to run once the change is durable, before Update
	// returns, in the order of commits. f must not call the store.
	OnCommit(f func())
}

// Documents is the transactional half of a Store; packages that keep documents
// ask for this rather than for *Store.
type Documents interface {
	View(ctx context.Context, f func(ReadTx) error) error
	Update(ctx context.Context, f func(Tx) error) error
}
