package store_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/amlocal/amlocal/store"
)

var durabilities = []store.Durability{store.Power, store.Process}

func BenchmarkUpdate(b *testing.B) {
	for _, d := range durabilities {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%v/writers=%d", d, writers), func(b *testing.B) {
				s := open(b, b.TempDir(), store.Options{Durability: d})
				defer closeStore(b, s)
				var n atomic.Uint64
				value := make([]byte, 500)
				update := func() {
					key := binary.BigEndian.AppendUint64(nil, n.Add(1)%10_000)
					if err := s.Update(context.Background(), func(tx store.Tx) error { return tx.Put("b", key, value) }); err != nil {
						b.Error(err)
					}
				}
				if writers == 1 {
					for b.Loop() {
						update()
					}
					return
				}
				b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						update()
					}
				})
			})
		}
	}
}

// filled holds 10,000 documents of 500 bytes.
func filled(b *testing.B, dir string) *store.Store {
	s := open(b, dir, store.Options{Durability: store.Process})
	err := s.Update(b.Context(), func(tx store.Tx) error {
		for i := range 10_000 {
			if err := tx.Put("b", fmt.Appendf(nil, "key/%06d", i), make([]byte, 500)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	s := filled(b, b.TempDir())
	defer closeStore(b, s)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			key := fmt.Appendf(nil, "key/%06d", i%10_000)
			if err := s.View(context.Background(), func(tx store.ReadTx) error {
				if _, ok := tx.Get("b", key); !ok {
					b.Errorf("%s is missing", key)
				}
				return nil
			}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	s := filled(b, b.TempDir())
	defer closeStore(b, s)
	for b.Loop() {
		n := 0
		if err := s.View(context.Background(), func(tx store.ReadTx) error {
			for range tx.Scan("b", []byte("key/001"), nil) {
				n++
			}
			return nil
		}); err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(1000, "keys/op")
}

func BenchmarkOpen(b *testing.B) {
	for _, d := range durabilities {
		b.Run(d.String(), func(b *testing.B) {
			dir := b.TempDir()
			closeStore(b, filled(b, dir))
			for b.Loop() {
				closeStore(b, open(b, dir, store.Options{Durability: d}))
			}
		})
	}
}

func BenchmarkStage(b *testing.B) {
	for _, d := range durabilities {
		for _, size := range []int64{16 << 10, 64 << 20} {
			b.Run(fmt.Sprintf("%v/%dKiB", d, size>>10), func(b *testing.B) {
				s := open(b, b.TempDir(), store.Options{Durability: d})
				defer closeStore(b, s)
				b.SetBytes(size)
				for b.Loop() {
					st, err := s.Files().Stage(b.Context(), io.LimitReader(zeros{}, size))
					if err != nil {
						b.Fatal(err)
					}
					st.Release()
				}
			})
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
