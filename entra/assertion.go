package entra

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// jwtBearer is the only client_assertion_type there is.
const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionSkew is how far a client's clock may be off.
const assertionSkew = 5 * time.Minute

// assertion is a client assertion as it says it is; nothing of it is checked.
type assertion struct {
	raw    string
	header map[string]any
	claims jwt.RegisteredClaims
}

// checkAssertion checks a signed statement in place of a secret. One the
// application issued itself is signed with a certificate's key; any other comes
// from an issuer the application trusts.
func (s *Service) checkAssertion(r *http.Request, tx store.ReadTx, app azure.Principal, form url.Values) error {
	switch form.Get("client_assertion_type") {
	case jwtBearer:
	case "":
		return errMissingField("client_assertion_type")
	default:
		return errAssertionMalformed(errors.New("unknown client_assertion_type"))
	}
	a, err := parseAssertion(form.Get("client_assertion"))
	if err != nil {
		return errAssertionMalformed(err)
	}
	if strings.EqualFold(a.claims.Issuer, app.AppID) {
		return s.checkCertificateAssertion(r, tx, app, a)
	}
	return s.checkFederatedAssertion(r.Context(), tx, app, a)
}

func parseAssertion(raw string) (assertion, error) {
	if len(raw) > maxToken {
		return assertion{}, errors.New("too long")
	}
	a := assertion{raw: raw}
	token, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(raw, &a.claims)
	if err != nil {
		return assertion{}, err
	}
	a.header = token.Header
	return a, nil
}

// verify checks the signature with a key, by one of the algorithms.
func (a assertion) verify(key any, algorithms ...string) error {
	parser := jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	_, err := parser.Parse(a.raw, func(*jwt.Token) (any, error) { return key, nil })
	return err
}

// inTime checks the validity against the machine's clock, by which clients make
// assertions, whatever ours says.
func (a assertion) inTime(now time.Time) error {
	if a.claims.ExpiresAt == nil {
		return errAssertionTime(now, a.claims)
	}
	if now.After(a.claims.ExpiresAt.Add(assertionSkew)) ||
		a.claims.NotBefore != nil && now.Before(a.claims.NotBefore.Add(-assertionSkew)) {
		return errAssertionTime(now, a.claims)
	}
	return nil
}

// checkCertificateAssertion: the algorithms are those of the SDKs, RS256 with
// the certificate's SHA-1 thumbprint and PS256 with its SHA-256.
func (s *Service) checkCertificateAssertion(r *http.Request, tx store.ReadTx, app azure.Principal, a assertion) error {
	c, ok := findCertificate(tx, app.AppID, a.header)
	if !ok {
		return errAssertionKey(app.AppID, "The key was not found.", thumbprintOf(a.header))
	}
	now := s.deps.ClientClock.Now()
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return errAssertionKey(app.AppID, "The key used is expired.", thumbprintOf(a.header))
	}
	if err := a.verify(c.PublicKey, "RS256", "PS256"); err != nil {
		return errAssertionKey(app.AppID, "The key was found, but use of the key to verify the signature failed.", thumbprintOf(a.header)).Because(err)
	}
	if !strings.EqualFold(a.claims.Subject, app.AppID) {
		return errAssertionSubject(a.claims.Subject, app.AppID)
	}
	if !slices.ContainsFunc(a.claims.Audience, func(aud string) bool { return s.ourAudience(r, aud) }) {
		return errAssertionAudience(a.claims.Audience)
	}
	return a.inTime(now)
}

// ourAudience: an assertion is for the token endpoint of the tenant, or for its
// issuer.
func (s *Service) ourAudience(r *http.Request, audience string) bool {
	if audience == s.issuerV1() || audience == s.issuerV2() {
		return true
	}
	u, err := url.Parse(audience)
	if err != nil || u.Scheme != "https" || u.RawQuery != "" {
		return false
	}
	ours := []string{publicHost, "login.windows.net", "login.microsoft.com", stsHost, strings.ToLower(authorityHost(r))}
	if !slices.Contains(ours, strings.ToLower(u.Host)) {
		return false
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if _, ok := s.tenantNamed(name); !ok {
		return false
	}
	return slices.Contains([]string{"", "v2.0", "oauth2/token", "oauth2/v2.0/token"}, strings.TrimSuffix(rest, "/"))
}
