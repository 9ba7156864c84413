package entra

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// graphURI is the resource of scopes that name none.
const graphURI = "https://graph.microsoft.com"

// delegation is what a user let a client do.
type delegation struct {
	user   azure.Principal
	client client
	wish   wish
	// methods is how the user signed in (`amr`).
	methods []string
	nonce   string
}

// wish is the scope a client asked for on a user's behalf.
type wish struct {
	resource    string
	permissions []string // as asked, ".default" among them
	openID      bool
	offline     bool
}

// delegated serves the grants that speak for a user.
func (s *Service) delegated(r *http.Request, form url.Values, d dialect) (delegation, error) {
	c, err := s.authenticateClient(r, form)
	if err != nil {
		return delegation{}, err
	}
	given := delegation{client: c}
	if given.wish, err = wishOf(form, d); err != nil {
		return delegation{}, err
	}
	switch form.Get("grant_type") {
	case grantPassword:
		err = s.passwordGrant(r.Context(), form, &given)
	case grantRefresh:
		err = s.refreshGrant(r.Context(), form, &given)
	case grantCode:
		err = s.codeGrant(form, &given)
	default:
		err = s.deviceGrant(form, &given)
	}
	if err == nil { // a code may have waited for longer than its user was there
		err = s.deps.Documents.View(r.Context(), func(tx store.ReadTx) error {
			if _, ok := s.Principal(tx, given.user.ObjectID); !ok {
				return errUserDeleted(given.user.ObjectID)
			}
			return nil
		})
	}
	return given, err
}

// wishOf reads what is asked for. The codes were issued for a scope already,
// and need not name it again.
func wishOf(form url.Values, d dialect) (wish, error) {
	if d.v1 {
		return wish{resource: form.Get("resource"), permissions: []string{".default"}, openID: true, offline: true}, nil
	}
	return parseWish(form.Get("scope"))
}

// parseWish reads a scope: the words of OpenID, and RESOURCE/PERMISSION or a
// permission of Graph.
func parseWish(scope string) (w wish, err error) {
	for _, word := range strings.Fields(scope) {
		switch strings.ToLower(word) {
		case "openid":
			w.openID = true
			continue
		case "offline_access":
			w.offline = true
			continue
		case "profile", "email":
			continue
		}
		resource, permission := graphURI, word
		if i := strings.LastIndexByte(word, '/'); i >= 0 {
			resource, permission = word[:i], word[i+1:]
		}
		if resource == "" || permission == "" {
			return wish{}, errScopeInvalid(scope)
		}
		if w.resource != "" && w.resource != resource {
			return wish{}, errSeveralResources(scope)
		}
		// Azure's own resources have one permission; Graph's are not told apart.
		if resource != graphURI && permission != ".default" && permission != "user_impersonation" {
			return wish{}, errNoSuchPermission(permission, resource)
		}
		w.resource = resource
		w.permissions = append(w.permissions, permission)
	}
	return w, nil
}

// orElse is the wish, or where it names no resource the one of an earlier
// request.
func (w wish) orElse(earlier wish) wish {
	if w.resource == "" {
		w.resource, w.permissions = earlier.resource, earlier.permissions
	}
	if w.resource == "" {
		w.resource, w.permissions = graphURI, []string{"User.Read"}
	}
	w.openID, w.offline = w.openID || earlier.openID, w.offline || earlier.offline
	return w
}

// scp is the claim. What ".default" stands for is the one permission that
// Azure's own resources have.
func (w wish) scp() string {
	named := slices.DeleteFunc(slices.Clone(w.permissions), func(p string) bool { return p == ".default" })
	if len(named) == 0 {
		return "user_impersonation"
	}
	return strings.Join(named, " ")
}

// granted is the `scope` of the answer, by which msal keys its cache: it has to
// hold what was asked for.
func (w wish) granted() string {
	var words []string
	for _, p := range append(strings.Fields(w.scp()), w.permissions...) {
		if word := w.resource + "/" + p; !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// userAnswer is the part of a token's answer that speaks of the user.
func (s *Service) userAnswer(ctx context.Context, d dialect, given delegation, info bool) userAnswer {
	a := userAnswer{scope: given.wish.granted(), scopeV1: given.wish.scp()}
	if given.wish.openID {
		a.IDToken = s.idToken(ctx, d, given)
	}
	if given.wish.offline {
		a.RefreshToken = s.sealRefresh(given)
		if given.client.family {
			a.Family = "1"
		}
	}
	if info {
		a.ClientInfo = clientInfo(given.user)
	}
	return a
}

// idClaims is an ID token; which fields are set depends on the version.
type idClaims struct {
	accessClaims
	Nonce             string `json:"nonce,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"`
}

// idToken tells the client who signed in. Unlike an access token it is for the
// client, and has the version of the endpoint.
func (s *Service) idToken(ctx context.Context, d dialect, given delegation) string {
	keys, err := s.keys.wait(ctx)
	if err != nil { // the access token of the same answer was signed
		return ""
	}
	issued, user := s.deps.Clock.Now().Unix(), given.user
	c := idClaims{Nonce: given.nonce, accessClaims: accessClaims{
		Audience: given.client.id, Issuer: s.issuerV2(), IssuedAt: issued, NotBefore: issued, Expires: issued + int64(applicationLife.Seconds()),
		Name: user.Name, ObjectID: user.ObjectID, Subject: pairwise(user, given.client.id), TenantID: s.deps.TenantID,
		UniqueID: uniqueID(), Version: "2.0",
	}}
	if d.v1 {
		c.Issuer, c.Version, c.UPN, c.UniqueName, c.Methods = s.issuerV1(), "1.0", user.Name, user.Name, given.methods
	} else {
		c.PreferredUsername = user.Name
	}
	jws := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	jws.Header["kid"] = keys[0].kid
	if d.v1 {
		jws.Header["x5t"] = keys[0].kid
	}
	raw, err := jws.SignedString(keys[0].private)
	if err != nil {
		return ""
	}
	return raw
}

// pairwise is `sub` of a user: another one for each application, the same each
// time.
func pairwise(user azure.Principal, appID string) string {
	sum := sha256.Sum256([]byte(user.TenantID + "\x00" + fold(user.ObjectID) + "\x00" + fold(appID)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
