package amlocal

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/store"
)

// observedBucket keeps what every principal was allowed to do, across
// restarts: principal NUL plane NUL action NUL scope, in lower case, to a Use.
const observedBucket = "access.observed"

// Use is one thing a principal did: an action at a scope that a role allowed.
type Use struct {
	Principal azure.Principal `json:"principal"`
	Check     azure.Check     `json:"check"`
	Count     int64           `json:"count"`
	First     time.Time       `json:"first"`
	Last      time.Time       `json:"last"`
	// Assignments are the ARM ids of the role assignments that allowed it.
	Assignments []string `json:"assignments,omitempty"`
}

// observer counts what is allowed. The audit log keeps the newest requests
// only; this keeps one record for each principal, action and scope, which do
// not grow with the number of requests.
type observer struct {
	docs store.Documents
	logf func(string, ...any)

	mu    sync.Mutex
	uses  map[string]*Use
	dirty map[string]bool

	wake chan struct{} // there is something new
	done chan struct{}
	stop context.CancelFunc
}

// newObserver goes on from what is stored.
func newObserver(docs store.Documents, logf func(string, ...any)) (*observer, error) {
	o := &observer{docs: docs, logf: logf, uses: map[string]*Use{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	err := docs.View(context.Background(), func(tx store.ReadTx) error {
		for key, raw := range tx.Scan(observedBucket, nil, nil) {
			u := new(Use)
			if json.Unmarshal(raw, u) == nil { // a damaged record is observed anew
				o.uses[string(key)] = u
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	go o.keep(ctx)
	return o, nil
}

// observe is the audit log's sink: it must not block.
func (o *observer) observe(e audit.Entry) {
	news := false
	o.mu.Lock()
	for _, d := range e.Decisions {
		if d.Allowed && d.Principal.ObjectID != "" {
			news = o.countLocked(d, e.Time) || news
		}
	}
	o.mu.Unlock()
	if news {
		select {
		case o.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// countLocked reports whether the use was seen for the first time.
func (o *observer) countLocked(d azure.Decision, at time.Time) (first bool) {
	plane := "actions"
	if d.Check.Data {
		plane = "dataActions"
	}
	key := strings.ToLower(strings.Join([]string{d.Principal.ObjectID, plane, d.Check.Action, d.Check.Scope}, "\x00"))
	u := o.uses[key]
	if u == nil {
		u, first = &Use{Check: azure.Check{Action: d.Check.Action, Data: d.Check.Data, Scope: d.Check.Scope}, First: at}, true
		o.uses[key] = u
	}
	u.Principal, u.Last = d.Principal, at
	u.Count++
	if d.Assignment != "" && !slices.Contains(u.Assignments, d.Assignment) {
		u.Assignments, first = append(u.Assignments, d.Assignment), true
	}
	o.dirty[key] = true
	return first
}

// keep stores what is new as it comes; mere counts wait for the end.
func (o *observer) keep(ctx context.Context) {
	defer close(o.done)
	for {
		select {
		case <-ctx.Done():
			o.flush()
			return
		case <-o.wake:
			o.flush()
		}
	}
}

func (o *observer) flush() {
	o.mu.Lock()
	records := make(map[string][]byte, len(o.dirty))
	for key := range o.dirty {
		raw, err := json.Marshal(o.uses[key])
		if err == nil {
			records[key] = raw
		}
	}
	clear(o.dirty)
	o.mu.Unlock()
	if len(records) == 0 {
		return
	}
	err := o.docs.Update(context.Background(), func(tx store.Tx) error {
		for key, raw := range records {
			if err := tx.Put(observedBucket, []byte(key), raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.logf("what roles were used for could not be stored: %v", err)
	}
}

// close stores the last counts.
func (o *observer) close() {
	o.stop()
	<-o.done
}

// all are copies of everything observed.
func (o *observer) all() []Use {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]Use, 0, len(o.uses))
	for _, u := range o.uses {
		c := *u
		c.Assignments = slices.Clone(u.Assignments)
		out = append(out, c)
	}
	return out
}
