package entra

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// How the client proved itself (`appidacr`).
const (
	authPublic      = "0"
	authSecret      = "1"
	authCertificate = "2"
)

// backdate is how far before the issue `iat` and `nbf` lie: recorded tokens
// have exp-nbf = 3900 with expires_in 3599.
const backdate = 5 * time.Minute

// accessClaims is an access token: of version 1, as Azure's resources ask for,
// or with azp in place of appid of version 2.
type accessClaims struct {
	Audience     string   `json:"aud"`
	Issuer       string   `json:"iss"`
	IssuedAt     int64    `json:"iat"`
	NotBefore    int64    `json:"nbf"`
	Expires      int64    `json:"exp"`
	Methods      []string `json:"amr,omitempty"`
	AppID        string   `json:"appid,omitempty"`
	ClientAuth   string   `json:"appidacr,omitempty"`
	AppIDV2      string   `json:"azp,omitempty"`
	ClientAuthV2 string   `json:"azpacr,omitempty"`
	IdP          string   `json:"idp,omitempty"`
	IDType       string   `json:"idtyp,omitempty"`
	Name         string   `json:"name,omitempty"`
	ObjectID     string   `json:"oid"`
	Rehash       string   `json:"rh,omitempty"`
	Scope        string   `json:"scp,omitempty"`
	Subject      string   `json:"sub"`
	TenantID     string   `json:"tid"`
	UniqueName   string   `json:"unique_name,omitempty"`
	UPN          string   `json:"upn,omitempty"`
	UniqueID     string   `json:"uti"`
	Version      string   `json:"ver"`
	ResourceID   string   `json:"xms_mirid,omitempty"`
}

// The methods of jwt.Claims.

func (c accessClaims) GetExpirationTime() (*jwt.NumericDate, error) { return numeric(c.Expires), nil }
func (c accessClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return numeric(c.IssuedAt), nil }
func (c accessClaims) GetNotBefore() (*jwt.NumericDate, error)      { return numeric(c.NotBefore), nil }
func (c accessClaims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c accessClaims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c accessClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{c.Audience}, nil
}

func numeric(unix int64) *jwt.NumericDate { return jwt.NewNumericDate(time.Unix(unix, 0)) }

// MintOptions shape one token.
type MintOptions struct {
	// Lifetime counts from now; zero means an application's hour.
	Lifetime time.Duration
	// ClientAuth is `appidacr`: "0" public client, "1" secret, "2"
	// certificate; empty: what suits the principal.
	ClientAuth string
	// ClientID is the client a user signed in through, Scope what it may do
	// for them and Methods how they signed in (`amr`).
	ClientID string
	Scope    string
	Methods  []string
}

// tokenKey is what an issued managed identity token is remembered under. With
// the revocations of keys that went before it, a token signed before one is
// never found after it, however late it was put there.
type tokenKey struct {
	objectID, appID, resourceID, resource string
	revocations                           int
}

// ManagedIdentityToken gives the token of a managed identity for a resource,
// whose spelling becomes the audience byte for byte. One token is handed out
// again until it is Deps.TokenCache old, as Azure caches them; requests that
// arrive together share one. The directory decides whether the identity
// exists: for a deleted one the error is azure.ErrTokenPrincipal, for an unknown
// resource an *httpx.Error with code invalid_resource.
func (s *Service) ManagedIdentityToken(ctx context.Context, p azure.Principal, resource string) (azure.Token, error) {
	stored, err := s.existing(ctx, p)
	if err != nil {
		return azure.Token{}, err
	}
	key := tokenKey{fold(stored.ObjectID), stored.AppID, stored.ResourceID, resource, s.keys.revocations()}
	if token, ok := s.fresh(key); ok {
		return token, nil
	}
	v, err, _ := s.minting.Do(fmt.Sprintf("%#v", key), func() (any, error) {
		if token, ok := s.fresh(key); ok {
			return token, nil
		}
		// Those who wait must not fail because the first one went away.
		token, err := s.Mint(context.WithoutCancel(ctx), stored, resource,
			MintOptions{Lifetime: managedIdentityLife, ClientAuth: authCertificate})
		if err == nil {
			s.issued.put(key, token)
		}
		return token, err
	})
	if err != nil {
		return azure.Token{}, err
	}
	return v.(azure.Token), nil
}

func (s *Service) fresh(key tokenKey) (azure.Token, bool) {
	token, ok := s.issued.get(key)
	now := s.deps.Clock.Now()
	// A clock that was moved back makes a cached token one from the future.
	if !ok || now.Before(token.NotBefore) || now.Sub(token.IssuedAt) >= s.deps.TokenCache || !now.Before(token.Expires) {
		return azure.Token{}, false
	}
	return token, true
}

// existing is the principal as the directory has it now. It is asked before the
// cache, so no cached token outlives its identity.
func (s *Service) existing(ctx context.Context, p azure.Principal) (azure.Principal, error) {
	var stored azure.Principal
	err := s.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		found, ok := s.Principal(tx, p.ObjectID)
		if !ok {
			return errNoPrincipal(p)
		}
		stored = found
		return nil
	})
	return stored, err
}

// Mint signs a new token for a principal and a known resource. It does not ask
// the directory: the caller has authenticated p.
func (s *Service) Mint(ctx context.Context, p azure.Principal, resource string, o MintOptions) (azure.Token, error) {
	if !knownResource(resource) {
		return azure.Token{}, errUnknownResource(resource, s.deps.TenantID)
	}
	if o.Lifetime == 0 {
		o.Lifetime = applicationLife
	}
	keys, err := s.keys.wait(ctx)
	if err != nil {
		return azure.Token{}, err
	}
	now := s.deps.Clock.Now().Truncate(time.Second)
	token := azure.Token{
		Resource: resource, ClientID: p.AppID,
		IssuedAt: now, NotBefore: now.Add(-backdate), Expires: now.Add(o.Lifetime),
	}
	claims := s.claims(p, token, o)
	jws := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	jws.Header["kid"] = keys[0].kid
	if claims.Version == "1.0" { // v2 tokens carry kid alone
		jws.Header["x5t"] = keys[0].kid
	}
	if token.Raw, err = jws.SignedString(keys[0].private); err != nil {
		return azure.Token{}, fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

func (s *Service) claims(p azure.Principal, t azure.Token, o MintOptions) accessClaims {
	c := accessClaims{
		Audience: t.Resource, Issuer: s.issuerV1(), IdP: s.issuerV1(),
		IssuedAt: t.NotBefore.Unix(), NotBefore: t.NotBefore.Unix(), Expires: t.Expires.Unix(),
		AppID: p.AppID, ClientAuth: o.ClientAuth, IDType: "app",
		ObjectID: p.ObjectID, Subject: p.ObjectID, TenantID: s.deps.TenantID,
		Rehash: rehash(s.deps.TenantID, t.Resource), UniqueID: uniqueID(), Version: "1.0",
		ResourceID: mirid(p.ResourceID),
	}
	if p.Type == azure.User {
		c.IDType, c.IdP, c.AppID = "user", "", or(o.ClientID, cliAppID)
		c.Name, c.UPN, c.UniqueName = p.Name, p.Name, p.Name
		c.Scope, c.Methods = or(o.Scope, "user_impersonation"), o.Methods
		if c.Methods == nil {
			c.Methods = []string{"pwd"}
		}
		c.Subject = pairwise(p, c.AppID)
	}
	if c.ClientAuth == "" {
		switch {
		case p.Type == azure.User:
			c.ClientAuth = authPublic
		case p.IsManagedIdentity():
			c.ClientAuth = authCertificate
		default:
			c.ClientAuth = authSecret
		}
	}
	if isExchange(t.Resource) {
		c.toV2(s.issuerV2())
	}
	return c
}

// toV2 gives the claims the shape of version 2, which the resource of token
// exchange asks for; it is named by its application id.
func (c *accessClaims) toV2(issuer string) {
	c.Audience, c.Issuer, c.Version, c.IdP = exchangeAppID, issuer, "2.0", ""
	c.AppIDV2, c.ClientAuthV2 = c.AppID, c.ClientAuth
	c.AppID, c.ClientAuth, c.ResourceID, c.UPN, c.UniqueName, c.Methods = "", "", "", "", "", nil
}

func isExchange(resource string) bool {
	return strings.EqualFold(resource, exchangeURI) || strings.EqualFold(resource, exchangeAppID)
}

func uniqueID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(id)
}

// rehash is opaque to everyone but Entra ID; it has the look of one, and is the
// same for the same tenant and resource.
func rehash(tenant, resource string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + resource))
	return "1." + base64.RawURLEncoding.EncodeToString(append([]byte{1}, sum[:]...)) + "AAA."
}

var groupsSegment = regexp.MustCompile(`(?i)/resourcegroups/`)

// mirid spells an ARM id as xms_mirid does: `resourcegroups` in lower case, the
// rest untouched.
func mirid(id string) string { return groupsSegment.ReplaceAllString(id, "/resourcegroups/") }

// remaining is expires_in: the whole seconds left, so 3599 for a fresh hour as
// in every recording.
func remaining(t azure.Token, now time.Time) int64 {
	return int64((t.Expires.Sub(now) - 1) / time.Second)
}
