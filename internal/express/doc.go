// Package express serves the ordinary requests of an HTTP/1.1 connection at
// less cost than net/http does, in the one goroutine that reads them. At the
// first request that is not ordinary it leaves the connection, with all that
// was read, to net/http's server for good.
//
// Ordinary is a GET, POST, PUT, PATCH or DELETE in origin form by HTTP/1.1 whose
// head is small and arrives at once, and whose body has a Content-Length, is
// small, and follows soon. Its head has no Transfer-Encoding, Expect, Upgrade,
// Te or Trailer, and no Connection but keep-alive. Whatever is doubtful is not
// ordinary: what is wrong is for net/http to answer. So the parser here only
// accepts; for what it accepts it must say the same as http.ReadRequest, which
// its fuzz target checks.
//
// What costs net/http most per request is the goroutine that waits for the
// caller's leaving. Here it is begun for requests that take their time.
//
// A handler sees what it sees with net/http (RFC 9112), but for this: the body
// is complete, its context ends with the connection and not with the request,
// and the writer cannot be hijacked, has no deadlines and no full duplex.
package express
