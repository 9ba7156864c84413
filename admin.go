package amlocal

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/runner"
)

// Status is what `amlocal status` shows.
type Status struct {
	Access
	StateDir    string                    `json:"stateDir"`
	StateUUID   string                    `json:"stateUuid"`
	Uptime      string                    `json:"uptime"`
	Isolation   string                    `json:"isolation"`
	Answered    int                       `json:"answered"` // requests lately, see Spent
	Busy        string                    `json:"busy"`     // with them, a duration
	Deployments []runner.DeploymentStatus `json:"deployments"`
}

// admin is the emulator's own API. Guard stands before it.
func (e *Emulator) admin() http.Handler {
	r := mux.NewRouter()
	get := func(path string, h http.HandlerFunc) {
		r.Methods(http.MethodGet).Path("/_amlocal/" + path).HandlerFunc(h)
	}
	get("healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	get("ca.pem", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(e.authority.RootPEM())
	})
	get("status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, e.Status()) })
	get("decisions", e.serveDecisions)
	get("requests/{id}", e.serveRequest)
	get("logs/{endpoint}/{deployment}", e.serveLogs)
	r.Methods(http.MethodPost).Path("/_amlocal/stop").HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusAccepted, map[string]string{"status": "stopping"})
		e.stopOnce.Do(func() { close(e.stopped) })
	})
	e.adminIdentity(r)
	e.adminClock(r)
	e.adminAccess(r)
	get("client", e.serveClient)
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		adminError(w, http.StatusNotFound, "there is no "+r.URL.Path+" in the admin API")
	})
	return r
}

// Status describes the running emulator.
func (e *Emulator) Status() Status {
	answered, busy := e.Spent()
	return Status{
		Answered: answered, Busy: busy.String(),
		Access: e.access, StateDir: e.config.StateDir, StateUUID: e.state.UUID, Isolation: e.isolation(),
		Uptime: clock.System{}.Now().Sub(e.access.Started).Round(time.Second).String(), Deployments: e.manager.Status(),
	}
}

// LastDenial is the newest request that RBAC refused.
func (e *Emulator) LastDenial() (audit.Entry, bool) {
	entry, ok := e.audit.LastDenial()
	return e.assignable(context.Background(), entry), ok
}

// serveDecisions lists refusals, newest first, or with ?all=true every request
// RBAC was asked about: ?last=N.
func (e *Emulator) serveDecisions(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(or(r.URL.Query().Get("last"), "20"))
	if err != nil || n < 1 {
		adminError(w, http.StatusBadRequest, "last must be a positive number")
		return
	}
	all := r.URL.Query().Get("all") == "true"
	list := e.audit.Recent(n, !all)
	for i := range list {
		list[i] = e.assignable(r.Context(), list[i])
	}
	reply(w, http.StatusOK, map[string]any{"value": list})
}

func (e *Emulator) serveRequest(w http.ResponseWriter, r *http.Request) {
	entry, ok := e.audit.Find(mux.Vars(r)["id"])
	if !ok {
		adminError(w, http.StatusNotFound, "no recent request has this id; the audit log keeps the newest ones of this run")
		return
	}
	reply(w, http.StatusOK, e.assignable(r.Context(), entry))
}

// serveLogs answers a deployment's log as text: ?container=&tail=&follow=true.
func (e *Emulator) serveLogs(w http.ResponseWriter, r *http.Request) {
	vars, query := mux.Vars(r), r.URL.Query()
	id, err := e.deploymentRecord(r.Context(), vars["endpoint"], vars["deployment"])
	if errors.Is(err, errNoSuchDeployment) {
		adminError(w, http.StatusNotFound, err.Error())
		return
	}
	if err != nil {
		adminError(w, http.StatusInternalServerError, err.Error())
		return
	}
	kind := runner.LogKind(or(query.Get("container"), string(runner.InferenceServer)))
	tail, convErr := strconv.Atoi(or(query.Get("tail"), "1000"))
	if convErr != nil || tail < 0 || (kind != runner.InferenceServer && kind != runner.StorageInitializer) {
		adminError(w, http.StatusBadRequest, "container is inference-server or storage-initializer, tail a number of lines")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if query.Get("follow") != "true" {
		_, _ = w.Write([]byte(e.manager.Logs(id, kind, tail)))
		return
	}
	flush := http.NewResponseController(w)
	for line := range e.manager.Follow(r.Context(), id, kind, tail) {
		if _, err := w.Write([]byte(line + "\n")); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func adminError(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]any{"error": map[string]string{"message": message}})
}
