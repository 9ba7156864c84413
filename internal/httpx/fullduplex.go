package httpx

import (
	"io"
	"net/http"
	"sync/atomic"
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
func FullDuplex(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody || controller.EnableFullDuplex() != nil {
			next.ServeHTTP(w, r) // HTTP/2 is full duplex by nature
			return
		}
		body := &endBody{ReadCloser: r.Body}
		watched := r.WithContext(r.Context())
		watched.Body = body
		next.ServeHTTP(w, watched)
		if !body.ended.Load() {
			_ = controller.Flush() // the client may wait for the answer before it sends on
		}
		_ = r.Body.Close()
	})
}

// endBody notes that its end was read.
type endBody struct {
	io.ReadCloser
	ended atomic.Bool
}

// Read reads on.
func (b *endBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended.Store(true)
	}
	return n, err
}
