package entra

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/amlocal/amlocal/azure"
)

// The grants, by the name they have in a request.
const (
	grantClientCredentials = "client_credentials"
	grantPassword          = "password"
	grantRefresh           = "refresh_token"
	grantDevice            = "urn:ietf:params:oauth:grant-type:device_code"
	grantDeviceOld         = "device_code" // the v1 endpoint's name
	grantCode              = "authorization_code"
)

// dialect is one of the two token endpoints, which differ in the field that
// names the resource and in the shape of the answer.
type dialect struct {
	v1    bool
	field string
}

var (
	dialectV1 = dialect{v1: true, field: "resource"}
	dialectV2 = dialect{field: "scope"}
)

func (s *Service) tokenV2(w http.ResponseWriter, r *http.Request) error {
	return s.token(w, r, dialectV2)
}

func (s *Service) tokenV1(w http.ResponseWriter, r *http.Request) error {
	return s.token(w, r, dialectV1)
}

// token serves both token endpoints. Unknown fields and parameters are ignored:
// msal sends many. The order of the checks is unverified but for tenant before
// application and application before secret.
func (s *Service) token(w http.ResponseWriter, r *http.Request, d dialect) error {
	t, ok := s.tenant(r)
	if !ok {
		return errUnknownTenant("invalid_request", segment(r))
	}
	form, err := readForm(r)
	if err != nil {
		return err
	}
	switch grant := form.Get("grant_type"); grant {
	case "":
		return errMissingField("grant_type")
	case grantClientCredentials:
		if t.shared {
			return errNoTenant()
		}
		token, err := s.clientCredentials(r, form, d)
		if err != nil {
			return err
		}
		s.answerToken(w, r, d, token, delegation{}, form)
		return nil
	case grantPassword, grantRefresh, grantDevice, grantDeviceOld, grantCode:
		if grant == grantPassword && t.segment == "common" && !d.v1 {
			return errGrantShared()
		}
		given, err := s.delegated(r, form, d)
		if err != nil {
			return err
		}
		token, err := s.Mint(r.Context(), given.user, given.wish.resource,
			MintOptions{Lifetime: applicationLife, ClientAuth: given.client.auth, ClientID: given.client.id, Scope: given.wish.scp(), Methods: given.methods})
		if err != nil {
			return err
		}
		s.answerToken(w, r, d, token, given, form)
		return nil
	default:
		return errUnsupportedGrant(grant)
	}
}

// clientCredentials is an application that signs in as itself.
func (s *Service) clientCredentials(r *http.Request, form url.Values, d dialect) (azure.Token, error) {
	for _, name := range []string{"client_id", d.field} {
		if form.Get(name) == "" {
			return azure.Token{}, errMissingField(name)
		}
	}
	resource := form.Get(d.field)
	if !d.v1 {
		var err error
		if resource, err = resourceOfScope(resource); err != nil {
			return azure.Token{}, err
		}
	}
	app, err := s.authenticateClient(r, form)
	switch {
	case err != nil:
		return azure.Token{}, err
	case app.auth == authPublic:
		return azure.Token{}, errNoCredential()
	}
	return s.Mint(r.Context(), app.principal, resource, MintOptions{Lifetime: applicationLife, ClientAuth: app.auth})
}

// answerToken writes a token, and what comes with one that speaks for a user.
func (s *Service) answerToken(w http.ResponseWriter, r *http.Request, d dialect, token azure.Token, given delegation, form url.Values) {
	noStore(w)
	if strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		w.Header().Set("client-request-id", correlationID(r))
	}
	life := remaining(token, s.deps.Clock.Now())
	var extra userAnswer
	if given.user.ObjectID != "" {
		extra = s.userAnswer(r.Context(), d, given, form.Get("client_info") == "1")
	}
	if d.v1 {
		writeJSON(w, http.StatusOK, tokenAnswerV1{
			TokenType: "Bearer", Scope: extra.scopeV1, ExpiresIn: life, ExtExpiresIn: life,
			ExpiresOn: token.Expires.Unix(), NotBefore: token.NotBefore.Unix(),
			Resource: token.Resource, AccessToken: token.Raw, userAnswer: extra,
		})
		return
	}
	writeJSON(w, http.StatusOK, tokenAnswer{
		TokenType: "Bearer", Scope: extra.scope, ExpiresIn: life, ExtExpiresIn: life, AccessToken: token.Raw, userAnswer: extra,
	})
}

// clientInfo names a user and their tenant to msal, which keys its cache by it.
func clientInfo(user azure.Principal) string {
	raw, _ := json.Marshal(map[string]string{"uid": user.ObjectID, "utid": user.TenantID}) // strings always encode
	return base64.RawURLEncoding.EncodeToString(raw)
}
