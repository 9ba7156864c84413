package scenarios

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report prints what happens, each step with its time.
type report struct {
	w      io.Writer
	began  time.Time
	quoted []string // what the running step wants shown below its line
}

func newReport(w io.Writer) *report { return &report{w: w, began: time.Now()} }

func (r *report) total() time.Duration { return time.Since(r.began) }

func (r *report) line(format string, args ...any) {
	_, _ = fmt.Fprintf(r.w, format+"\n", args...)
}

// step does one thing and prints its name with the time it took, then what it
// quoted.
func (r *report) step(title string, do func() error) error {
	began := time.Now()
	err := do()
	took := seconds(time.Since(began))
	if err != nil {
		r.line("%8s  %s: FAILED", took, title)
		err = fmt.Errorf("%s: %w", title, err)
	} else {
		r.line("%8s  %s", took, title)
	}
	for _, line := range r.quoted {
		r.line("          | %s", line)
	}
	r.quoted = nil
	return err
}

// quote shows text that came from somewhere else below the running step, set
// off from our own.
func (r *report) quote(text string) {
	r.quoted = append(r.quoted, strings.Split(strings.TrimRight(text, "\n"), "\n")...)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}

// lastLines is the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
