package entra

import (
	"testing"

	"github.com/amlocal/amlocal/internal/clock"
)

func BenchmarkMint(b *testing.B) {
	w := newWorld(b)
	w.mint(b, systemA, storageURI)
	b.ReportAllocs()
	for b.Loop() {
		w.mint(b, systemA, storageURI)
	}
}

func BenchmarkManagedIdentityTokenCached(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.ManagedIdentityToken(b.Context(), systemA, storageURI); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	raw := w.mint(b, systemA, storageURI)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			w.verified.drop(func([32]byte) bool { return true })
			if _, err := w.Verify(b.Context(), raw, storageAudiences); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.Verify(b.Context(), raw, storageAudiences); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWarmStart(b *testing.B) {
	dir := b.TempDir()
	ring, err := openKeyring(dir, clock.NewManual(epoch))
	if err != nil {
		b.Fatal(err)
	}
	<-ring.ready
	for b.Loop() {
		if _, err := openKeyring(dir, clock.NewManual(epoch)); err != nil {
			b.Fatal(err)
		}
	}
}
