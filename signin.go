package amlocal

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/entra"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// devicePath is the page that finishes a sign-in by device code. A browser
// needs no token of the admin API for it, but a user's password.
const devicePath = "/_amlocal/device"

// AddIssuer makes the key set of an outside issuer known, whose tokens
// applications with a federated credential may sign in with.
func (e *Emulator) AddIssuer(ctx context.Context, issuer string, keys []byte) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		if err := e.entra.PutIssuer(tx, issuer, keys); err != nil {
			return cannot(ErrPrincipal, "%v", err)
		}
		return nil
	})
}

// FinishDevice answers a sign-in that waits for a device code: as a user, or
// with no.
func (e *Emulator) FinishDevice(ctx context.Context, userCode, as string, decline bool) error {
	if decline {
		return deviceRefusal(e.entra.DeclineDevice(userCode))
	}
	var p azure.Principal
	err := e.store.View(ctx, func(tx store.ReadTx) (err error) {
		p, err = e.findPrincipal(tx, as)
		return err
	})
	if err != nil {
		return err
	}
	return deviceRefusal(e.entra.ApproveDevice(userCode, p))
}

func deviceRefusal(err error) error {
	if errors.Is(err, entra.ErrUserCode) || errors.Is(err, entra.ErrNotAUser) {
		return cannot(ErrPrincipal, "%v", err)
	}
	return err
}

// adminSignIn is the part of the admin API about signing in.
func (e *Emulator) adminSignIn(r *mux.Router) {
	r.Methods(http.MethodGet, http.MethodPost).Path(devicePath).HandlerFunc(e.serveDevice)
	r.Methods(http.MethodPost).Path(devicePath + "/finish").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Code, As string
			Decline  bool
		}
		if readBody(w, r, &ask) {
			adminReply(w, http.StatusOK, map[string]string{}, e.FinishDevice(r.Context(), ask.Code, ask.As, ask.Decline))
		}
	})
	r.Methods(http.MethodPost).Path("/_amlocal/issuers").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Issuer string
			Keys   json.RawMessage
		}
		if readBody(w, r, &ask) {
			adminReply(w, http.StatusCreated, map[string]string{"issuer": ask.Issuer}, e.AddIssuer(r.Context(), ask.Issuer, ask.Keys))
		}
	})
}

// devicePage has no script and loads nothing.
var devicePage = template.Must(template.New("device").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sign in to amlocal</title>
<style>body{font-family:sans-serif;max-width:28em;margin:4em auto}label{display:block;margin:.8em 0}input{width:100%;padding:.4em;box-sizing:border-box}.error{color:#a00}</style>
<h1>Sign in on another device</h1>
{{if .Done}}<p>{{.Done}} You can close this page.</p>{{else}}
<p>To this machine's emulated Azure, as one of its users. Only enter a code that a program of yours shows.</p>
{{with .Error}}<p class="error">{{.}}</p>{{end}}
<form method="post" action="/_amlocal/device">
<label>Code <input name="code" value="{{.Code}}" autocomplete="off" autofocus></label>
<label>User name <input name="login" value="{{.Login}}" autocomplete="off"></label>
<label>Password <input name="passwd" type="password" autocomplete="off"></label>
<button>Sign in</button>
</form>
<p>Passwords are shown by <code>amlocal principals add user</code> and <code>amlocal principals secret</code>; <code>amlocal device CODE --as USER</code> needs none.</p>
{{end}}</html>
`))

type deviceView struct{ Code, Login, Error, Done string }

// serveDevice is the page (GET) and its answer (POST).
func (e *Emulator) serveDevice(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)
	if err := r.ParseForm(); err != nil {
		adminError(w, http.StatusBadRequest, "the form cannot be read: "+err.Error())
		return
	}
	view := deviceView{Code: r.Form.Get("code"), Login: r.PostForm.Get("login")}
	if r.Method == http.MethodPost {
		client, err := e.entra.DeviceClient(view.Code)
		var user azure.Principal
		if err == nil {
			user, err = e.entra.CheckUserPassword(r.Context(), view.Login, r.PostForm.Get("passwd"))
		}
		if err == nil {
			err = e.entra.ApproveDevice(view.Code, user)
		}
		var typed *httpx.Error
		switch {
		case err == nil:
			view.Done = user.Name + " is signed in to " + client + "."
		case errors.As(err, &typed):
			view.Error = typed.Message
		default:
			view.Error = err.Error()
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.Header().Set("X-Frame-Options", "DENY")
	_ = devicePage.Execute(w, view) // the browser went away
}
