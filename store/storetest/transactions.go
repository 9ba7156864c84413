package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/amlocal/amlocal/store"
)

func testRollback(t *testing.T, e *env) {
	e.put("b", "k", "old")
	boom := errors.New("boom")
	err := e.s.Update(t.Context(), func(tx store.Tx) error {
		_ = tx.Put("b", []byte("k"), []byte("new"))
		_ = tx.Put("fresh", []byte("k"), []byte("new"))
		tx.OnCommit(func() { t.Error("the hook of a failed update ran") })
		return boom
	})
	if err != boom {
		t.Errorf("Update = %v, want the closure's own error", err)
	}
	if err := e.s.View(t.Context(), func(store.ReadTx) error { return boom }); err != boom {
		t.Errorf("View = %v, want the closure's own error", err)
	}
	e.want("b", "k", "old")
	e.want("fresh", "k", absent)
	e.reopen()
	e.want("b", "k", "old")
	e.want("fresh", "k", absent)
}

// behind runs the updates so that all of them wait while another holds the
// turn: an implementation that batches has to put them together.
func behind(t *testing.T, e *env, updates ...func()) {
	t.Helper()
	var wg, ready sync.WaitGroup
	held, release := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		if err := e.s.Update(t.Context(), func(store.Tx) error {
			close(held)
			<-release
			return nil
		}); err != nil {
			t.Errorf("Update: %v", err)
		}
	})
	<-held
	for _, u := range updates {
		ready.Add(1)
		wg.Go(func() {
			ready.Done()
			u()
		})
	}
	ready.Wait()
	for range 100 {
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
}

// One of many concurrent updates failing, in whatever way, neither leaves
// anything behind nor disturbs the others; each closure runs once.
func testIsolation(t *testing.T, e *env) {
	const n = 40
	var (
		updates []func()
		runs    [n]int // written by closures, which run one at a time
	)
	boom := errors.New("boom")
	for i := range n {
		updates = append(updates, func() {
			defer func() {
				if p := recover(); (p != nil) != (i%5 == 2) {
					t.Errorf("update %d: recovered %v", i, p)
				}
			}()
			err := e.s.Update(t.Context(), func(tx store.Tx) error {
				runs[i]++
				_ = tx.Put("b", []byte(fmt.Sprint("own", i)), []byte("x"))
				_ = tx.Put("b", []byte("shared"), []byte(fmt.Sprint(i)))
				sum, _ := tx.Get("b", []byte("sum"))
				old, _ := strconv.Atoi(string(sum))
				_ = tx.Put("b", []byte("sum"), []byte(strconv.Itoa(old+1)))
				switch i % 5 {
				case 1:
					return boom
				case 2:
					panic(boom)
				}
				return nil
			})
			if want := map[bool]error{true: boom}[i%5 == 1]; err != want {
				t.Errorf("update %d: %v, want %v", i, err, want)
			}
		})
	}
	behind(t, e, updates...)
	for i := range n {
		want := "x"
		if i%5 == 1 || i%5 == 2 {
			want = absent
		}
		e.want("b", fmt.Sprint("own", i), want)
		if runs[i] != 1 {
			t.Errorf("closure %d ran %d times", i, runs[i])
		}
	}
	e.want("b", "sum", strconv.Itoa(n*3/5))
	e.reopen()
	e.want("b", "sum", strconv.Itoa(n*3/5))
}

func testPanic(t *testing.T, e *env) {
	for name, call := range map[string]func(){
		"Update": func() {
			_ = e.s.Update(t.Context(), func(tx store.Tx) error {
				_ = tx.Put("b", []byte("k"), []byte("half"))
				panic("mine")
			})
		},
		"View": func() { _ = e.s.View(t.Context(), func(store.ReadTx) error { panic("mine") }) },
		"OnCommit": func() {
			_ = e.s.Update(t.Context(), func(tx store.Tx) error {
				tx.OnCommit(func() { panic("mine") })
				return tx.Put("b", []byte("hooked"), []byte("v"))
			})
		},
	} {
		func() {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("%s: the caller recovers %v", name, p)
				}
			}()
			call()
			t.Errorf("%s returned", name)
		}()
	}
	e.want("b", "k", absent)
	e.want("b", "hooked", "v") // it was committed before its hook ran
	e.put("b", "after", "v")
	e.want("b", "after", "v")
}

// t.FailNow in a closure ends the goroutine without a panic.
func testGoexit(t *testing.T, e *env) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = e.s.Update(t.Context(), func(tx store.Tx) error {
			_ = tx.Put("b", []byte("k"), []byte("half"))
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	e.put("b", "after", "v")
	e.want("b", "k", absent)
}

func testCancel(t *testing.T, e *env) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.s.Update(ended, func(store.Tx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Update with an ended context: %v", err)
	}
	if err := e.s.View(ended, func(store.ReadTx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View with an ended context: %v", err)
	}

	// While it waits for its turn, the caller is free to go.
	ctx, cancel := context.WithCancel(t.Context())
	watched := &watchedContext{Context: ctx, asked: make(chan struct{})}
	err := e.s.Update(t.Context(), func(tx store.Tx) error {
		result := make(chan error)
		go func() {
			result <- e.s.Update(watched, func(store.Tx) error { t.Error("ran"); return nil })
		}()
		<-watched.asked
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Update cancelled while waiting: %v", err)
		}
		return tx.Put("b", []byte("k"), []byte("v"))
	})
	if err != nil {
		t.Error(err)
	}
	e.want("b", "k", "v")

	// Once it ran, the change stands.
	ctx, cancel = context.WithCancel(t.Context())
	err = e.s.Update(ctx, func(tx store.Tx) error {
		cancel()
		return tx.Put("b", []byte("k"), []byte("2"))
	})
	if err != nil {
		t.Errorf("Update cancelled from inside: %v", err)
	}
	e.want("b", "k", "2")
}

// watchedContext tells when somebody begins to wait for its end.
type watchedContext struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (w *watchedContext) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}

func testVersions(t *testing.T, e *env) {
	var last uint64
	next := func(fail error) {
		t.Helper()
		err := e.s.Update(t.Context(), func(tx store.Tx) error {
			for range 2 {
				v, err := tx.Version()
				if err != nil {
					return err
				}
				if v <= last {
					t.Errorf("version %d after %d", v, last)
				}
				last = v
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Fatalf("Update: %v", err)
		}
	}
	boom := errors.New("boom")
	for _, fail := range []error{nil, boom, nil, boom} {
		next(fail)
		next(fail)
		e.reopen()
	}
	next(nil)
}

// Hooks run after the change can be seen, before Update returns, and in the
// order in which the closures ran.
func testOnCommit(t *testing.T, e *env) {
	var (
		ran, hooked []int // closures and hooks run one at a time
		updates     []func()
	)
	for i := range 30 {
		updates = append(updates, func() {
			done := 0
			err := e.s.Update(t.Context(), func(tx store.Tx) error {
				if i%4 == 3 {
					return tx.Put("b", []byte("no hook"), nil)
				}
				ran = append(ran, i)
				tx.OnCommit(func() { hooked = append(hooked, i); done++ })
				tx.OnCommit(func() { done++ })
				return nil
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
			if i%4 != 3 && done != 2 {
				t.Errorf("%d of 2 hooks had run when Update returned", done)
			}
		})
	}
	behind(t, e, updates...)
	if !slices.Equal(ran, hooked) {
		t.Errorf("closures ran in order %v, hooks in %v", ran, hooked)
	}
}

func testSnapshot(t *testing.T, e *env) {
	e.put("b", "k", "1")
	started, changed := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := e.s.View(t.Context(), func(tx store.ReadTx) error {
			wantIn(t, tx, "b", "k", "1")
			close(started)
			<-changed
			wantIn(t, tx, "b", "k", "1")
			wantIn(t, tx, "b", "new", absent)
			n := 0
			for range tx.Scan("b", nil, nil) {
				n++
			}
			if n != 1 {
				t.Errorf("the snapshot has %d keys", n)
			}
			return nil
		})
		if err != nil {
			t.Errorf("View: %v", err)
		}
	})
	<-started
	e.put("b", "k", "2") // an open view does not hold writers up
	e.put("b", "new", "2")
	for i := range 200 {
		e.put("b", fmt.Sprint("filler", i), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
	}
	e.want("b", "k", "2")
	close(changed)
	wg.Wait()

	// What one closure writes together is never seen apart.
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := e.s.View(t.Context(), func(tx store.ReadTx) error {
					x, _ := tx.Get("pair", []byte("x"))
					y, _ := tx.Get("pair", []byte("y"))
					if string(x) != string(y) {
						t.Errorf("x is %q and y is %q", x, y)
					}
					return nil
				}); err != nil {
					t.Errorf("View: %v", err)
				}
			}
		})
	}
	for i := range 100 {
		e.update(func(tx store.Tx) error {
			v := []byte(strconv.Itoa(i))
			return errors.Join(tx.Put("pair", []byte("x"), v), tx.Put("pair", []byte("y"), v))
		})
	}
	close(stop)
	wg.Wait()
}

// No increment is lost between concurrent read-modify-writes.
func testCounter(t *testing.T, e *env) {
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				err := e.s.Update(t.Context(), func(tx store.Tx) error {
					v, _ := tx.Get("b", []byte("n"))
					n, _ := strconv.Atoi(string(v))
					return tx.Put("b", []byte("n"), []byte(strconv.Itoa(n+1)))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	e.want("b", "n", "320")
}

// A transaction that outlives its closure must not answer.
func testEnded(t *testing.T, e *env) {
	var kept []store.ReadTx
	var keptTx store.Tx
	e.update(func(tx store.Tx) error { kept, keptTx = append(kept, tx), tx; return nil })
	if err := e.s.View(t.Context(), func(tx store.ReadTx) error { kept = append(kept, tx); return nil }); err != nil {
		t.Fatal(err)
	}
	mustPanic := func(name string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s answered after its transaction's end", name)
			}
		}()
		f()
	}
	for _, tx := range kept {
		mustPanic("Get", func() { tx.Get("b", []byte("k")) })
		mustPanic("Scan", func() {
			for range tx.Scan("b", nil, nil) {
			}
		})
	}
	mustPanic("Put", func() { _ = keptTx.Put("b", []byte("k"), nil) })
	mustPanic("Delete", func() { _ = keptTx.Delete("b", []byte("k")) })
	mustPanic("Version", func() { _, _ = keptTx.Version() })
	mustPanic("OnCommit", func() { keptTx.OnCommit(func() {}) })
}

func testClose(t *testing.T, e *env) {
	// What was accepted before Close is committed by it or refused, and the
	// caller is told the truth.
	var wg sync.WaitGroup
	var acked [20]bool
	for i := range acked {
		wg.Go(func() {
			err := e.s.Update(t.Context(), func(tx store.Tx) error { return tx.Put("b", []byte(strconv.Itoa(i)), []byte("v")) })
			acked[i] = err == nil
		})
	}
	if err := e.s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	wg.Wait()
	if err := e.s.Update(t.Context(), func(store.Tx) error { t.Error("ran"); return nil }); err == nil {
		t.Error("Update on a closed store succeeded")
	}
	if err := e.s.View(t.Context(), func(store.ReadTx) error { t.Error("ran"); return nil }); err == nil {
		t.Error("View on a closed store succeeded")
	}
	if err := e.s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	e.reopen()
	for i, ok := range acked {
		if ok {
			e.want("b", strconv.Itoa(i), "v")
		} else {
			e.want("b", strconv.Itoa(i), absent)
		}
	}
}
