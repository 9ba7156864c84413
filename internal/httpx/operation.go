package httpx

import (
	"net/http"

	"github.com/amlocal/amlocal/azure"
)

// Operation is one row of a service's table: everything the chain needs to
// know about one public operation. Rows are data; the table drives routing,
// RBAC, audit, faults and docs/coverage.md.
type Operation struct {
	// Name is the stable public name, e.g. "blobfake.GetBlob".
	Name string
	// Method is the HTTP method.
	Method string
	// Pattern is a gorilla/mux path template, matched against the escaped
	// path; empty for planes that route by resource type (arm).
	Pattern string
	// Match narrows the row further, e.g. on ?comp=list. Rows are tried in
	// table order.
	Match func(*http.Request) bool
	// Action is what RBAC is asked for bearer callers; empty: nothing.
	Action string
	// Or are further actions any one of which suffices in Action's place.
	Or []string
	// Data says Action and Or are data actions.
	Data bool
	// Scope finds the ARM id the check is made at. Required with Action.
	Scope func(*http.Request) string
	// Describe adds to the check what conditions may read; may be nil.
	Describe func(*http.Request, *azure.Check)
	// MaxBody is the largest body read, in bytes; 0 means no body beyond
	// DefaultMaxBody, negative means unlimited (streamed).
	MaxBody int64
	// Handler does the work. It either writes an answer and returns nil, or
	// returns an error and has written nothing.
	Handler func(http.ResponseWriter, *http.Request) error
}

// DefaultMaxBody is the body limit of rows that set none.
const DefaultMaxBody = 1 << 20

// Check is the question RBAC is asked for this request.
func (op *Operation) Check(r *http.Request) azure.Check {
	c := azure.Check{Action: op.Action, Data: op.Data}
	if op.Scope != nil {
		c.Scope = op.Scope(r)
	}
	if op.Describe != nil {
		op.Describe(r, &c)
	}
	return c
}
