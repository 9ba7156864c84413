package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// message is one of the engine's progress messages, of a build or a pull.
type message struct {
	Stream      string          `json:"stream"`
	Status      string          `json:"status"`
	ID          string          `json:"id"`
	Progress    json.RawMessage `json:"progressDetail"`
	Error       string          `json:"error"`
	ErrorDetail struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

const (
	// keptLines bounds what is remembered of a build for messages.
	keptLines = 400
	// longestLine bounds a line, in bytes.
	longestLine = 4096
)

// transcript is the end of what a build or pull said, by lines.
type transcript struct {
	lines []string
	// step is the last instruction the builder began.
	step string
}

// tail is the last n lines.
func (t *transcript) tail(n int) string {
	return strings.Join(t.lines[max(0, len(t.lines)-n):], "\n")
}

// stepError is the engine's own error at the end of a stream.
type stepError struct{ message string }

func (e *stepError) Error() string { return e.message }

// asStep is errors.As, named for what it is asked.
func asStep(err error, target **stepError) bool { return errors.As(err, target) }

var (
	escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	// chatter is the builder talking about its own images.
	chatter = regexp.MustCompile(`^( ---> |Removing intermediate container |\[Warning\] One or more build-args|Successfully (built|tagged) )`)
	begun   = regexp.MustCompile(`^Step [0-9]+/[0-9]+ : `)
)

// follow reads a stream of messages to its end, writing lines to log as they
// complete. The error is a *stepError where the engine reports one.
func follow(body io.Reader, log io.Writer) (*transcript, error) {
	t := &transcript{}
	var failed error
	partial := ""
	decoder := json.NewDecoder(body)
	for {
		var m message
		if err := decoder.Decode(&m); err != nil {
			t.take(partial, log)
			if !errors.Is(err, io.EOF) {
				return t, fmt.Errorf("images: read the engine's progress: %w", err)
			}
			return t, failed
		}
		switch {
		case m.Error != "" || m.ErrorDetail.Message != "":
			text := m.ErrorDetail.Message
			if text == "" {
				text = m.Error
			}
			failed = &stepError{text}
		case m.Status != "":
			// A pull; its bars are for terminals.
			if len(m.Progress) <= len("{}") {
				if m.ID != "" {
					m.Status = m.ID + ": " + m.Status
				}
				t.take(m.Status, log)
			}
		default:
			text := partial + m.Stream
			for {
				line, rest, whole := strings.Cut(text, "\n")
				if !whole {
					break
				}
				t.take(line, log)
				text = rest
			}
			if partial = text; len(partial) > longestLine {
				t.take(partial, log)
				partial = ""
			}
		}
	}
}

// take keeps a line and shows it, unless it is chatter.
func (t *transcript) take(line string, log io.Writer) {
	line = escapes.ReplaceAllString(line, "")
	if i := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:] // what a terminal would show in the end
	}
	line = strings.TrimRight(line, " \t\r")
	if strings.TrimSpace(line) == "" || chatter.MatchString(line) {
		return
	}
	if len(line) > longestLine {
		line = strings.ToValidUTF8(line[:longestLine], "") + "..."
	}
	if m := begun.FindString(line); m != "" {
		t.step = line[len(m):]
	}
	if len(t.lines) == keptLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
	fmt.Fprintln(log, line)
}
