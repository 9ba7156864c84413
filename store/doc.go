// Package store keeps what the emulator must remember: documents in named
// buckets, and large content as files beside them. It knows no Azure.
//
// Documents live in one bbolt database. View gives a consistent snapshot and
// never waits for writers. Update hands its closure to one committer, which
// runs all closures that are waiting, one after the other, inside one bbolt
// transaction and makes them durable with one fsync. Each closure writes to an
// overlay of its own that reaches the transaction only when it succeeds, so a
// failing closure leaves nothing behind and its neighbours are not disturbed.
// It runs exactly once, on the goroutine that called Update: its panics are
// the caller's. bbolt's own Batch does neither: it waits for a timer and runs
// closures twice when a neighbour fails.
//
// Content is kept in files named by their SHA-256 (see Files), counted in the
// same transactions as the documents that mention them, and removed when
// nothing does.
//
// The folder holds
//
//	documents.db   the database
//	files/         one file for each content, flat, so that one directory
//	               sync makes a new name durable
//	incoming/      content still arriving; emptied at every start
//	lock           held while the store is open; names its holder's process id
//	damaged-TIME/  a database that did not open, with its files, moved aside
//
// A View may see a change in the moment between its being written and its
// being fsynced; only loss of power in that moment could take it back.
//
// Left out for now: named snapshots, and shrinking the database file.
package store
