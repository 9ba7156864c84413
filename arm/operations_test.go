package arm_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/arm/armtest"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/covers"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

const (
	jobKind = "things.Make"
	sdk     = "azure-sdk-for-go"
)

// slowTypes is a provider whose PUT is a long-running operation performed by
// the worker. A query of location=only asks for Location alone.
func slowTypes(e *armtest.Env, worker arm.Worker) []arm.Type {
	e.Operations.Handle(jobKind, worker)
	begin := func(status int) func(http.ResponseWriter, *arm.Request) error {
		return func(w http.ResponseWriter, r *arm.Request) error {
			var id string
			rec := &arm.Record{ID: r.ID.String(), Type: thingType, Document: arm.Document{"location": "eastus", "properties": map[string]any{"provisioningState": "Creating"}}}
			err := e.Documents.Update(r.Context(), func(tx store.Tx) (err error) {
				if err := arm.Put(tx, rec); err != nil {
					return err
				}
				id, err = e.Operations.Begin(tx, jobKind, r.ID, map[string]string{"wish": "granted"})
				return err
			})
			if err != nil {
				return err
			}
			if r.URL.Query().Get("location") == "only" {
				e.Operations.LocationHeader(w.Header(), r, id)
			} else {
				e.Operations.PollHeaders(w.Header(), r, id)
			}
			return arm.Reply(w, status, rec.Body())
		}
	}
	row := func(method string, status int) arm.Row {
		return arm.Row{Operation: httpx.Operation{Name: "things." + method, Method: method}, Serve: begin(status)}
	}
	get := thingTypes(e)[0].Rows[0]
	return []arm.Type{{Name: thingType, Rows: []arm.Row{row(http.MethodPut, http.StatusCreated), row(http.MethodDelete, http.StatusAccepted), get}}}
}

// done ends a job with the resource Succeeded.
func done(job arm.Job) arm.Outcome {
	return arm.Outcome{Apply: func(tx store.Tx) error { return setState(tx, job.Resource, "Succeeded") }}
}

func setState(tx store.Tx, id, state string) error {
	rec, ok, err := arm.Get(tx, id)
	if err != nil || !ok {
		return errors.Join(err, errors.New("the resource is gone"))
	}
	rec.Document.Set(state, "properties", "provisioningState")
	return arm.Put(tx, rec)
}

func follow(s *armtest.Server, as azure.Principal, url string) armtest.Answer {
	s.T.Helper()
	return s.DoToken(as.ObjectID, http.MethodGet, strings.TrimPrefix(url, s.URL), "")
}

func TestSDKPollsToTheEnd(t *testing.T) {
	covers.C(t, sdk, "R-154")
	e := armtest.New(t)
	release := make(chan struct{})
	s := e.Serve(slowTypes(e, func(_ context.Context, job arm.Job) arm.Outcome {
		<-release
		var payload map[string]string
		if json.Unmarshal(job.Payload, &payload) != nil || payload["wish"] != "granted" {
			return arm.Outcome{Err: arm.BadRequest("Lost", "the payload is %s", job.Payload)}
		}
		return done(job)
	}))
	client, err := armresources.NewClient(azure.SeedSubscriptionID, s.Credential(s.Owner()), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	id := armtest.Group + things + "/slow"
	poller, err := client.BeginCreateOrUpdateByID(t.Context(), id, "2022-04-01", armresources.GenericResource{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if poller.Done() {
		t.Error("done before the worker was")
	}
	close(release)
	made, err := poller.PollUntilDone(t.Context(), &runtime.PollUntilDoneOptions{Frequency: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if state := made.Properties.(map[string]any)["provisioningState"]; state != "Succeeded" {
		t.Errorf("the client ends with %v", state)
	}
}

func TestSDKSeesTheFailure(t *testing.T) {
	e := armtest.New(t)
	s := e.Serve(slowTypes(e, func(context.Context, arm.Job) arm.Outcome {
		failed := arm.BadRequest("OutOfQuota", "There is no room.")
		failed.Details = []httpx.Error{{Code: "Inner", Message: "why"}}
		return arm.Outcome{Err: failed}
	}))
	owner := s.Owner()
	client, err := armresources.NewClient(azure.SeedSubscriptionID, s.Credential(owner), s.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	id := armtest.Group + things + "/slow"
	poller, err := client.BeginCreateOrUpdateByID(t.Context(), id, "2022-04-01", armresources.GenericResource{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = poller.PollUntilDone(t.Context(), &runtime.PollUntilDoneOptions{Frequency: time.Second})
	var failure *azcore.ResponseError
	if !errors.As(err, &failure) || failure.ErrorCode != "OutOfQuota" {
		t.Errorf("the client ends with %v", err)
	}
	// Who follows Location must not take the failure for a success.
	a := s.Want(http.StatusCreated, owner, http.MethodPut, id+"?api-version=1&location=only", `{}`)
	if a.Header.Get("Azure-AsyncOperation") != "" {
		t.Error("Location does not come alone")
	}
	last := follow(s, owner, a.Header.Get("Location"))
	for last.Status == http.StatusAccepted {
		last = follow(s, owner, last.Header.Get("Location"))
	}
	if last.Status != http.StatusConflict || last.Code() != "OutOfQuota" {
		t.Errorf("Location ends with %d %s", last.Status, last.Raw)
	}
}

func TestPollingAnswers(t *testing.T) {
	e := armtest.New(t)
	release := make(chan string)
	s := e.Serve(slowTypes(e, func(_ context.Context, job arm.Job) arm.Outcome {
		if <-release == "gone" {
			return arm.Outcome{Apply: func(tx store.Tx) error { return arm.Delete(tx, job.Resource) }}
		}
		return done(job)
	}))
	owner, id := s.Owner(), armtest.Group+things+"/slow"
	begin := func(method string, status int) (statusURL, resultURL string) {
		t.Helper()
		h := s.Want(status, owner, method, id, `{}`).Header
		if h.Get("Retry-After") != "" || h.Get("retry-after-ms") != "200" || h.Get("x-ms-retry-after-ms") != "200" {
			t.Errorf("headers %v", h)
		}
		return h.Get("Azure-AsyncOperation"), h.Get("Location")
	}
	statusURL, resultURL := begin(http.MethodPut, http.StatusCreated)
	if !strings.Contains(statusURL, "/locations/") || !strings.Contains(statusURL, "api-version=2022-04-01") || !strings.HasPrefix(statusURL, s.URL+"/subscriptions/") {
		t.Errorf("status URL %s", statusURL)
	}
	a := follow(s, owner, statusURL)
	if a.Status != http.StatusOK || a.Body.String("status") != "InProgress" || a.Header.Get("Retry-After") != "" {
		t.Errorf("while it runs: %d %s", a.Status, a.Raw)
	}
	if a := follow(s, owner, resultURL); a.Status != http.StatusAccepted || a.Header.Get("Location") != resultURL || a.Raw != "" {
		t.Errorf("while it runs: %d %s", a.Status, a.Raw)
	}
	release <- "done"
	// A poll is held for a second, in which a busy machine may not come to an end.
	held := func(url string, goesOn func(armtest.Answer) bool) (a armtest.Answer) {
		for range 30 {
			if a = follow(s, owner, url); !goesOn(a) {
				break
			}
		}
		return a
	}
	if a := held(statusURL, func(a armtest.Answer) bool { return a.Body.String("status") == "InProgress" }); a.Body.String("status") != "Succeeded" || a.Body.String("endTime") == "" {
		t.Errorf("a held poll did not see the end: %s", a.Raw)
	}
	if a := follow(s, owner, resultURL); a.Status != http.StatusOK || a.Body.String("id") != id || a.Body.String("properties", "provisioningState") != "Succeeded" {
		t.Errorf("result: %d %s", a.Status, a.Raw)
	}
	_, resultURL = begin(http.MethodDelete, http.StatusAccepted)
	release <- "gone"
	if a := held(resultURL, func(a armtest.Answer) bool { return a.Status == http.StatusAccepted }); a.Status != http.StatusNoContent {
		t.Errorf("result of a deletion: %d %s", a.Status, a.Raw)
	}
	unknown := statusURL[:strings.LastIndexByte(statusURL, '/')+1] + armtest.GUID("x") + "?api-version=1"
	if a := follow(s, owner, unknown); a.Status != http.StatusNotFound || a.Code() != "OperationNotFound" {
		t.Errorf("unknown operation: %d %s", a.Status, a.Raw)
	}
	if a := s.DoToken("", http.MethodGet, strings.TrimPrefix(statusURL, s.URL), ""); a.Status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", a.Status)
	}
}

// ended waits for the end of a job through its status URL.
func ended(s *armtest.Server, as azure.Principal, url string) armtest.Answer {
	s.T.Helper()
	for {
		if a := follow(s, as, url); a.Body.String("status") != arm.InProgress {
			return a
		}
	}
}

func TestBrokenWorkersEndAsFailed(t *testing.T) {
	covers.R(t, "R-109")
	for name, worker := range map[string]arm.Worker{
		"panic": func(context.Context, arm.Job) arm.Outcome { panic("secret detail") },
		"apply fails": func(context.Context, arm.Job) arm.Outcome {
			return arm.Outcome{Apply: func(store.Tx) error { return errors.New("secret detail") }}
		},
		"apply panics": func(context.Context, arm.Job) arm.Outcome {
			return arm.Outcome{Apply: func(store.Tx) error { panic("secret detail") }}
		},
		"untyped inside": func(context.Context, arm.Job) arm.Outcome {
			return arm.Outcome{Err: httpx.AsError(errors.New("secret detail"))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := armtest.New(t)
			s := e.Serve(slowTypes(e, worker))
			owner := s.Owner()
			a := ended(s, owner, s.Want(http.StatusCreated, owner, http.MethodPut, armtest.Group+things+"/slow", `{}`).Header.Get("Azure-AsyncOperation"))
			if a.Body.String("status") != "Failed" || a.Code() != "InternalServerError" || strings.Contains(a.Raw, "secret detail") {
				t.Errorf("ends as %s", a.Raw)
			}
		})
	}
}

func TestCancelDiscardsTheOutcome(t *testing.T) {
	covers.R(t, "R-109")
	e := armtest.New(t)
	started := make(chan arm.Job, 1)
	s := e.Serve(slowTypes(e, func(ctx context.Context, job arm.Job) arm.Outcome {
		started <- job
		<-ctx.Done()
		return done(job)
	}))
	owner := s.Owner()
	a := s.Want(http.StatusCreated, owner, http.MethodPut, armtest.Group+things+"/slow", `{}`)
	job := <-started
	id := azure.MustParseResourceID(strings.ToUpper(job.Resource))
	if running, ok := e.Operations.Running(id); !ok || running.ID != job.ID {
		t.Errorf("running: %+v", running)
	}
	e.Operations.CancelOthers(t.Context(), id, job.ID)
	if _, ok := e.Operations.Running(id); !ok {
		t.Error("the excepted job was cancelled")
	}
	e.Operations.Cancel(t.Context(), id)
	if _, ok := e.Operations.Running(id); ok {
		t.Error("Cancel returned before the worker had")
	}
	if a := follow(s, owner, a.Header.Get("Azure-AsyncOperation")); a.Body.String("status") != "Canceled" || a.Code() != "OperationCanceled" {
		t.Errorf("ends as %s", a.Raw)
	}
	if a := s.Want(http.StatusOK, owner, http.MethodGet, job.Resource, ""); a.Body.String("properties", "provisioningState") != "Creating" {
		t.Error("the outcome was applied")
	}
}

func TestJobsSurviveARestart(t *testing.T) {
	e := armtest.New(t)
	var runs atomic.Int32
	started := make(chan struct{}, 1)
	s := e.Serve(slowTypes(e, func(ctx context.Context, job arm.Job) arm.Outcome {
		runs.Add(1)
		started <- struct{}{}
		<-ctx.Done()
		return done(job)
	}))
	owner := s.Owner()
	h := s.Want(http.StatusCreated, owner, http.MethodPut, armtest.Group+things+"/slow", `{}`).Header
	<-started
	e.Operations.Close() // the process stops

	e.Operations = arm.NewOperations(e.Documents, e.Clock, t.Logf)
	t.Cleanup(e.Operations.Close)
	again := e.Serve(slowTypes(e, func(_ context.Context, job arm.Job) arm.Outcome { runs.Add(1); return done(job) }))
	path := strings.TrimPrefix(h.Get("Azure-AsyncOperation"), s.URL)
	if a := again.DoToken(owner.ObjectID, http.MethodGet, path, ""); a.Body.String("status") != "InProgress" {
		t.Errorf("before Resume: %s", a.Raw)
	}
	if err := e.Operations.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := ended(again, owner, again.URL+path); a.Body.String("status") != "Succeeded" {
		t.Errorf("after Resume: %s", a.Raw)
	}
	if n := runs.Load(); n != 2 {
		t.Errorf("the worker ran %d times", n)
	}
	if err := e.Operations.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := runs.Load(); n != 2 {
		t.Error("an ended job started over")
	}
}

func TestBeginNeedsAWorkerAndACommit(t *testing.T) {
	e := armtest.New(t)
	id := azure.MustParseResourceID(armtest.Group + things + "/x")
	if err := e.Documents.Update(t.Context(), func(tx store.Tx) error {
		_, err := e.Operations.Begin(tx, "nobody's", id, nil)
		return err
	}); err == nil {
		t.Error("a job without a worker was filed")
	}
	ran := make(chan struct{}, 1)
	e.Operations.Handle(jobKind, func(context.Context, arm.Job) arm.Outcome { ran <- struct{}{}; return arm.Outcome{} })
	if err := e.Documents.Update(t.Context(), func(tx store.Tx) error {
		if _, err := e.Operations.Begin(tx, jobKind, id, nil); err != nil {
			return err
		}
		return errors.New("no")
	}); err == nil {
		t.Fatal("the transaction was to fail")
	}
	e.Operations.Close()
	select {
	case <-ran:
		t.Error("a job ran whose wish was never committed")
	default:
	}
}
