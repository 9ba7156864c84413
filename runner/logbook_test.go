package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExcerpt(t *testing.T) {
	chain := []string{"banner", "2026-01-01 10:00:00,000 E - User's init function failed", "2026-01-01 10:00:00,001 E - Traceback (most recent call last):"}
	for i := range 200 {
		chain = append(chain, fmt.Sprintf("  frame %d", i))
	}
	chain = append(chain, "HttpResponseError: not authorized", "ErrorCode:AuthorizationPermissionMismatch", "",
		"Traceback (most recent call last):", "  outer frame", "UserScriptException: Caught", "", "2026-01-01 10:00:01,000 I - Model Directory Contents:", "more")
	got := excerpt(chain)
	for _, want := range []string{"User's init function failed\n", "lines left out", "frame 199\n", "AuthorizationPermissionMismatch"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if !strings.HasSuffix(got, "UserScriptException: Caught") || strings.Contains(got, "banner") {
		t.Errorf("excerpt:\n%s", got)
	}
	if got := excerpt(append([]string{"begun", "fatal error: runtime: out of memory"}, slices.Repeat([]string{"goroutine"}, 300)...)); !strings.HasPrefix(got, "begun\nfatal error: runtime: out of memory\n") {
		t.Errorf("of a Go program that died: %q", got)
	}
	if got := excerpt([]string{"a", "b"}); got != "a\nb" {
		t.Errorf("without a traceback: %q", got)
	}
	if got := excerpt(nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestLogFileIsBoundedAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d", "x.log")
	b, err := openLogbook(path)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxLine)
	for range maxLogFile/maxLine + 10 {
		b.add(long)
	}
	b.add("last")
	if n := len(b.tail(0)); n > maxKept+maxLine {
		t.Errorf("%d bytes in memory", n)
	}
	b.close()
	if info, err := os.Stat(path); err != nil || info.Size() > maxLogFile {
		t.Errorf("file of %d bytes, %v", info.Size(), err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("half a li") // a killed process
	_ = f.Close()
	again, err := openLogbook(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	again.add("next")
	if got := again.tail(3); got != "last\nhalf a li\nnext\n" {
		t.Errorf("tail %q", got)
	}
}

func TestLongLinesAreSplit(t *testing.T) {
	var lines []string
	w := &lineWriter{sink: func(l string) { lines = append(lines, l) }}
	_, _ = w.Write([]byte(strings.Repeat("y", 2*maxLine+5)))
	w.flush()
	if len(lines) != 3 || len(lines[2]) != 5 {
		t.Errorf("%d lines", len(lines))
	}
}
