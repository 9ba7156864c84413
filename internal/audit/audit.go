// Package audit remembers what recently happened on every plane: who asked for
// what, what RBAC decided and why, and how it was answered. `amlocal why` and
// the admin API read it. It never holds a credential: no header, no query.
package audit

import (
	"sync"
	"time"

	"github.com/amlocal/amlocal/azure"
)

// Entry is one request on one plane. It is written by one request's goroutine
// until Close, and is immutable afterwards.
type Entry struct {
	RequestID string       `json:"requestId"`
	Time      time.Time    `json:"time"`
	Plane     string       `json:"plane"`
	Operation string       `json:"operation,omitempty"`
	Method    string       `json:"method"`
	Host      string       `json:"host"`
	Path      string       `json:"path"`
	Caller    azure.Caller `json:"caller"`
	// Agent is the client's User-Agent, cut to MaxAgent bytes.
	Agent string `json:"agent,omitempty"`
	// Instance is the deployment instance the call came from or went to,
	// when that is known: "endpoint/deployment".
	Instance  string           `json:"instance,omitempty"`
	Decisions []azure.Decision `json:"decisions,omitempty"`
	Status    int              `json:"status"`
	Code      string           `json:"code,omitempty"`
	// Cause is what the log may say and the client may not.
	Cause    string        `json:"cause,omitempty"`
	Duration time.Duration `json:"durationNs"`
}

// MaxAgent bounds Entry.Agent.
const MaxAgent = 160

// Denied reports whether RBAC refused the request.
func (e *Entry) Denied() bool {
	for _, d := range e.Decisions {
		if !d.Allowed {
			return true
		}
	}
	return false
}

// Decide records a decision on the entry; a nil entry ignores it.
func (e *Entry) Decide(d azure.Decision) {
	if e != nil {
		e.Decisions = append(e.Decisions, d)
	}
}

// Log keeps the newest entries. Denials have a ring of their own so that a
// busy endpoint does not wash away the one the user will ask about.
type Log struct {
	mu      sync.Mutex
	all     ring
	denials ring
	sink    func(Entry)
}

// NewLog keeps up to size entries and as many denials. sink, when not nil,
// receives every closed entry in order of closing and must not block.
func NewLog(size int, sink func(Entry)) *Log {
	return &Log{all: ring{max: size}, denials: ring{max: size}, sink: sink}
}

// Close files a finished entry.
func (l *Log) Close(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.add(*e)
	if e.Denied() {
		l.denials.add(*e)
	}
	if l.sink != nil {
		l.sink(*e)
	}
}

// LastDenial is the newest request that RBAC refused.
func (l *Log) LastDenial() (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.denials.last()
}

// Find looks a request up by its id.
func (l *Log) Find(requestID string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range []*ring{&l.all, &l.denials} {
		for i := len(r.entries) - 1; i >= 0; i-- {
			if e := r.at(i); e.RequestID == requestID {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// Recent returns up to n entries, newest first; denials only when asked.
func (l *Log) Recent(n int, denialsOnly bool) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.all
	if denialsOnly {
		r = &l.denials
	}
	out := make([]Entry, 0, min(n, len(r.entries)))
	for i := len(r.entries) - 1; i >= 0 && len(out) < n; i-- {
		out = append(out, r.at(i))
	}
	return out
}

type ring struct {
	max     int
	start   int
	entries []Entry
}

func (r *ring) add(e Entry) {
	if len(r.entries) < r.max {
		r.entries = append(r.entries, e)
		return
	}
	r.entries[r.start] = e
	r.start = (r.start + 1) % r.max
}

func (r *ring) at(i int) Entry { return r.entries[(r.start+i)%len(r.entries)] }

func (r *ring) last() (Entry, bool) {
	if len(r.entries) == 0 {
		return Entry{}, false
	}
	return r.at(len(r.entries) - 1), true
}
