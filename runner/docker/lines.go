package docker

import (
	"bytes"
	"io"
	"sync"
)

// maxLine is how much of a line is kept back while waiting for its end.
const maxLine = 64 << 10

// lines keeps the lines of several streams whole on their way into one log.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

// stream is one of them.
type stream struct {
	lines *lines
	rest  []byte
}

func (l *lines) stream() *stream { return &stream{lines: l} }

// Write passes complete lines on.
func (s *stream) Write(p []byte) (int, error) {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	s.rest = append(s.rest, p...)
	if end := bytes.LastIndexByte(s.rest, '\n') + 1; end > 0 {
		s.passLocked(end)
	}
	if len(s.rest) >= maxLine {
		s.passLocked(len(s.rest))
	}
	// The log's trouble must not stop the container's output.
	return len(p), nil
}

// flush passes on what is left without an end.
func (s *stream) flush() {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	if len(s.rest) > 0 {
		s.rest = append(s.rest, '\n')
		s.passLocked(len(s.rest))
	}
}

func (s *stream) passLocked(n int) {
	_, _ = s.lines.out.Write(s.rest[:n])
	s.rest = append(s.rest[:0], s.rest[n:]...)
}
