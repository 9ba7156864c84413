package amlocal

import (
	"path/filepath"
	"testing"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// TestUnfinishedSeedBeginsAnew stands for a kill while a world was applied.
func TestUnfinishedSeedBeginsAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	keep := func(c *Config) { c.Ephemeral, c.StateDir, c.Runner = false, dir, "process" }
	const bucket = "test"
	mark := []byte("mark")
	run := func(do func(*Emulator) error) {
		t.Helper()
		cfg := Config{CADir: t.TempDir(), Logf: t.Logf}
		keep(&cfg)
		e, err := New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := do(e); err != nil {
			t.Error(err)
		}
		closeEmulator(t, e)
	}
	var left, seeded bool
	look := func(e *Emulator) error {
		return e.store.View(t.Context(), func(tx store.ReadTx) error {
			_, left = tx.Get(bucket, mark)
			_, seeded = e.entra.Principal(tx, azure.SeedOwnerObjectID)
			return nil
		})
	}
	put := func(bucket string, key []byte) func(*Emulator) error {
		return func(e *Emulator) error {
			return e.store.Update(t.Context(), func(tx store.Tx) error { return tx.Put(bucket, key, []byte("x")) })
		}
	}
	run(put(bucket, mark))
	if run(look); !left || !seeded {
		t.Fatalf("a finished folder: kept %v, seeded %v", left, seeded)
	}
	run(put(seedBucket, unfinishedKey))
	if run(look); left || !seeded {
		t.Fatalf("an unfinished folder: kept %v, seeded %v", left, seeded)
	}
	if run(look); !seeded {
		t.Fatal("and the next start finds nothing")
	}
}
