package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amlocal/amlocal/store"
)

// The child's orders: durability, folder and round, or empty for a test run.
const crashEnv = "AMLOCAL_STORE_CRASH_CHILD"

func TestMain(m *testing.M) {
	if orders := os.Getenv(crashEnv); orders != "" {
		if err := crashChild(orders); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	crashWorkers = 6
	crashRounds  = 12
)

// crashChild writes until it is killed. A line on standard output
// acknowledges a change: worker, number, version.
func crashChild(orders string) error {
	mode, rest, _ := strings.Cut(orders, "|")
	round, dir, _ := strings.Cut(rest, "|")
	opts := store.Options{Logf: func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }}
	if mode == store.Process.String() {
		opts.Durability = store.Process
	}
	ctx := context.Background()
	s, err := store.Open(ctx, dir, opts)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range crashWorkers {
		go func() {
			for n := 0; ; n++ {
				if err := crashWrite(ctx, s, fmt.Sprintf("%s-%d-%06d", round, w, n), n); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// crashContent is the text a change's file holds. Every third is shared with
// other workers and rounds, so that counts go above one and back.
func crashContent(id string, n int) string {
	if n%3 == 0 {
		return strings.Repeat("shared", 2000)
	}
	return strings.Repeat(id, 1000)
}

// crashWrite makes one change of two documents and one content, then drops the
// change four before it.
func crashWrite(ctx context.Context, s *store.Store, id string, n int) error {
	st, err := s.Files().Stage(ctx, strings.NewReader(crashContent(id, n)))
	if err != nil {
		return err
	}
	defer st.Release()
	var version uint64
	err = s.Update(ctx, func(tx store.Tx) (err error) {
		if version, err = tx.Version(); err != nil {
			return err
		}
		if err := s.Files().Ref(tx, st.Digest); err != nil {
			return err
		}
		if n%4 == 3 {
			old, ok := tx.Get("left", []byte(id[:len(id)-6]+fmt.Sprintf("%06d", n-1)))
			if !ok {
				return errors.New("an acknowledged change is missing")
			}
			d, err := store.ParseDigest(string(old))
			if err != nil {
				return err
			}
			if err := s.Files().Unref(tx, d); err != nil {
				return err
			}
			if err := tx.Put("left", []byte(id[:len(id)-6]+fmt.Sprintf("%06d", n-1)), []byte("dropped")); err != nil {
				return err
			}
		}
		return errors.Join(
			tx.Put("left", []byte(id), []byte(st.Digest.String())),
			tx.Put("right", []byte(id), []byte(strings.Repeat(id, 20))))
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s %d %d\n", id, n, version)
	return err
}

// A killed process loses nothing it acknowledged and leaves nothing half done.
// (What power loss does is beyond a test like this; Power differs in fsync.)
func TestKilledProcessLosesNothing(t *testing.T) {
	for _, d := range []store.Durability{store.Power, store.Process} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked := make(map[string]int)
			var version uint64
			for round := range crashRounds {
				// From the very start to well into the work.
				version = max(version, crash(t, d, dir, round, rand.IntN(250), acked))
				version = verifyCrash(t, d, dir, acked, version)
			}
			t.Logf("%d acknowledged changes in %d lives", len(acked), crashRounds)
		})
	}
}

// crash runs a child until it has acknowledged n changes, kills it, and notes
// all it acknowledged.
func crash(t *testing.T, d store.Durability, dir string, round, n int, acked map[string]int) (version uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%v|%d|%s", crashEnv, d, round, dir))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for seen := 0; ; seen++ {
		if seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) { // a half line acknowledges nothing
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(line)
		number, err1 := strconv.Atoi(fields[1])
		v, err2 := strconv.ParseUint(fields[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		acked[fields[0]] = number
		version = max(version, v)
	}
	_ = cmd.Wait() // killed
	if said.Len() > 0 {
		t.Errorf("the child said: %s", said.Bytes())
	}
	return version
}

func verifyCrash(t *testing.T, d store.Durability, dir string, acked map[string]int, version uint64) (next uint64) {
	t.Helper()
	s := open(t, dir, store.Options{Durability: d, Logf: t.Errorf})
	defer closeStore(t, s)
	found := make(map[string]string)
	err := s.View(t.Context(), func(tx store.ReadTx) error {
		for k, v := range tx.Scan("left", nil, nil) {
			found[string(k)] = string(v)
			if right, _ := tx.Get("right", k); string(right) != strings.Repeat(string(k), 20) {
				t.Errorf("%s: half a change: %q", k, right)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range acked {
		if _, ok := found[id]; !ok {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	used := make(map[string]bool)
	for id, v := range found {
		if v == "dropped" {
			continue
		}
		digest, err := store.ParseDigest(v)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(id[len(id)-6:])
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, digest, crashContent(id, n))
		used[v] = true
	}
	err = s.Update(t.Context(), func(tx store.Tx) (err error) { next, err = tx.Version(); return err })
	if err != nil || next <= version {
		t.Errorf("version %d after %d, %v", next, version, err)
	}
	// What a killed life left unreferenced the start's sweep removes.
	for left := 1; left > 0; {
		left = 0
		for _, name := range entries(t, filepath.Join(dir, "files"), filepath.Join(dir, "incoming")) {
			if !used[name] {
				left++
			}
		}
	}
	return next
}

// Another process that wants the folder is told who has it, at once.
func TestOtherProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%v|0|%s", crashEnv, store.Process, dir))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), dir, store.Options{})
	var locked *store.LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("Open: %v, want process %d named", err, cmd.Process.Pid)
	}
}
