package entra

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// jwtBearer is the only client_assertion_type there is.
const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (s *Service) tokenV2(w http.ResponseWriter, r *http.Request) error {
	token, err := s.clientCredentials(r, "scope", resourceOfScope)
	if err != nil {
		return err
	}
	life := remaining(token, s.deps.Clock.Now())
	s.answerToken(w, r, tokenAnswer{TokenType: "Bearer", ExpiresIn: life, ExtExpiresIn: life, AccessToken: token.Raw})
	return nil
}

func (s *Service) tokenV1(w http.ResponseWriter, r *http.Request) error {
	same := func(resource string) (string, error) { return resource, nil }
	token, err := s.clientCredentials(r, "resource", same)
	if err != nil {
		return err
	}
	life := remaining(token, s.deps.Clock.Now())
	s.answerToken(w, r, tokenAnswerV1{
		TokenType: "Bearer", ExpiresIn: life, ExtExpiresIn: life,
		ExpiresOn: token.Expires.Unix(), NotBefore: token.NotBefore.Unix(),
		Resource: token.Resource, AccessToken: token.Raw,
	})
	return nil
}

func (s *Service) answerToken(w http.ResponseWriter, r *http.Request, body any) {
	noStore(w)
	if strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		w.Header().Set("client-request-id", correlationID(r))
	}
	writeJSON(w, http.StatusOK, body)
}

// clientCredentials serves both token endpoints, which differ in the field that
// names the resource. Unknown fields and parameters are ignored: msal sends
// many. The order of the checks is unverified but for tenant before
// application and application before secret.
func (s *Service) clientCredentials(r *http.Request, resourceField string, resourceOf func(string) (string, error)) (azure.Token, error) {
	t, ok := s.tenant(r)
	if !ok {
		return azure.Token{}, errUnknownTenant("invalid_request", segment(r))
	}
	form, err := readForm(r)
	if err != nil {
		return azure.Token{}, err
	}
	switch grant := form.Get("grant_type"); grant {
	case "":
		return azure.Token{}, errMissingField("grant_type")
	case "client_credentials":
	default:
		return azure.Token{}, errUnsupportedGrant(grant)
	}
	if t.shared {
		return azure.Token{}, errNoTenant()
	}
	for _, name := range []string{"client_id", resourceField} {
		if form.Get(name) == "" {
			return azure.Token{}, errMissingField(name)
		}
	}
	resource, err := resourceOf(form.Get(resourceField))
	if err != nil {
		return azure.Token{}, err
	}
	app, err := s.authenticateApp(r, form)
	if err != nil {
		return azure.Token{}, err
	}
	return s.Mint(r.Context(), app, resource, MintOptions{Lifetime: applicationLife, ClientAuth: authSecret})
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
	for _, name := range []string{"grant_type", "client_id", "client_secret", "client_assertion", "scope", "resource"} {
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

// authenticateApp checks who asks.
func (s *Service) authenticateApp(r *http.Request, form url.Values) (azure.Principal, error) {
	appID := form.Get("client_id")
	var app azure.Principal
	err := s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
		p, ok := s.PrincipalByAppID(tx, appID)
		// A managed identity has no credential an outsider could present, and
		// is not an application the token endpoint knows.
		if !ok || p.IsManagedIdentity() {
			return errUnknownApp(appID, s.deps.TenantID)
		}
		app = p
		secret := form.Get("client_secret")
		if secret == "" {
			if form.Get("client_assertion") != "" || form.Get("client_assertion_type") != "" {
				return checkAssertion(p.AppID, form)
			}
			return errNoCredential()
		}
		switch checkSecret(tx, appID, secret, s.deps.Clock.Now()) {
		case secretRight:
			return nil
		case secretExpired:
			return errExpiredSecret(p.AppID)
		}
		return errWrongSecret(p.AppID)
	})
	return app, err
}

// checkAssertion refuses every assertion, for the reason Azure would give:
// neither certificates nor federated credentials can be registered here.
func checkAssertion(appID string, form url.Values) error {
	switch form.Get("client_assertion_type") {
	case jwtBearer:
	case "":
		return errMissingField("client_assertion_type")
	default:
		return errAssertionMalformed(errors.New("unknown client_assertion_type"))
	}
	var claims jwt.RegisteredClaims
	parts := strings.Split(form.Get("client_assertion"), ".")
	if len(parts) != 3 {
		return errAssertionMalformed(errors.New("not three parts"))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return errAssertionMalformed(err)
	}
	if strings.EqualFold(claims.Issuer, appID) {
		return errAssertionKey(appID)
	}
	return errFederation(claims.Issuer, claims.Subject)
}
