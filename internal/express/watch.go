package express

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watch notices that the caller of a request that takes its time has left: then
// the connection's context ends.
type watch struct {
	c     *conn
	timer *time.Timer

	mu      sync.Mutex
	running bool // a request is
	// done is set when a Read is under way, and closed when it has ended.
	done chan struct{}
	left bool
}

func (w *watch) init(c *conn) {
	w.c = c
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
}

func (w *watch) begin() {
	w.mu.Lock()
	w.running = true
	w.mu.Unlock()
	w.timer.Reset(watchAfter)
}

// look waits for the caller, in a goroutine of the timer's.
func (w *watch) look() {
	c := w.c
	w.mu.Lock()
	// With bytes in the buffer the caller has sent on: it is there, and what is
	// read is for the next request.
	if !w.running || w.done != nil || c.from != c.to {
		w.mu.Unlock()
		return
	}
	done := make(chan struct{})
	w.done = done
	w.mu.Unlock()
	defer close(done)
	var b [1]byte
	n, err := c.net.Read(b[:])
	switch {
	case n > 0:
		c.in[0] = b[0] // the first byte of the head, which is done with
		c.from, c.to = 0, 1
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		w.left = true
		c.cancel()
	}
}

// end stops watching, and says whether the caller has left.
func (w *watch) end() (left bool) {
	w.timer.Stop()
	w.mu.Lock()
	w.running = false
	done := w.done
	w.done = nil
	w.mu.Unlock()
	if done == nil {
		return false
	}
	_ = w.c.net.SetReadDeadline(past)
	<-done
	_ = w.c.net.SetReadDeadline(time.Time{})
	return w.left
}
