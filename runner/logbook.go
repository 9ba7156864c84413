package runner

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/amlocal/amlocal/internal/clock"
)

const (
	// keptLines is how much of a log getLogs can still show. The service
	// promises "the last few hundred lines".
	keptLines = 10_000
	// maxKept bounds their bytes.
	maxKept = 8 << 20
	// maxLine splits what a program prints without a line end, so that one
	// endless line cannot fill the memory.
	maxLine = 64 << 10
	// maxLogFile is when the file is cut down to the lines still kept.
	maxLogFile = 16 << 20
)

// logbook is one log of one deployment: a ring in memory, and the same lines
// in a file that the next emulator process reads.
type logbook struct {
	path string

	mu     sync.Mutex
	lines  []string // oldest first, at most keptLines
	first  uint64   // number of lines[0]
	bytes  int      // of lines
	size   int64    // of the file
	file   *os.File
	grown  chan struct{} // closed and replaced when a line arrives
	closed bool
}

// openLogbook opens or creates the log at path.
func openLogbook(path string) (*logbook, error) {
	b := &logbook{path: path, grown: make(chan struct{})}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if text := strings.TrimSuffix(string(old), "\n"); text != "" {
		b.lines = strings.Split(text, "\n")
		for _, line := range b.lines {
			b.bytes += len(line)
		}
		b.trimLocked()
		b.first = 0
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	b.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if len(old) > 0 && old[len(old)-1] != '\n' { // a killed process left half a line
		if _, err := b.file.WriteString("\n"); err != nil {
			_ = b.file.Close()
			return nil, err
		}
	}
	b.size = int64(len(old))
	return b, nil
}

// add appends one line without its line end. A file that cannot be written
// must not stop the deployment: the lines are still in memory.
func (b *logbook) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	b.bytes += len(line)
	b.trimLocked()
	close(b.grown)
	b.grown = make(chan struct{})
	if b.file == nil {
		return
	}
	n, _ := b.file.WriteString(line + "\n")
	b.size += int64(n)
	if b.size > maxLogFile {
		b.cutLocked()
	}
}

// trimLocked drops the oldest lines beyond either bound.
func (b *logbook) trimLocked() {
	drop := 0
	for drop < len(b.lines)-1 && (len(b.lines)-drop > keptLines || b.bytes > maxKept) {
		b.bytes -= len(b.lines[drop])
		b.lines[drop] = "" // let the text go before the array does
		drop++
	}
	b.first += uint64(drop)
	b.lines = b.lines[drop:]
}

// cutLocked rewrites the file with the lines still kept, or with fewer when
// those alone are too many bytes.
func (b *logbook) cutLocked() {
	keep, total := len(b.lines), 0
	for keep > 0 && total < maxLogFile/2 {
		keep--
		total += len(b.lines[keep]) + 1
	}
	text := strings.Join(b.lines[keep:], "\n") + "\n"
	if err := b.file.Truncate(0); err != nil {
		return
	}
	n, _ := b.file.WriteString(text) // O_APPEND writes at the new end
	b.size = int64(n)
}

// tail is the last n lines, all of them for n <= 0.
func (b *logbook) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	if n > 0 && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// follow yields the last n lines and then each new one until ctx ends, the
// log is closed or yield has enough.
func (b *logbook) follow(ctx context.Context, n int, yield func(string) bool) {
	b.mu.Lock()
	next := b.first
	if kept := len(b.lines); n > 0 && n < kept {
		next += uint64(kept - n)
	}
	b.mu.Unlock()
	for {
		b.mu.Lock()
		if next < b.first {
			next = b.first
		}
		lines := append([]string(nil), b.lines[next-b.first:]...)
		next += uint64(len(lines))
		grown, closed := b.grown, b.closed
		b.mu.Unlock()
		for _, line := range lines {
			if !yield(line) {
				return
			}
		}
		if len(lines) > 0 {
			continue
		}
		if closed {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-grown:
		}
	}
}

// close ends the file and every follower; remove also deletes the file.
func (b *logbook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	close(b.grown)
	b.grown = make(chan struct{})
	_ = b.file.Close()
	b.file = nil
}

// lineWriter turns writes into lines for sink. Safe for concurrent use.
type lineWriter struct {
	sink func(line string)

	mu   sync.Mutex
	rest []byte
}

// Write takes any bytes; a line reaches the sink when it is complete.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		switch {
		case end >= 0:
			w.sink(clean(w.rest[:end]))
			w.rest = w.rest[end+1:]
		case len(w.rest) >= maxLine:
			w.sink(clean(w.rest[:maxLine]))
			w.rest = w.rest[maxLine:]
		default:
			w.rest = append([]byte(nil), w.rest...) // let the large array go
			return len(p), nil
		}
	}
}

// flush passes on what came without a line end.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		w.sink(clean(w.rest))
		w.rest = nil
	}
}

// clean makes a line safe for JSON and terminals' line counting.
func clean(line []byte) string {
	return strings.ToValidUTF8(string(bytes.TrimSuffix(line, []byte("\r"))), "\uFFFD")
}

// stamped is a writer whose lines get the time in front, in the form the
// inference server prints.
func stamped(c clock.Clock, b *logbook) io.Writer {
	return &lineWriter{sink: func(line string) {
		b.add(fmt.Sprintf("%s I - %s", c.Now().UTC().Format("2006-01-02 15:04:05,000"), line))
	}}
}

// excerptHead and excerptTail bound Failure.Log: how a chain of tracebacks
// begins, and its end, where the user's own frame and the reason are.
const excerptHead, excerptTail = 10, 110

// logLine is how the inference server begins a line of its own.
var logLine = regexp.MustCompile(`^\d{4}-\d\d-\d\d[ T]\d\d:\d\d`)

// excerpt picks the part of an instance's output that explains its end: from
// the first Python traceback, or what Go prints in its place, to the last; else
// the last lines.
func excerpt(lines []string) string {
	start, end, last := -1, len(lines), 0
	for i, line := range lines {
		if strings.Contains(line, "Traceback (most recent call last)") || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			if start < 0 {
				start = max(0, i-1)
			}
			last = i
		}
	}
	if start < 0 {
		return strings.Join(lines[max(0, end-40):], "\n")
	}
	for i := last + 1; i < end; i++ {
		if logLine.MatchString(lines[i]) {
			end = i
		}
	}
	lines = lines[start:end]
	if cut := len(lines) - excerptHead - excerptTail; cut > 0 {
		lines = append(append(lines[:excerptHead:excerptHead], fmt.Sprintf("... %d lines left out ...", cut)), lines[len(lines)-excerptTail:]...)
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// recent remembers an instance's own last lines.
type recent struct {
	mu    sync.Mutex
	lines []string
	bytes int
}

func (r *recent) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	r.bytes += len(line)
	for len(r.lines) > 1 && (len(r.lines) > 1000 || r.bytes > 512<<10) {
		r.bytes -= len(r.lines[0])
		r.lines = r.lines[1:]
	}
}

func (r *recent) excerpt() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return excerpt(r.lines)
}

// readName gives the deployment name an earlier process left beside its logs.
func readName(dir string) string {
	f, err := os.Open(filepath.Join(dir, "name"))
	if err != nil {
		return ""
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Scan()
	return s.Text()
}
