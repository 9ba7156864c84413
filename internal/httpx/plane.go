package httpx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
)

// WhyHeader is set on every refusal for want of a role, to the id that
// `amlocal why` takes. The answer's body stays Azure's.
const WhyHeader = "x-amlocal-why"

// Plane is what one wire dialect adds to the chain. All rows of a service run
// through one Plane.
//
// The chain, outermost first: recover, request id, audit open, authenticate,
// authorize, Before (api-version), the row's body limit, handler, error
// encoder, audit close. Routing comes before it (NewRouter) or is the plane's
// own (arm).
type Plane struct {
	// Name is the plane's name in the audit log, e.g. "blob".
	Name  string
	Clock clock.Clock
	Audit *audit.Log
	// Authorizer decides for bearer callers.
	Authorizer azure.Authorizer
	// Authenticate names the caller; nil: everyone is anonymous.
	Authenticate func(r *http.Request, op *Operation) (azure.Caller, error)
	// Permit is asked in place of RBAC for callers that are not bearers
	// (shared keys, SAS, anonymous); nil: they may.
	Permit func(r *http.Request, op *Operation, who azure.Caller) error
	// Deny is the plane's error for a refusal by RBAC.
	Deny func(r *http.Request, d azure.Decision) error
	// Before runs after authorization, e.g. to check versions; may be nil.
	Before func(r *http.Request, op *Operation) error
	// Encode writes an error in the plane's format. It is the only place
	// that does.
	Encode func(w http.ResponseWriter, r *http.Request, e *Error)
	// RequestIDHeader is set on every answer; default "x-ms-request-id".
	RequestIDHeader string
}

// Serve runs one row for a request that was routed to it.
func (p *Plane) Serve(w http.ResponseWriter, r *http.Request, op *Operation) {
	p.serve(w, r, op, nil)
}

// Refuse answers a request no row takes: routing errors are audited and
// encoded like any other.
func (p *Plane) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	p.serve(w, r, &Operation{Name: p.Name + ".unrouted"}, err)
}

func (p *Plane) serve(w http.ResponseWriter, r *http.Request, op *Operation, routeErr error) {
	start := p.Clock.Now()
	entry := &audit.Entry{
		RequestID: uuid.NewString(), Time: start, Plane: p.Name, Operation: op.Name,
		Method: r.Method, Host: r.Host, Path: r.URL.Path, Instance: Instance(r.Context()),
		Agent: agent(r),
	}
	r = r.WithContext(context.WithValue(r.Context(), entryKey, entry))
	rec := &recorder{ResponseWriter: w}
	idHeader := p.RequestIDHeader
	if idHeader == "" {
		idHeader = "x-ms-request-id"
	}
	rec.Header().Set(idHeader, entry.RequestID)
	defer func() {
		entry.Status = rec.status
		entry.Duration = p.Clock.Now().Sub(start)
		p.Audit.Close(entry)
	}()
	err := routeErr
	if err == nil {
		err = p.guard(rec, r, op, entry)
	}
	if err != nil {
		p.fail(rec, r, entry, err)
	} else if rec.status == 0 {
		rec.WriteHeader(http.StatusOK)
	}
}

// agent is who the client says it is, as far as it can be shown.
func agent(r *http.Request) string {
	ua := strings.ToValidUTF8(r.UserAgent(), "?")
	if len(ua) > audit.MaxAgent {
		ua = strings.ToValidUTF8(ua[:audit.MaxAgent], "")
	}
	return ua
}

// guard turns a panic of the row into an error, but for the one net/http
// itself understands.
func (p *Plane) guard(w http.ResponseWriter, r *http.Request, op *Operation, entry *audit.Entry) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return p.run(w, r, op, entry)
}

func (p *Plane) run(w http.ResponseWriter, r *http.Request, op *Operation, entry *audit.Entry) error {
	if p.Authenticate != nil {
		who, err := p.Authenticate(r, op)
		if err != nil {
			return err
		}
		entry.Caller = who
	} else {
		entry.Caller.Scheme = azure.Anonymous
	}
	if err := p.authorize(r, op, entry); err != nil {
		return err
	}
	if p.Before != nil {
		if err := p.Before(r, op); err != nil {
			return err
		}
	}
	if limit := op.MaxBody; limit >= 0 && r.Body != nil {
		if limit == 0 {
			limit = DefaultMaxBody
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	return op.Handler(w, r)
}

func (p *Plane) authorize(r *http.Request, op *Operation, entry *audit.Entry) error {
	if entry.Caller.Scheme != azure.Bearer {
		if p.Permit == nil {
			return nil
		}
		return p.Permit(r, op, entry.Caller)
	}
	if op.Action == "" {
		return nil
	}
	return p.Require(r, op.Check(r), op.Or...)
}

// Require asks RBAC a further question about the running request's caller, for
// rows whose needs depend on the body or on stored state. The refusal it
// returns is the plane's own. or are actions any one of which suffices in the
// check's place.
func (p *Plane) Require(r *http.Request, check azure.Check, or ...string) error {
	entry := Entry(r.Context())
	who := entry.Caller.Principal
	d := p.Authorizer.Decide(r.Context(), who, check)
	for _, action := range or {
		if d.Allowed {
			break
		}
		check.Action = action
		if alt := p.Authorizer.Decide(r.Context(), who, check); alt.Allowed {
			d = alt
		}
	}
	entry.Decide(d)
	if !d.Allowed {
		return p.Deny(r, d)
	}
	return nil
}

func (p *Plane) fail(w *recorder, r *http.Request, entry *audit.Entry, err error) {
	e := AsError(err)
	entry.Code = e.Code
	if e.Cause != nil {
		entry.Cause = e.Cause.Error()
	}
	if w.status != 0 { // the answer has begun: break the connection rather than lie
		panic(http.ErrAbortHandler)
	}
	for name, values := range e.Header {
		w.Header()[name] = values
	}
	if entry.Denied() {
		w.Header().Set(WhyHeader, entry.RequestID)
	}
	p.Encode(w, r, e)
}

// recorder notes the status. It must not hide the writer's other abilities,
// hence Unwrap for http.ResponseController.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
