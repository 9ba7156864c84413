package store_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/amlocal/amlocal/store"
	"github.com/amlocal/amlocal/store/storetest"
)

func TestConformance(t *testing.T) {
	for _, d := range []store.Durability{store.Power, store.Process} {
		t.Run(d.String(), func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			storetest.Run(t, func(t *testing.T, dir string) storetest.Store {
				return open(t, dir, store.Options{Durability: d})
			})
		})
	}
}

func open(t testing.TB, dir string, opts store.Options) *store.Store {
	t.Helper()
	if opts.Logf == nil {
		opts.Logf = t.Logf
	}
	s, err := store.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}
