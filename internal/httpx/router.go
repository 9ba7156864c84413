package httpx

import (
	"net/http"

	"github.com/gorilla/mux"
)

// NewRouter routes to the rows of a table, in table order, through the plane.
// Unlike mux's defaults it neither cleans nor redirects paths and matches the
// escaped form: `//`, a trailing slash and `%2F` reach the row as sent.
// unrouted makes the error for a request that no row takes.
func (p *Plane) NewRouter(ops []Operation, unrouted func(*http.Request) error) http.Handler {
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	for i := range ops {
		op := &ops[i]
		route := router.NewRoute().Methods(op.Method).Path(op.Pattern).Name(op.Name)
		if op.Match != nil {
			match := op.Match
			route.MatcherFunc(func(r *http.Request, _ *mux.RouteMatch) bool { return match(r) })
		}
		route.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Serve(w, r, op) })
	}
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Refuse(w, r, unrouted(r)) })
	router.NotFoundHandler = refuse
	router.MethodNotAllowedHandler = refuse
	return router
}

// Var is a path variable of the row's Pattern, still escaped.
func Var(r *http.Request, name string) string { return mux.Vars(r)[name] }
