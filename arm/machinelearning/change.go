package machinelearning

import (
	"net/http"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/store"
)

// change is a wish about one resource: what becomes of its record, and the job
// that fulfils it.
type change struct {
	kind string // as errors name it
	job  string
	// make gives the record to be; old is nil for a resource that is new.
	make func(tx store.Tx, old *arm.Record) (*arm.Record, error)
	// poll also keeps the operation's address in the document, where plain
	// REST samples look for it.
	poll bool
	// committed runs in the same transaction once the record is written.
	committed func(tx store.Tx, rec *arm.Record) error
}

// commit files a wish: busy check, the change, the state and its operation in
// one transaction, then the answer.
func (p *Provider) commit(w http.ResponseWriter, r *arm.Request, c change) error {
	status := http.StatusOK
	var rec *arm.Record
	var jobID string
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		old, exists, err := arm.Get(tx, r.ID.String())
		if err != nil {
			return err
		}
		state := stateUpdating
		if !exists {
			old, state, status = nil, stateCreating, http.StatusCreated
		} else if err := idle(c.kind, old); err != nil {
			return err
		}
		if rec, err = c.make(tx, old); err != nil {
			return err
		}
		rec.Document.Set(state, "properties", "provisioningState")
		p.stamp(rec, r.Author())
		if jobID, err = p.deps.Operations.Begin(tx, c.job, r.ID, nil); err != nil {
			return err
		}
		if c.poll {
			statusURL, _ := arm.PollURLs(r, jobID)
			rec.Document.Set(statusURL, "properties", "properties", "AzureAsyncOperationUri")
		}
		if err := arm.Put(tx, rec); err != nil || c.committed == nil {
			return err
		}
		return c.committed(tx, rec)
	})
	if err != nil {
		return err
	}
	p.deps.Operations.PollHeaders(w.Header(), r, jobID)
	return arm.Reply(w, status, body(rec))
}

// deletion is the wish that a resource be gone.
type deletion struct {
	kind, job string
	// check may refuse it.
	check     func(tx store.Tx, rec *arm.Record) error
	committed func(tx store.Tx, rec *arm.Record) error
}

// commitDeletion files a deletion; what is not there is gone already.
func (p *Provider) commitDeletion(w http.ResponseWriter, r *arm.Request, d deletion) error {
	jobID := ""
	err := p.deps.Documents.Update(r.Context(), func(tx store.Tx) error {
		rec, exists, err := arm.Get(tx, r.ID.String())
		if err != nil || !exists {
			return err
		}
		if rec.Document.String("properties", "provisioningState") == stateDeleting {
			return errBusy(d.kind, rec.Name())
		}
		if err := d.check(tx, rec); err != nil {
			return err
		}
		rec.Document.Set(stateDeleting, "properties", "provisioningState")
		p.stamp(rec, r.Author())
		if err := arm.Put(tx, rec); err != nil {
			return err
		}
		if jobID, err = p.deps.Operations.Begin(tx, d.job, r.ID, nil); err != nil || d.committed == nil {
			return err
		}
		return d.committed(tx, rec)
	})
	if err != nil {
		return err
	}
	if jobID == "" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	p.deps.Operations.PollHeaders(w.Header(), r, jobID)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// idle refuses a second operation beside a running one.
func idle(kind string, rec *arm.Record) error {
	switch rec.Document.String("properties", "provisioningState") {
	case stateCreating, stateUpdating, stateDeleting:
		return errBusy(kind, rec.Name())
	}
	return nil
}
