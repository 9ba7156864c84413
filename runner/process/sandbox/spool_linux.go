package sandbox

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxSpool bounds what is kept of an instance's output while no emulator is
// there. What comes after it is counted only: the instance must not stand still.
const maxSpool = 16 << 20

// spool keeps the command's output in a file while no emulator reads it.
type spool struct {
	from, to *os.File

	reading sync.WaitGroup
	active  bool
	kept    int64
	lost    int64
}

func newSpool(from, to int) (*spool, error) {
	// The file's status is the pipe's, which the emulator shares and wants so.
	if err := unix.SetNonblock(from, true); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	return &spool{from: os.NewFile(uintptr(from), "output"), to: os.NewFile(uintptr(to), "spool")}, nil //nolint:gosec // descriptors
}

// begin reads until stop.
func (s *spool) begin() {
	s.active, s.kept, s.lost = true, 0, 0
	if info, err := s.to.Stat(); err == nil { // of another gap, not yet read
		s.kept = info.Size()
	}
	_ = s.from.SetReadDeadline(time.Time{})
	s.reading.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := s.from.Read(buf)
			s.keep(buf[:n])
			if err != nil {
				return
			}
		}
	})
}

func (s *spool) keep(p []byte) {
	if s.kept >= maxSpool {
		s.lost += int64(len(p))
		return
	}
	n, err := s.to.Write(p)
	s.kept += int64(n)
	if err != nil { // the disk is full
		s.lost += int64(len(p) - n)
	}
}

// stop ends reading; what is in the pipe then is the next reader's.
func (s *spool) stop() {
	if !s.active {
		return
	}
	s.active = false
	_ = s.from.SetReadDeadline(time.Unix(1, 0))
	s.reading.Wait()
	if s.lost > 0 {
		s.say(fmt.Sprintf("amlocal: %d more bytes were printed while no emulator was there, and are lost", s.lost))
	}
}

// finish keeps what is in the pipe too. Whoever could still write is about to be
// ended by the kernel.
func (s *spool) finish() {
	s.stop()
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Read(outputFD, buf)
		if n > 0 {
			s.keep(buf[:n])
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
	}
}

// say adds a line of the agent's own.
func (s *spool) say(line string) { _, _ = s.to.WriteString(line + "\n") }
