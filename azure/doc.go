// Package azure holds the names and contracts every other package speaks:
// resource ids, principals, checks and decisions, token claims, host classes.
//
// It knows no HTTP and no storage, keeps no state, and imports nothing of
// this module, so that any package may import it.
package azure
