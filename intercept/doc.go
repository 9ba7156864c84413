// Package intercept makes Azure's public names lead to the emulator: a forward
// proxy on one loopback port, and the certificate authority whose certificates
// it answers with.
//
// The port looks at a connection's first byte. A TLS record is answered with a
// certificate made for the name asked (SNI); everything else is HTTP: CONNECT
// and absolute-form requests of proxy clients, and origin-form requests to the
// emulator itself (admin API, custom-cloud metadata, identity endpoint,
// path-style blobs). A CONNECT to a name the emulator answers for ends inside
// this process; names that do not exist here, that are Azure's but not
// emulated, and that belong to the network are told apart by Deps.Route.
//
// What clients do, and which trust variables they read: wire/az-cli.md section
// 1, wire/runner.md section 2, both measured.
//
// Instances with a network of their own need no proxy: NameServer leads Azure's
// names to us and lets every other name be unknown, ServeDirect answers on
// their port 443, knows which instance it speaks with, and offers neither the
// emulator itself nor a way out.
//
// Left out: CONNECT over HTTP/2, SOCKS, and installing the root into a system's
// trust store, which this project never does.
package intercept
