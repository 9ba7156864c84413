package machinelearning

import (
	"context"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// attachCompute looks for the cluster. As documented, attaching does not look
// for the namespace.
func (p *Provider) attachCompute(ctx context.Context, job arm.Job) arm.Outcome {
	var missing *httpx.Error
	err := p.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		rec, ok, err := arm.Get(tx, job.Resource)
		if err != nil || !ok {
			return err
		}
		if _, ok, err = arm.Get(tx, rec.Document.String("properties", "resourceId")); err == nil && !ok {
			missing = errClusterFailed()
		}
		return err
	})
	if err != nil {
		missing = httpx.AsError(err)
	}
	return arm.Outcome{Err: missing, Apply: func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, job.Resource)
		if err != nil || !ok || rec.Document.String("properties", "provisioningState") == stateDeleting {
			return err
		}
		rec.Document.Set(stateSucceeded, "properties", "provisioningState")
		rec.Document.Set(nil, "properties", "provisioningErrors")
		if missing != nil {
			rec.Document.Set(stateFailed, "properties", "provisioningState")
			problem := map[string]any{"code": missing.Code, "message": missing.Message}
			rec.Document.Set([]any{map[string]any{"error": problem}}, "properties", "provisioningErrors")
		}
		return arm.Put(tx, rec)
	}}
}

// endCompute ends an attachment. Endpoints that name the compute stay, and
// answer ComputeNotFound when they are to be changed.
func (p *Provider) endCompute(_ context.Context, job arm.Job) arm.Outcome {
	return arm.Outcome{Apply: func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, job.Resource)
		if err != nil || !ok {
			return err
		}
		return p.removeCompute(tx, rec)
	}}
}

func (p *Provider) removeCompute(tx store.Tx, rec *arm.Record) error {
	if err := p.endComputeIdentity(tx, rec); err != nil {
		return err
	}
	if err := p.deps.Assignments.RemoveUnder(tx, rec.ID); err != nil {
		return err
	}
	return arm.Delete(tx, rec.ID)
}
