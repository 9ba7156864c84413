package arm

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// hold is how long a status GET waits for news, so that a client which ignores
// every polling header still learns of the end at once.
const hold = time.Second

// pollPaths are the words a provider's polling URLs use.
type pollPaths struct{ namespace, status, result string }

// polls lists what the real services use; the first fits everyone else.
var polls = []pollPaths{
	{"Microsoft.Resources", "operationStatuses", "operationResults"},
	{"Microsoft.MachineLearningServices", "mfeOperationsStatus", "mfeOperationResults"},
	{"Microsoft.Storage", "asyncOperationStatus", "asyncoperations"},
}

func pollsOf(namespace string) pollPaths {
	for _, p := range polls {
		if strings.EqualFold(p.namespace, namespace) {
			return p
		}
	}
	return polls[0]
}

// PollHeaders sets the polling headers of a long-running operation. Both
// -ms headers and no Retry-After: a fraction there crashes two clients, an
// integer costs a second, and absence leaves clients at up to 30 s unless they
// read these.
func (o *Operations) PollHeaders(h http.Header, r *Request, jobID string) {
	status, result := PollURLs(r, jobID)
	h.Set("Azure-AsyncOperation", status)
	h.Set("Location", result)
	pollSoon(h)
}

// LocationHeader sets Location alone, for types whose clients expect the
// finished resource from it.
func (o *Operations) LocationHeader(h http.Header, r *Request, jobID string) {
	_, result := PollURLs(r, jobID)
	h.Set("Location", result)
	pollSoon(h)
}

func pollSoon(h http.Header) {
	h.Set("retry-after-ms", "200")
	h.Set("x-ms-retry-after-ms", "200")
}

// PollURLs are the absolute status and result URLs of an operation.
func PollURLs(r *Request, jobID string) (status, result string) {
	sub := r.ID.SubscriptionID()
	ns := pollsOf(r.ID.Namespace())
	base := "https://" + r.Host + "/subscriptions/" + sub + "/providers/" + ns.namespace + "/locations/" + azure.SeedLocation + "/"
	query := "?api-version=" + url.QueryEscape(r.APIVersion)
	return base + ns.status + "/" + jobID + query, base + ns.result + "/" + jobID + query
}

// types are the polling resources themselves. Azure asks no role of a poller
// beyond a valid token: the id is a capability.
func (o *Operations) types() []Type {
	var out []Type
	for _, p := range polls {
		prefix := p.namespace + "/locations/"
		out = append(out,
			Type{Name: prefix + p.status, Rows: []Row{{
				Operation: httpx.Operation{Name: "arm.GetOperationStatus", Method: http.MethodGet},
				Serve:     o.serveStatus,
			}}},
			Type{Name: prefix + p.result, Rows: []Row{{
				Operation: httpx.Operation{Name: "arm.GetOperationResult", Method: http.MethodGet},
				Serve:     o.serveResult,
			}}})
	}
	return out
}

func (o *Operations) poll(r *Request) (Job, error) {
	job, ok, err := o.Wait(r.Context(), r.Name, hold)
	if err != nil {
		return job, err
	}
	if !ok {
		return job, httpx.Errorf(http.StatusNotFound, "OperationNotFound", "The operation '%s' could not be found.", r.Name)
	}
	return job, nil
}

func (o *Operations) serveStatus(w http.ResponseWriter, r *Request) error {
	job, err := o.poll(r)
	if err != nil {
		return err
	}
	pollSoon(w.Header())
	body := Document{"id": r.ID.String(), "name": job.ID, "status": job.Status, "startTime": job.Started.Format(time.RFC3339Nano)}
	if job.Done() {
		body["endTime"] = job.Ended.Format(time.RFC3339Nano)
		body["percentComplete"] = 100
	}
	if job.Error != nil {
		body["error"] = job.Error
	}
	return Reply(w, http.StatusOK, body)
}

// serveResult answers 202 while the job runs, then the resource, 204 when it
// is gone, or the job's error with an error status: clients take any 200 for
// success, whatever its body says.
func (o *Operations) serveResult(w http.ResponseWriter, r *Request) error {
	job, err := o.poll(r)
	if err != nil {
		return err
	}
	if !job.Done() {
		w.Header().Set("Location", "https://"+r.Host+r.URL.RequestURI())
		pollSoon(w.Header())
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	if job.Error != nil {
		return httpx.Errorf(http.StatusConflict, job.Error.Code, "%s", job.Error.Message)
	}
	var rec *Record
	err = o.docs.View(r.Context(), func(tx store.ReadTx) error {
		var err error
		rec, _, err = Get(tx, job.Resource)
		return err
	})
	if err != nil {
		return err
	}
	if rec == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return Reply(w, http.StatusOK, rec.Body())
}
