package entra

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// singleFields may occur once: a grant depends on them.
var singleFields = []string{
	"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "resource",
	"username", "password", "refresh_token", "device_code", "code", "redirect_uri", "code_verifier",
}

// readForm reads the body as a form, with Basic credentials in place of the
// two fields they stand for. A field the grant depends on may occur once.
func readForm(r *http.Request) (url.Values, error) {
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		if len(r.PostForm) == 0 {
			return nil, errUnreadableBody(err)
		}
		// A bad query beside a good body is the client's own affair.
	}
	form := r.PostForm
	for _, name := range singleFields {
		if len(form[name]) > 1 {
			return nil, errDuplicateField(name)
		}
	}
	if id, secret, ok := r.BasicAuth(); ok && form.Get("client_secret") == "" {
		// RFC 6749 2.3.1: both are form-encoded first.
		if plain, err := url.QueryUnescape(id); err == nil {
			id = plain
		}
		if plain, err := url.QueryUnescape(secret); err == nil {
			secret = plain
		}
		if form.Get("client_id") == "" {
			form.Set("client_id", id)
		}
		if strings.EqualFold(form.Get("client_id"), id) {
			form.Set("client_secret", secret)
		}
	}
	return form, nil
}
