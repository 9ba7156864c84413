package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/resources/template"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// Front sends a request to the control plane as somebody, inside this process:
// a template can do what its caller could do one by one, and nothing else.
type Front interface {
	// Do answers status, headers and body; err is for what never reached it.
	Do(ctx context.Context, as azure.Principal, method, target string, body []byte) (status int, header http.Header, answer []byte, err error)
}

// sealedWish is a wish in the form it waits in the store: parameters can hold
// secrets.
type sealedWish struct {
	Sealed []byte `json:"sealed"`
}

func (p *Provider) sealWish(id string, w *wish) (sealedWish, error) {
	raw, err := json.Marshal(w)
	if err != nil {
		return sealedWish{}, fmt.Errorf("deployment: %w", err)
	}
	return sealedWish{p.deps.Seal.Seal(strings.ToLower(id), raw)}, nil
}

func (p *Provider) openWish(id string, payload json.RawMessage) (*wish, error) {
	var sealed sealedWish
	if err := json.Unmarshal(payload, &sealed); err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	raw, err := p.deps.Seal.Open(strings.ToLower(id), sealed.Sealed)
	if err != nil {
		return nil, err
	}
	var w wish
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	return &w, nil
}

// deploy is the worker: it puts the resources one after the other. After a
// restart it begins again; putting what is there changes nothing.
func (p *Provider) deploy(ctx context.Context, job arm.Job) arm.Outcome {
	want, err := p.openWish(job.Resource, job.Payload)
	if err != nil {
		return arm.Outcome{Err: arm.Conflict("DeploymentFailed", "The deployment could not be read again.").Because(err)}
	}
	run := &deployRun{p: p, ctx: ctx, job: job, want: want}
	if err := run.mark("Running"); err != nil {
		return arm.Outcome{Err: arm.Conflict("DeploymentFailed", "The deployment could not be started.").Because(err)}
	}
	outputs, err := run.all()
	ended := p.deps.Clock.Now()
	end := func(state string, change func(arm.Document)) func(store.Tx) error {
		return func(tx store.Tx) error {
			rec, ok, err := arm.Get(tx, job.Resource)
			if err != nil || !ok { // deleted with its group
				return err
			}
			rec.Document.Set(state, "properties", "provisioningState")
			rec.Document.Set(stamp(ended), "properties", "timestamp")
			rec.Document.Set(duration(ended.Sub(job.Started)), "properties", "duration")
			change(rec.Document)
			rec.ModifiedAt = ended
			if err := putSteps(tx, rec.ID, run.steps); err != nil {
				return err
			}
			return arm.Put(tx, rec)
		}
	}
	if err != nil {
		failed := errDeploymentFailed(err)
		return arm.Outcome{Err: failed, Apply: end(arm.Failed, func(doc arm.Document) {
			doc.Set(arm.ProblemOf(failed), "properties", "error")
		})}
	}
	return arm.Outcome{Apply: end(arm.Succeeded, func(doc arm.Document) {
		doc.Set(outputs, "properties", "outputs")
		made := []any{}
		for _, step := range run.steps {
			made = append(made, map[string]any{"id": step.ID})
		}
		doc.Set(made, "properties", "outputResources")
	})}
}

// deployRun is one run of a deployment.
type deployRun struct {
	p     *Provider
	ctx   context.Context
	job   arm.Job
	want  *wish
	steps []step
}

func (d *deployRun) mark(state string) error {
	return d.p.deps.Documents.Update(d.ctx, func(tx store.Tx) error {
		rec, ok, err := arm.Get(tx, d.job.Resource)
		if err != nil || !ok {
			return err
		}
		rec.Document.Set(state, "properties", "provisioningState")
		return arm.Put(tx, rec)
	})
}

func (d *deployRun) all() (map[string]any, error) {
	t, err := d.want.read()
	if err != nil {
		return nil, errTemplate(err)
	}
	resources, err := t.Resources()
	if err != nil {
		return nil, errTemplate(err)
	}
	for _, res := range resources {
		if !res.Wanted {
			continue
		}
		begin := d.p.deps.Clock.Now()
		err := d.put(res)
		s := step{OperationID: uuid.NewString(), ID: res.ID, Type: res.Type, Name: res.Name, Began: begin, Ended: d.p.deps.Clock.Now(), State: arm.Succeeded}
		if err != nil {
			s.State, s.Problem = arm.Failed, problemOf(err)
		}
		d.steps = append(d.steps, s)
		if err != nil {
			return nil, err
		}
	}
	outputs, err := t.Outputs(d)
	if err != nil {
		return nil, errTemplate(err)
	}
	return outputs, nil
}

// put sends one resource and waits until it is there.
func (d *deployRun) put(res *template.Resource) error {
	body, err := res.Body(d)
	if err != nil {
		return errTemplate(err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	header, answer, err := d.do(http.MethodPut, target(res.ID, res.APIVersion), raw)
	if err != nil {
		return err
	}
	if poll := header.Get("Azure-AsyncOperation"); poll != "" {
		return d.await(poll)
	}
	return d.settled(res, answer)
}

// await polls an operation; the status is held until there is news.
func (d *deployRun) await(poll string) error {
	u, err := url.Parse(poll)
	if err != nil {
		return err
	}
	for {
		_, answer, err := d.do(http.MethodGet, u.RequestURI(), nil)
		if err != nil {
			return err
		}
		var status struct {
			Status string       `json:"status"`
			Error  *arm.Problem `json:"error"`
		}
		if err := json.Unmarshal(answer, &status); err != nil {
			return err
		}
		switch status.Status {
		case arm.Succeeded:
			return nil
		case arm.Failed, arm.Canceled:
			if status.Error == nil {
				status.Error = &arm.Problem{Code: "ResourceDeploymentFailure", Message: "The resource write operation failed to complete successfully, because it reached terminal provisioning state '" + status.Status + "'."}
			}
			return &refusal{http.StatusConflict, *status.Error}
		}
	}
}

// settled waits for a resource whose answer named no operation.
func (d *deployRun) settled(res *template.Resource, answer []byte) error {
	for {
		var doc arm.Document
		if err := json.Unmarshal(answer, &doc); err != nil {
			return nil //nolint:nilerr // an answer without a body has no state
		}
		switch state := doc.String("properties", "provisioningState"); state {
		case arm.Failed, arm.Canceled:
			return &refusal{http.StatusConflict, arm.Problem{Code: "ResourceDeploymentFailure",
				Message: "The resource write operation failed to complete successfully, because it reached terminal provisioning state '" + state + "'."}}
		case "", arm.Succeeded:
			return nil
		}
		select {
		case <-d.ctx.Done():
			return d.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		var err error
		if _, answer, err = d.do(http.MethodGet, target(res.ID, res.APIVersion), nil); err != nil {
			return err
		}
	}
}

// do is one request of the caller's. What is refused is a *refusal.
func (d *deployRun) do(method, to string, body []byte) (http.Header, []byte, error) {
	status, header, answer, err := d.p.deps.Front.Do(d.ctx, d.want.Caller, method, to, body)
	if err != nil {
		return nil, nil, err
	}
	if status < 300 {
		return header, answer, nil
	}
	var envelope struct {
		Error arm.Problem `json:"error"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil || envelope.Error.Code == "" {
		return nil, nil, fmt.Errorf("%s %s: status %d", method, to, status)
	}
	return nil, nil, &refusal{status, envelope.Error}
}

func target(id, version string) string {
	if version == "" {
		version = "2022-09-01"
	}
	return (&url.URL{Path: id, RawQuery: "api-version=" + url.QueryEscape(version)}).RequestURI()
}

// Reference is template.Resolver's.
func (d *deployRun) Reference(id, version string) (map[string]any, error) {
	_, answer, err := d.do(http.MethodGet, target(id, version), nil)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(answer, &out)
}

// List is template.Resolver's.
func (d *deployRun) List(id, verb, version string, body any) (any, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	_, answer, err := d.do(http.MethodPost, target(id+"/"+verb, version), raw)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(answer, &out)
}

// refusal is a resource's own error.
type refusal struct {
	status  int
	problem arm.Problem
}

func (r *refusal) Error() string { return r.problem.Code + ": " + r.problem.Message }

func problemOf(err error) *arm.Problem {
	var r *refusal
	if errors.As(err, &r) {
		return &r.problem
	}
	return &arm.Problem{Code: "InternalServerError", Message: "The resource could not be deployed."}
}

// duration is an ISO 8601 duration, as clients parse it.
func duration(d time.Duration) string { return fmt.Sprintf("PT%.7fS", max(d, 0).Seconds()) }
