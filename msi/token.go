package msi

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/httpx"
)

// flavour is a dialect of the endpoint.
type flavour int

const (
	azureML flavour = iota
	appService
	cloudShell
	imds
)

// token serves the endpoint in all flavours that share its address.
func (s *Service) token(w http.ResponseWriter, r *http.Request) error {
	f, owner, err := s.authenticate(r)
	if err != nil {
		return err
	}
	noteInstance(r.Context(), owner)
	if r.Method != http.MethodGet && f != cloudShell {
		return errMethod(r.Method)
	}
	q, err := parameters(r)
	if err != nil {
		return err
	}
	resource, err := single(q, "resource")
	if err != nil {
		return err
	}
	if resource == "" {
		return errNoResource()
	}
	sel, err := parseSelector(q)
	if err != nil {
		return err
	}
	if instead, refused := f.refused(sel); refused && s.deps.Strict {
		return errParameter(sel.param, instead)
	}
	if f == cloudShell && sel != (selector{}) {
		return errCloudShellSelector(sel.param)
	}
	identity, err := s.identity(r, owner, sel)
	if err != nil {
		return err
	}
	return s.issue(w, r, f, identity, resource)
}

// authenticate finds the flavour and the deployment that asks. A secret the
// runner knows decides; where the data path knows the sender as well, both must
// agree. The runner looks secrets up by digest, which takes no time that tells
// how much of a guess was right.
func (s *Service) authenticate(r *http.Request) (flavour, string, error) {
	sender := ownerOf(r.Context())
	f, secret := appService, r.Header.Get("X-IDENTITY-HEADER")
	if secret == "" {
		f, secret = azureML, r.Header.Get("secret")
	}
	if secret == "" {
		if s.deps.CloudShell && sender != "" {
			return cloudShell, sender, nil
		}
		return 0, "", s.errSecret("The request has neither a 'secret' nor an 'X-IDENTITY-HEADER' header.")
	}
	owner, ok := s.deps.Instances.Owner(secret)
	if !ok {
		return 0, "", s.errSecret("The secret in the request's header is not this instance's.")
	}
	if sender != "" && sender != owner {
		return 0, "", s.errSecret("The secret in the request's header is not this instance's.").
			Because(errors.New("an instance of " + sender + " sent the secret of one of " + owner))
	}
	return f, owner, nil
}

// parameters are the query's, and the form's of a POST.
func parameters(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errQuery(err)
	}
	if r.Method != http.MethodPost {
		return q, nil
	}
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, errQuery(err)
	}
	return r.Form, nil
}

func (s *Service) identity(r *http.Request, owner string, sel selector) (azure.Principal, error) {
	assigned, err := s.assigned(r, owner)
	switch {
	case err != nil:
		return azure.Principal{}, err
	case sel != (selector{}):
		if p, ok := assigned.find(sel); ok {
			return p, nil
		}
		return azure.Principal{}, errNotAttached(sel, assigned)
	case assigned.empty():
		return azure.Principal{}, errNoIdentity()
	}
	p, ok := assigned.preset()
	if !ok {
		return azure.Principal{}, errAmbiguous(assigned)
	}
	return p, nil
}

// assigned are the identities the deployment may use. A control plane that does
// not know the deployment any more (its instance is being ended) says so with a
// 404, which clients of this endpoint would retry: here it is a 400.
func (s *Service) assigned(r *http.Request, owner string) (Assigned, error) {
	assigned, err := s.deps.Identities.IdentitiesOf(r.Context(), owner)
	var typed *httpx.Error
	if errors.As(err, &typed) && typed.Status < http.StatusInternalServerError {
		return Assigned{}, errNoIdentity().Because(err)
	}
	return assigned, err
}

func (s *Service) issue(w http.ResponseWriter, r *http.Request, f flavour, p azure.Principal, resource string) error {
	token, err := s.deps.Issuer.ManagedIdentityToken(r.Context(), p, resource)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, f.answer(token, resource, s.deps.Clock.Now()))
	return nil
}
