package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/amlocal/amlocal/store"
)

func testDocuments(t *testing.T, e *env) {
	e.want("b", "k", absent)
	e.put("b", "k", "v")
	e.want("b", "k", "v")
	e.want("other", "k", absent)
	e.put("b", "k", "")
	e.want("b", "k", "")
	e.put("b", "a\x00b/\xff", "binary key")
	e.want("b", "a\x00b/\xff", "binary key")
	e.want("b", "K", absent) // keys are bytes
	e.update(func(tx store.Tx) error {
		wantIn(t, tx, "b", "k", "")
		if err := tx.Put("b", []byte("k"), []byte("2")); err != nil {
			return err
		}
		wantIn(t, tx, "b", "k", "2")
		if err := tx.Delete("b", []byte("k")); err != nil {
			return err
		}
		wantIn(t, tx, "b", "k", absent)
		if err := tx.Put("fresh", []byte("k"), []byte("3")); err != nil {
			return err
		}
		wantIn(t, tx, "fresh", "k", "3")
		return tx.Delete("fresh", []byte("never was"))
	})
	e.want("b", "k", absent)
	e.want("fresh", "k", "3")
	e.update(func(tx store.Tx) error { return tx.Delete("no such bucket", []byte("k")) })
	e.put("big", "k", strings.Repeat("x", 1<<20))
	e.want("big", "k", strings.Repeat("x", 1<<20))
}

// What cannot be stored is refused where it is written, not at the commit.
func testLimits(t *testing.T, e *env) {
	for _, c := range []struct {
		name, bucket string
		key          []byte
	}{
		{"empty key", "b", nil},
		{"huge key", "b", bytes.Repeat([]byte("k"), 1<<16)},
		{"empty bucket", "", []byte("k")},
		{"reserved bucket", "\x00meta", []byte("k")},
		{"huge bucket", strings.Repeat("b", 1<<16), []byte("k")},
	} {
		e.update(func(tx store.Tx) error {
			if err := tx.Put(c.bucket, c.key, []byte("v")); err == nil {
				t.Errorf("%s: Put succeeded", c.name)
			}
			return tx.Put("b", []byte("after"), []byte(c.name))
		})
		e.want("b", "after", c.name)
	}
	e.want("", "k", absent)
	e.want("b", "", absent)
}

// The caller may do as it likes with what it passed and what it got.
func testCopies(t *testing.T, e *env) {
	key, value := []byte("key"), []byte("value")
	e.update(func(tx store.Tx) error {
		if err := tx.Put("b", key, value); err != nil {
			return err
		}
		key[0], value[0] = 'X', 'X'
		got, _ := tx.Get("b", []byte("key"))
		got[1] = 'X'
		for k, v := range tx.Scan("b", nil, nil) {
			k[0], v[0] = 'Y', 'Y'
		}
		wantIn(t, tx, "b", "key", "value")
		return nil
	})
	e.want("b", "key", "value")
	var kept []byte
	err := e.s.View(t.Context(), func(tx store.ReadTx) error {
		got, _ := tx.Get("b", []byte("key"))
		got[0] = 'X'
		for k, v := range tx.Scan("b", nil, nil) {
			k[0], v[0] = 'Y', 'Y'
			kept = v
		}
		wantIn(t, tx, "b", "key", "value")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e.put("b", "key", "other")
	if string(kept) != "Yalue" {
		t.Errorf("a value kept after its view became %q", kept)
	}
}

func testScan(t *testing.T, e *env) {
	e.update(func(tx store.Tx) error {
		for _, k := range []string{"a", "b", "b/", "b/1", "b/2", "b/\xff", "b0", "c"} {
			if err := tx.Put("b", []byte(k), []byte("v"+k)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		prefix, from string
		want         []string
	}{
		{"", "", []string{"a", "b", "b/", "b/1", "b/2", "b/\xff", "b0", "c"}},
		{"b/", "", []string{"b/", "b/1", "b/2", "b/\xff"}},
		{"b/", "b/1", []string{"b/1", "b/2", "b/\xff"}},
		{"b/", "b/11", []string{"b/2", "b/\xff"}},
		{"b/", "a", []string{"b/", "b/1", "b/2", "b/\xff"}},
		{"b/", "c", nil},
		{"", "b0", []string{"b0", "c"}},
		{"", "d", nil},
		{"zz", "", nil},
	} {
		err := e.s.View(t.Context(), func(tx store.ReadTx) error {
			if got := keys(t, tx, c.prefix, c.from); !slices.Equal(got, c.want) {
				t.Errorf("Scan(%q, %q) = %q, want %q", c.prefix, c.from, got, c.want)
			}
			for range tx.Scan("no such bucket", nil, nil) {
				t.Error("a missing bucket has keys")
			}
			for k := range tx.Scan("b", []byte(c.prefix), []byte(c.from)) {
				if string(k) != c.want[0] { // stopping early is allowed
					t.Errorf("first key of Scan(%q, %q) = %q", c.prefix, c.from, k)
				}
				break
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// keys scans bucket b, whose values must be "v" and the key.
func keys(t *testing.T, tx store.ReadTx, prefix, from string) (found []string) {
	t.Helper()
	for k, v := range tx.Scan("b", []byte(prefix), []byte(from)) {
		if string(v) != "v"+string(k) {
			t.Errorf("key %q has value %q", k, v)
		}
		found = append(found, string(k))
	}
	return found
}

func testScanSeesOwnWrites(t *testing.T, e *env) {
	e.update(func(tx store.Tx) error {
		for _, k := range []string{"b", "d", "f"} {
			if err := tx.Put("b", []byte(k), []byte("v"+k)); err != nil {
				return err
			}
		}
		return nil
	})
	stop := errors.New("stop")
	err := e.s.Update(t.Context(), func(tx store.Tx) error {
		for _, k := range []string{"a", "c", "d", "g"} {
			if err := tx.Put("b", []byte(k), []byte("v"+k)); err != nil {
				return err
			}
		}
		for _, k := range []string{"b", "g", "x"} {
			if err := tx.Delete("b", []byte(k)); err != nil {
				return err
			}
		}
		for _, c := range []struct {
			prefix, from string
			want         []string
		}{
			{"", "", []string{"a", "c", "d", "f"}},
			{"", "b", []string{"c", "d", "f"}},
			{"c", "", []string{"c"}},
			{"b", "", nil},
		} {
			if got := keys(t, tx, c.prefix, c.from); !slices.Equal(got, c.want) {
				t.Errorf("Scan(%q, %q) = %q, want %q", c.prefix, c.from, got, c.want)
			}
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatalf("Update: %v", err)
	}
	err = e.s.View(t.Context(), func(tx store.ReadTx) error {
		if got, want := keys(t, tx, "", ""), []string{"b", "d", "f"}; !slices.Equal(got, want) {
			t.Errorf("after the failed update: %q, want %q", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testReopen(t *testing.T, e *env) {
	for i := range 300 {
		e.put("b", fmt.Sprint(i), fmt.Sprint("value ", i))
	}
	e.reopen()
	for i := range 300 {
		e.want("b", fmt.Sprint(i), fmt.Sprint("value ", i))
	}
	e.update(func(tx store.Tx) error { return tx.Delete("b", []byte("7")) })
	e.reopen()
	e.want("b", "7", absent)
	e.want("b", "8", "value 8")
}
