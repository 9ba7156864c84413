package entra

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// codeLife is how long an authorization code lasts, and maxCodes how many may
// wait.
const (
	codeLife = 10 * time.Minute
	maxCodes = 1000
)

// authorization is a code that was given to a client's page and waits to be
// redeemed, once.
type authorization struct {
	clientID, redirect, challenge, method, nonce string
	wish                                         wish
	user                                         azure.Principal
	expires                                      time.Time
	redeemed                                     bool
}

type authorizations struct {
	mu      sync.Mutex
	waiting map[string]*authorization
}

// signInPage asks for name and password. It has no script and loads nothing.
var signInPage = template.Must(template.New("sign-in").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sign in to amlocal</title>
<style>body{font-family:sans-serif;max-width:26em;margin:4em auto}label{display:block;margin:.8em 0}input{width:100%;padding:.4em;box-sizing:border-box}.error{color:#a00}</style>
<h1>Sign in</h1>
<p>To {{.Client}}, in this machine's emulated Azure.</p>
{{with .Error}}<p class="error">{{.}}</p>{{end}}
<form method="post" action="{{.Action}}">
<label>User name <input name="login" value="{{.Login}}" autocomplete="off" autofocus></label>
<label>Password <input name="passwd" type="password" autocomplete="off"></label>
<button>Sign in</button>
</form></html>
`))

type signInView struct{ Client, Error, Action, Login string }

// authorize is the page of the authorization code grant: the client's browser
// gets the form (GET), and with the right password is sent back (POST).
func (s *Service) authorize(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	one, err := s.authorizationOf(r, q)
	if err != nil {
		return err
	}
	view := signInView{Client: publicClients[one.clientID], Action: r.URL.RequestURI(), Login: q.Get("login_hint")}
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return errUnreadableBody(err)
		}
		view.Login = r.PostForm.Get("login")
		user, err := s.CheckUserPassword(r.Context(), view.Login, r.PostForm.Get("passwd"))
		if err == nil {
			one.user = user
			return s.sendBack(w, r, q, one)
		}
		view.Error = httpx.AsError(err).Message
	}
	noStore(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// The form's answer leads to the client's own address.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.Header().Set("X-Frame-Options", "DENY")
	return signInPage.Execute(w, view)
}

// authorizationOf reads and checks what the client asks for. Only Microsoft's
// public clients and loopback addresses are served.
func (s *Service) authorizationOf(r *http.Request, q url.Values) (*authorization, error) {
	if _, ok := s.tenant(r); !ok {
		return nil, errUnknownTenant("invalid_request", segment(r))
	}
	for _, name := range []string{"client_id", "response_type", "redirect_uri"} {
		if q.Get(name) == "" {
			return nil, errMissingField(name)
		}
	}
	one := &authorization{
		clientID: strings.ToLower(q.Get("client_id")), redirect: q.Get("redirect_uri"), nonce: q.Get("nonce"),
		challenge: q.Get("code_challenge"), method: q.Get("code_challenge_method"), expires: s.deps.Clock.Now().Add(codeLife),
	}
	switch {
	case publicClients[one.clientID] == "":
		return nil, errUnknownApp(q.Get("client_id"), s.deps.TenantID)
	case q.Get("response_type") != "code":
		return nil, errResponseType(q.Get("response_type"))
	case !loopbackAddress(one.redirect):
		return nil, errRedirect(one.redirect, one.clientID)
	case one.method != "" && one.method != "S256" && one.method != "plain":
		return nil, errChallengeMethod()
	}
	var err error
	if one.wish, err = parseWish(q.Get("scope")); err != nil {
		return nil, err
	}
	if one.wish = one.wish.orElse(wish{}); !knownResource(one.wish.resource) {
		return nil, errUnknownResource(one.wish.resource, s.deps.TenantID)
	}
	return one, nil
}

func loopbackAddress(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "http" && u.User == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
}

// sendBack gives the client its code in the way it asked for.
func (s *Service) sendBack(w http.ResponseWriter, r *http.Request, q url.Values, one *authorization) error {
	code := "1.A" + rand.Text() + rand.Text()
	s.codes.mu.Lock()
	for old, a := range s.codes.waiting {
		if s.deps.Clock.Now().After(a.expires) {
			delete(s.codes.waiting, old)
		}
	}
	full := len(s.codes.waiting) >= maxCodes
	if !full {
		s.codes.waiting[code] = one
	}
	s.codes.mu.Unlock()
	if full {
		return errTooMany()
	}
	back := url.Values{"code": {code}, "session_state": {httpx.RequestID(r.Context())}}
	if state := q.Get("state"); state != "" {
		back.Set("state", state)
	}
	if q.Get("client_info") == "1" {
		back.Set("client_info", clientInfo(one.user))
	}
	noStore(w)
	if q.Get("response_mode") == "form_post" {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return postBackPage.Execute(w, postBackView{Action: one.redirect, Fields: back})
	}
	to, err := url.Parse(one.redirect)
	if err != nil {
		return err
	}
	if q.Get("response_mode") == "fragment" {
		to.Fragment, to.RawFragment = "", ""
		http.Redirect(w, r, to.String()+"#"+back.Encode(), http.StatusFound) //nolint:gosec // a loopback address: loopbackAddress
		return nil
	}
	query := to.Query()
	for name, values := range back {
		query[name] = values
	}
	to.RawQuery = query.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound) //nolint:gosec // a loopback address: loopbackAddress
	return nil
}

// postBackPage sends the code as a form: msal's default since codes in
// addresses end up in histories.
var postBackPage = template.Must(template.New("post-back").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Signed in</title>
<form method="post" action="{{.Action}}">
{{range $name, $values := .Fields}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}<button autofocus>Go back to the program</button>
</form>
<script>document.forms[0].submit()</script></html>
`))

type postBackView struct {
	Action string
	Fields url.Values
}

// codeGrant redeems a code: once, by the client and address it was given to,
// with the verifier its challenge was made of.
func (s *Service) codeGrant(form url.Values, given *delegation) error {
	for _, name := range []string{"code", "redirect_uri"} {
		if form.Get(name) == "" {
			return errMissingField(name)
		}
	}
	s.codes.mu.Lock()
	defer s.codes.mu.Unlock()
	one, ok := s.codes.waiting[form.Get("code")]
	switch {
	case !ok || one.clientID != given.client.id:
		return errCodeInvalid()
	case one.redeemed:
		return errCodeRedeemed()
	case !s.deps.Clock.Now().Before(one.expires):
		return errCodeExpired()
	case one.redirect != form.Get("redirect_uri"):
		return errCodeRedirect()
	case !one.verifiedBy(form.Get("code_verifier")):
		return errCodeVerifier()
	}
	one.redeemed = true
	asked := given.wish
	if given.wish = asked.orElse(one.wish); asked.resource == "" {
		given.wish = one.wish
	}
	given.user, given.methods, given.nonce = one.user, []string{"pwd"}, one.nonce
	return nil
}

// verifiedBy compares a verifier with the challenge; none was promised where
// none is needed.
func (a *authorization) verifiedBy(verifier string) bool {
	switch {
	case a.challenge == "":
		return verifier == ""
	case a.method == "S256":
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(verifier), []byte(a.challenge)) == 1
}
