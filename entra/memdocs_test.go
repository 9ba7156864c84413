package entra

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/amlocal/amlocal/store"
)

// memDocs is a store.Documents in memory: one lock, and a copy taken before an
// update to go back to when it fails.
type memDocs struct {
	mu      sync.RWMutex
	version uint64
	data    map[string]map[string][]byte
}

func (m *memDocs) View(_ context.Context, f func(store.ReadTx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(&memTx{docs: m})
}

func (m *memDocs) Update(_ context.Context, f func(store.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := map[string]map[string][]byte{}
	for bucket, kv := range m.data {
		before[bucket] = map[string][]byte{}
		for k, v := range kv {
			before[bucket][k] = v
		}
	}
	tx := &memTx{docs: m}
	if err := f(tx); err != nil {
		m.data = before
		return err
	}
	for _, hook := range tx.hooks {
		hook()
	}
	return nil
}

type memTx struct {
	docs  *memDocs
	hooks []func()
}

func (t *memTx) Get(bucket string, key []byte) ([]byte, bool) {
	v, ok := t.docs.data[bucket][string(key)]
	return slices.Clone(v), ok
}

func (t *memTx) Scan(bucket string, prefix, from []byte) iter.Seq2[[]byte, []byte] {
	var keys []string
	for k := range t.docs.data[bucket] {
		if strings.HasPrefix(k, string(prefix)) && k >= string(from) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return func(yield func([]byte, []byte) bool) {
		for _, k := range keys {
			if !yield([]byte(k), slices.Clone(t.docs.data[bucket][k])) {
				return
			}
		}
	}
}

func (t *memTx) Put(bucket string, key, value []byte) error {
	if t.docs.data == nil {
		t.docs.data = map[string]map[string][]byte{}
	}
	if t.docs.data[bucket] == nil {
		t.docs.data[bucket] = map[string][]byte{}
	}
	t.docs.data[bucket][string(key)] = slices.Clone(value)
	return nil
}

func (t *memTx) Delete(bucket string, key []byte) error {
	delete(t.docs.data[bucket], string(key))
	return nil
}

func (t *memTx) Version() (uint64, error) { t.docs.version++; return t.docs.version, nil }
func (t *memTx) OnCommit(f func())        { t.hooks = append(t.hooks, f) }
