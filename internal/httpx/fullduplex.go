package httpx

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// FullDuplex is for handlers that pass requests on with httputil.ReverseProxy.
// It avoids two traps of Go's HTTP/1 server (1.26.8):
//
//   - By default the server drains the request body once the answer starts,
//     while the proxy's transport still reads it: 1 to 2 % of the answers to
//     100 KiB requests end early. ResponseController.EnableFullDuplex cures it.
//   - With full duplex, a body the handler leaves unread (the instance could
//     not be reached) is drained after the server has stopped its background
//     read. Reaching the end starts another one, the next request on the
//     connection panics with "invalid concurrent Body.Read call", and its
//     client sees a reset. So the body is drained here, after the answer was
//     sent and before the handler returns.
//
// A caller who does not send on is not waited for: its answer is there, and its
// connection is closed. A body that says it is Complete needs nothing of this.
func FullDuplex(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Body.(complete); ok {
			next.ServeHTTP(w, r)
			return
		}
		controller := http.NewResponseController(w)
		if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody || controller.EnableFullDuplex() != nil {
			next.ServeHTTP(w, r) // HTTP/2 is full duplex by nature, and closes a body without waiting
			return
		}
		body := &endBody{ReadCloser: r.Body}
		stop := func() { _ = controller.SetReadDeadline(time.Unix(1, 0)) }
		watched := r.WithContext(context.WithValue(r.Context(), stopKey{}, func() {
			if body.state.Load() != bodyEnded { // or the server takes it for the caller's leaving
				stop()
			}
		}))
		watched.Body = body
		next.ServeHTTP(w, watched)
		if body.state.Load() == bodyEnded {
			_ = r.Body.Close()
			return
		}
		_ = controller.Flush() // the client may wait for the answer before it sends on
		patience := time.AfterFunc(drainTime, stop)
		defer patience.Stop()
		if body.state.Load() == bodyUnread && r.Header.Get("Expect") != "" {
			_ = r.Body.Close() // the server closes a connection whose body was not asked for
			return
		}
		_, _ = io.CopyN(io.Discard, body, maxDrain)
		if body.state.Load() != bodyEnded {
			// Where the next request begins is not known.
			panic(http.ErrAbortHandler)
		}
	})
}

const (
	// maxDrain is how much of an unread body is worth a connection, as
	// net/http has it, and drainTime how long.
	maxDrain  = 256 << 10
	drainTime = time.Second
)

// complete is a body that was read from the network before the handler began.
type complete interface{ Complete() }

type stopKey struct{}

// StopReading ends the Read of the body of a request that came by FullDuplex.
// Closing a body waits for the Read under way, which may be for a caller who
// sends nothing.
func StopReading(ctx context.Context) {
	if stop, ok := ctx.Value(stopKey{}).(func()); ok {
		stop()
	}
}

// Reads reports whether a request's body is read from the network, so that
// StopReading has something to stop.
func Reads(ctx context.Context) bool { return ctx.Value(stopKey{}) != nil }

// endBody notes how far it was read.
type endBody struct {
	io.ReadCloser
	state atomic.Int32
}

const (
	bodyUnread int32 = iota
	bodyBegun
	bodyBroken
	bodyEnded
)

// Read reads on.
func (b *endBody) Read(p []byte) (int, error) {
	b.state.CompareAndSwap(bodyUnread, bodyBegun)
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.state.Store(bodyEnded)
	case err != nil:
		b.state.CompareAndSwap(bodyBegun, bodyBroken)
	}
	return n, err
}
