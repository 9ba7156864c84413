package store_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amlocal/amlocal/store"
)

// model is what a store should hold.
type model struct {
	docs map[string]map[string]string // bucket, key
	refs map[string]int               // content
}

func (m model) clone() model {
	c := model{docs: make(map[string]map[string]string), refs: maps.Clone(m.refs)}
	for b, kv := range m.docs {
		c.docs[b] = maps.Clone(kv)
	}
	return c
}

func (m model) scan(bucket, prefix, from string) (found []string) {
	for _, k := range slices.Sorted(maps.Keys(m.docs[bucket])) {
		if strings.HasPrefix(k, prefix) && k >= from {
			found = append(found, k, m.docs[bucket][k])
		}
	}
	return found
}

func scan(tx store.ReadTx, bucket, prefix, from string) (found []string) {
	for k, v := range tx.Scan(bucket, []byte(prefix), []byte(from)) {
		found = append(found, string(k), string(v))
	}
	return found
}

// Any sequence of updates, failures, reads and restarts leaves the store equal
// to maps that went through the same.
func TestModel(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		reopen := func() *store.Store {
			s, err := store.Open(ctx, dir, store.Options{Durability: store.Process, Logf: t.Errorf})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := reopen()
		defer func() { _ = s.Close() }()
		now := model{docs: make(map[string]map[string]string), refs: make(map[string]int)}
		var (
			version uint64
			bucket  = rapid.SampledFrom([]string{"a", "b"})
			key     = rapid.StringMatching(`[ab/\x00]{1,4}`)
			part    = rapid.StringMatching(`[ab/\x00]{0,2}`)
			value   = rapid.OneOf(rapid.StringN(0, 10, 10), rapid.Map(rapid.IntRange(1000, 20000), func(n int) string { return strings.Repeat("v", n) }))
			content = rapid.SampledFrom([]string{"", "one", "two"})
		)
		boom := errors.New("boom")
		read := func(tx store.ReadTx, m model) {
			b, k, p, f := bucket.Draw(t, "bucket"), key.Draw(t, "key"), part.Draw(t, "prefix"), part.Draw(t, "from")
			want, ok := m.docs[b][k]
			if got, found := tx.Get(b, []byte(k)); found != ok || string(got) != want {
				t.Fatalf("Get(%q, %q) = %q, %v; want %q, %v", b, k, got, found, want, ok)
			}
			if got, want := scan(tx, b, p, f), m.scan(b, p, f); !slices.Equal(got, want) {
				t.Fatalf("Scan(%q, %q, %q) = %q, want %q", b, p, f, got, want)
			}
		}
		digests := make(map[string]store.Digest)
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				next, fails := now.clone(), rapid.Bool().Draw(t, "fails")
				c := content.Draw(t, "content")
				st, err := s.Files().Stage(ctx, strings.NewReader(c))
				if err != nil {
					t.Fatal(err)
				}
				defer st.Release()
				digests[c] = st.Digest
				err = s.Update(ctx, func(tx store.Tx) error {
					for range rapid.IntRange(0, 8).Draw(t, "steps") {
						b, k := bucket.Draw(t, "bucket"), key.Draw(t, "key")
						switch rapid.IntRange(0, 5).Draw(t, "step") {
						case 0, 1:
							v := value.Draw(t, "value")
							if err := tx.Put(b, []byte(k), []byte(v)); err != nil {
								return err
							}
							if next.docs[b] == nil {
								next.docs[b] = make(map[string]string)
							}
							next.docs[b][k] = v
						case 2:
							if err := tx.Delete(b, []byte(k)); err != nil {
								return err
							}
							delete(next.docs[b], k)
						case 3:
							v, err := tx.Version()
							if err != nil || v <= version {
								t.Fatalf("version %d after %d, %v", v, version, err)
							}
							version = v
						case 4:
							if err := s.Files().Ref(tx, st.Digest); err != nil {
								return err
							}
							next.refs[c]++
						case 5:
							if err := s.Files().Unref(tx, st.Digest); (err != nil) != (next.refs[c] == 0) {
								t.Fatalf("Unref with %d references: %v", next.refs[c], err)
							}
							next.refs[c] = max(next.refs[c]-1, 0)
						}
						read(tx, next)
					}
					if fails {
						return boom
					}
					return nil
				})
				if (err == boom) != fails || (err != nil && err != boom) {
					t.Fatalf("Update: %v", err)
				}
				if !fails {
					now = next
				}
			},
			"reopen": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = reopen()
			},
			"": func(t *rapid.T) {
				err := s.Update(ctx, func(store.Tx) error { return nil }) // after what was released
				if err == nil {
					err = s.View(ctx, func(tx store.ReadTx) error { read(tx, now); return nil })
				}
				if err != nil {
					t.Fatal(err)
				}
				for c, d := range digests {
					_, err := os.Stat(filepath.Join(dir, "files", d.String()))
					if (err == nil) != (now.refs[c] > 0) {
						t.Fatalf("content %q with %d references: %v", c, now.refs[c], err)
					}
				}
			},
		})
	})
}
