package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// jobsBucket holds long-running operations by id.
const jobsBucket = "arm.operations"

// Status words of an asynchronous operation.
const (
	InProgress = "InProgress"
	Succeeded  = "Succeeded"
	Failed     = "Failed"
	Canceled   = "Canceled"
)

// Job is a stored long-running operation.
type Job struct {
	ID string `json:"id"`
	// Kind selects the worker, e.g. "machinelearning.CreateEndpoint".
	Kind string `json:"kind"`
	// Resource is the id of the resource the wish is about.
	Resource string          `json:"resource"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Status   string          `json:"status"`
	Error    *Problem        `json:"error,omitempty"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended,omitzero"`
}

// Done reports whether the job has ended.
func (j Job) Done() bool { return j.Status != InProgress }

// Outcome is how a worker leaves a job.
type Outcome struct {
	// Err makes the operation Failed; nil makes it Succeeded.
	Err *httpx.Error
	// Apply changes the resource in the transaction that ends the
	// operation, so that neither is seen ended without the other. May be nil.
	Apply func(store.Tx) error
}

// Worker performs a job. It must be safe to run again: after a restart every
// job without an end starts over. When ctx ends the emulator is stopping, or
// the job was cancelled; the outcome is then discarded unless Cancel was called.
type Worker func(ctx context.Context, job Job) Outcome

// Operations is the one engine of long-running operations: the wish and its
// operation are committed together, a worker performs it, and operation and
// resource end in one transaction.
type Operations struct {
	docs    store.Documents
	clock   clock.Clock
	logf    func(format string, args ...any)
	workers map[string]Worker

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	running map[string]*run // by job id
}

type run struct {
	job    Job
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// NewOperations makes an engine without workers. logf may be nil.
func NewOperations(docs store.Documents, c clock.Clock, logf func(string, ...any)) *Operations {
	if logf == nil {
		logf = func(string, ...any) {}
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Operations{docs: docs, clock: c, logf: logf, workers: map[string]Worker{}, ctx: ctx, stop: stop, running: map[string]*run{}}
}

// Handle names the worker of a kind. All are named before Resume.
func (o *Operations) Handle(kind string, w Worker) { o.workers[kind] = w }

// Begin files a job within the transaction that commits the wish; it starts
// when the transaction is durable.
func (o *Operations) Begin(tx store.Tx, kind string, resource azure.ResourceID, payload any) (id string, err error) {
	job := Job{ID: uuid.NewString(), Kind: kind, Resource: resource.String(), Status: InProgress, Started: o.clock.Now()}
	if payload != nil {
		if job.Payload, err = json.Marshal(payload); err != nil {
			return "", fmt.Errorf("operation %s: %w", kind, err)
		}
	}
	if o.workers[kind] == nil {
		return "", fmt.Errorf("operation %s has no worker", kind)
	}
	if err := putJob(tx, job); err != nil {
		return "", err
	}
	tx.OnCommit(func() { o.start(job) })
	return job.ID, nil
}

// Resume starts every job an earlier process left without an end. All are known
// before the first one runs, so that a deletion finds what it has to cancel.
func (o *Operations) Resume(ctx context.Context) error {
	var pending []Job
	err := o.docs.View(ctx, func(tx store.ReadTx) error {
		for key, raw := range tx.Scan(jobsBucket, nil, nil) {
			var job Job
			if err := json.Unmarshal(raw, &job); err != nil {
				return fmt.Errorf("stored operation %s: %w", key, err)
			}
			if !job.Done() {
				pending = append(pending, job)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	runs := make([]*run, len(pending))
	for i, job := range pending {
		runs[i] = o.register(job)
	}
	for _, r := range runs {
		o.launch(r)
	}
	return nil
}

// Running is the unfinished job about a resource, if any.
func (o *Operations) Running(resource azure.ResourceID) (Job, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.running {
		if strings.EqualFold(r.job.Resource, resource.String()) {
			return r.job, true
		}
	}
	return Job{}, false
}

// Cancel ends the unfinished jobs about a resource as Canceled and waits until
// their workers have returned. Their outcomes are discarded.
func (o *Operations) Cancel(ctx context.Context, resource azure.ResourceID) {
	o.CancelOthers(ctx, resource, "")
}

// CancelOthers is Cancel but for one job, which may be the caller itself.
func (o *Operations) CancelOthers(ctx context.Context, resource azure.ResourceID, except string) {
	o.mu.Lock()
	var waits []chan struct{}
	for _, r := range o.running {
		if strings.EqualFold(r.job.Resource, resource.String()) && r.job.ID != except {
			r.cancel(errCanceled)
			waits = append(waits, r.ended)
		}
	}
	o.mu.Unlock()
	for _, ended := range waits {
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
}

// Close stops the workers and waits for them; their jobs start over at the
// next Resume.
func (o *Operations) Close() {
	o.stop()
	o.wg.Wait()
}

var errCanceled = errors.New("the operation was superseded")

func (o *Operations) start(job Job) { o.launch(o.register(job)) }

// register makes a job known to Running and Cancel.
func (o *Operations) register(job Job) *run {
	ctx, cancel := context.WithCancelCause(o.ctx)
	r := &run{job: job, ctx: ctx, cancel: cancel, ended: make(chan struct{})}
	o.mu.Lock()
	o.running[job.ID] = r
	o.mu.Unlock()
	return r
}

func (o *Operations) launch(r *run) {
	job, ctx, cancel := r.job, r.ctx, r.cancel
	worker := o.workers[job.Kind]
	if worker == nil {
		o.logf("operation %s: no worker for kind %s", job.ID, job.Kind)
		o.finish(r)
		return
	}
	o.wg.Go(func() {
		defer cancel(nil)
		out := perform(ctx, worker, job)
		switch {
		case errors.Is(context.Cause(ctx), errCanceled):
			out = Outcome{Err: httpx.Errorf(http.StatusConflict, "OperationCanceled", "The operation was canceled by another operation on the same resource.")}
			job.Status = Canceled
		case o.ctx.Err() != nil:
			o.finish(r) // no end is written: Resume starts it over
			return
		case out.Err != nil:
			job.Status = Failed
		default:
			job.Status = Succeeded
		}
		o.end(r, job, out)
	})
}

// perform runs the worker and turns its panic into a failed operation.
func perform(ctx context.Context, worker Worker, job Job) (out Outcome) {
	defer func() {
		if v := recover(); v != nil {
			out = Outcome{Err: httpx.AsError(fmt.Errorf("operation %s: panic: %v", job.Kind, v))}
		}
	}()
	return worker(ctx, job)
}

func (o *Operations) end(r *run, job Job, out Outcome) {
	defer o.finish(r)
	job.Ended = o.clock.Now()
	if out.Err != nil {
		p := ProblemOf(out.Err)
		job.Error = &p
		if out.Err.Cause != nil {
			o.logf("operation %s on %s: %v", job.Kind, job.Resource, out.Err)
		}
	}
	write := func(tx store.Tx) error { return putJob(tx, job) }
	ctx := context.WithoutCancel(o.ctx)
	err := o.docs.Update(ctx, func(tx store.Tx) error {
		if err := apply(tx, out); err != nil {
			return err
		}
		return write(tx)
	})
	if err != nil {
		// A job that never ends would keep its poller for ever.
		o.logf("operation %s on %s could not be applied: %v", job.Kind, job.Resource, err)
		p := ProblemOf(httpx.AsError(err))
		job.Status, job.Error = Failed, &p
		err = o.docs.Update(ctx, write)
	}
	if err != nil {
		o.logf("operation %s on %s could not be ended: %v", job.Kind, job.Resource, err)
	}
}

// apply runs an outcome's change; nobody above a worker's goroutine would
// catch its panic.
func apply(tx store.Tx, out Outcome) (err error) {
	if out.Apply == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return out.Apply(tx)
}

func (o *Operations) finish(r *run) {
	o.mu.Lock()
	delete(o.running, r.job.ID)
	o.mu.Unlock()
	close(r.ended)
}

// Job reads a job; ok is false for an unknown id.
func (o *Operations) Job(ctx context.Context, id string) (job Job, ok bool, err error) {
	err = o.docs.View(ctx, func(tx store.ReadTx) error {
		raw, found := tx.Get(jobsBucket, []byte(id))
		if !found {
			return nil
		}
		ok = true
		return json.Unmarshal(raw, &job)
	})
	return job, ok, err
}

// Wait is Job, but holds the answer up to limit while the job runs.
func (o *Operations) Wait(ctx context.Context, id string, limit time.Duration) (Job, bool, error) {
	o.mu.Lock()
	r := o.running[id]
	o.mu.Unlock()
	if r != nil {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-r.ended:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return o.Job(ctx, id)
}

func putJob(tx store.Tx, job Job) error {
	raw, err := json.Marshal(job)
	if err != nil {
		return err
	}
	return tx.Put(jobsBucket, []byte(job.ID), raw)
}
