// Package httpx is the HTTP machinery every plane shares: the operation table
// (Operation), the chain that runs a row of it (Plane), the typed error that
// handlers return (Error), and the one constructor that makes gorilla/mux leave
// paths alone (NewRouter).
//
// It knows no wire dialect. How an error looks is each plane's Encode; how a
// caller proves who they are is each plane's Authenticate.
package httpx
