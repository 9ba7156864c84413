package amlocal

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/internal/httpx"
)

// maxAdminBody is more than any request of the admin API needs.
const maxAdminBody = 64 << 10

// TokenAnswer is a token as `amlocal token` shows it.
type TokenAnswer struct {
	AccessToken string    `json:"accessToken"`
	TokenType   string    `json:"tokenType"`
	ExpiresOn   time.Time `json:"expiresOn"` // by the emulator's clock
	Resource    string    `json:"resource"`
}

// adminIdentity is the part of the admin API about who there is.
func (e *Emulator) adminIdentity(r *mux.Router) {
	post := func(path string, h http.HandlerFunc) {
		r.Methods(http.MethodPost).Path("/_amlocal/" + path).HandlerFunc(h)
	}
	r.Methods(http.MethodGet).Path("/_amlocal/principals").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list, err := e.Principals(r.Context())
		adminReply(w, http.StatusOK, map[string]any{"value": list}, err)
	})
	post("principals", func(w http.ResponseWriter, r *http.Request) {
		var n NewPrincipal
		if !readBody(w, r, &n) {
			return
		}
		info, err := e.AddPrincipal(r.Context(), n)
		adminReply(w, http.StatusCreated, info, err)
	})
	var one struct{ Principal string }
	post("principals/remove", func(w http.ResponseWriter, r *http.Request) {
		ask := one
		if !readBody(w, r, &ask) {
			return
		}
		info, err := e.RemovePrincipal(r.Context(), ask.Principal)
		adminReply(w, http.StatusOK, info, err)
	})
	post("principals/secret", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Principal, Password string }
		if !readBody(w, r, &ask) {
			return
		}
		info, err := e.AddSecret(r.Context(), ask.Principal, ask.Password)
		w.Header().Set("Cache-Control", "no-store")
		adminReply(w, http.StatusCreated, info, err)
	})
	e.adminSignIn(r)
	e.adminShell(r)
	e.adminKeys(r)
	var pair struct{ Group, Member string }
	post("members", func(w http.ResponseWriter, r *http.Request) {
		ask := pair
		if !readBody(w, r, &ask) {
			return
		}
		adminReply(w, http.StatusCreated, ask, e.AddMember(r.Context(), ask.Group, ask.Member))
	})
	post("members/remove", func(w http.ResponseWriter, r *http.Request) {
		ask := pair
		if !readBody(w, r, &ask) {
			return
		}
		adminReply(w, http.StatusOK, ask, e.RemoveMember(r.Context(), ask.Group, ask.Member))
	})
	post("token", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ As, Resource string }
		if !readBody(w, r, &ask) {
			return
		}
		token, err := e.Token(r.Context(), ask.As, ask.Resource)
		w.Header().Set("Cache-Control", "no-store")
		adminReply(w, http.StatusOK, TokenAnswer{AccessToken: token.Raw, TokenType: "Bearer", ExpiresOn: token.Expires, Resource: token.Resource}, err)
	})
}

// readBody reads a request's JSON strictly; when it cannot it has answered.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		adminError(w, http.StatusBadRequest, "the request's body is not what this path takes: "+err.Error())
		return false
	}
	return true
}

// adminReply answers with body, or with what went wrong.
func adminReply(w http.ResponseWriter, status int, body any, err error) {
	var typed *httpx.Error
	switch {
	case err == nil:
		reply(w, status, body)
	case errors.Is(err, ErrNoPrincipal):
		adminError(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrPrincipal):
		adminError(w, http.StatusBadRequest, err.Error())
	case errors.As(err, &typed):
		adminError(w, typed.Status, typed.Message)
	default:
		adminError(w, http.StatusInternalServerError, err.Error())
	}
}
