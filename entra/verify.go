package entra

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/store"
)

// maxToken is longer than any token we sign or a client would send.
const maxToken = 16 << 10

// Verify checks an access token: form, signature, time, issuer, audience,
// in this order (the storage service's). Only RS256 by a published key counts. The signature of a token
// seen before is not computed again; everything else is checked each time.
//
// The principal is the directory's. A token whose principal was deleted stays
// valid until it expires (as Azure's, whose resources cannot know; U-10): then
// the principal is what the token says, and RBAC finds no assignment for it.
// With Deps.RefuseDeleted it is refused instead.
func (s *Service) Verify(ctx context.Context, raw string, audiences []string) (azure.Claims, error) {
	claims, err := s.signed(ctx, raw)
	if err != nil {
		return azure.Claims{}, err
	}
	if err := s.check(claims, audiences); err != nil {
		return azure.Claims{}, err
	}
	principal, err := s.principalOf(ctx, claims)
	if err != nil {
		return azure.Claims{}, err
	}
	return azure.Claims{
		Principal: principal, Audience: claims.Audience, Issuer: claims.Issuer,
		NotBefore: time.Unix(claims.NotBefore, 0).UTC(), Expires: time.Unix(claims.Expires, 0).UTC(),
	}, nil
}

// verifiedToken is a token whose signature held, by the key it names.
type verifiedToken struct {
	claims accessClaims
	kid    string
}

// signed returns the claims of a token whose signature holds.
func (s *Service) signed(ctx context.Context, raw string) (accessClaims, error) {
	if len(raw) > maxToken {
		return accessClaims{}, fmt.Errorf("%w: longer than %d bytes", azure.ErrTokenMalformed, maxToken)
	}
	keys, err := s.keys.wait(ctx)
	if err != nil {
		return accessClaims{}, err
	}
	keyOf := func(kid string) int {
		return slices.IndexFunc(keys, func(k signingKey) bool { return k.kid == kid })
	}
	digest := sha256.Sum256([]byte(raw))
	if known, ok := s.verified.get(digest); ok && (keyOf(known.kid) >= 0 || s.deps.Sabotage.NoSignatureCheck) {
		return known.claims, nil
	}
	var claims accessClaims
	var kid string
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	if s.deps.Sabotage.NoSignatureCheck {
		_, _, err = parser.ParseUnverified(raw, &claims)
	} else {
		_, err = parser.ParseWithClaims(raw, &claims, func(t *jwt.Token) (any, error) {
			kid, _ = t.Header["kid"].(string)
			i := keyOf(kid)
			if i < 0 {
				return nil, errors.New("no published key has its kid")
			}
			return &keys[i].private.PublicKey, nil
		})
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return accessClaims{}, fmt.Errorf("%w: %w", azure.ErrTokenMalformed, err)
	case err != nil:
		return accessClaims{}, fmt.Errorf("%w: %w", azure.ErrTokenSignature, err)
	case claims.ObjectID == "" || claims.Audience == "" || claims.Expires == 0:
		return accessClaims{}, fmt.Errorf("%w: it lacks oid, aud or exp", azure.ErrTokenMalformed)
	}
	s.verified.put(digest, verifiedToken{claims, kid})
	return claims, nil
}

// check is everything about a genuine token that depends on when and where it
// is used. There is no leeway: one clock issues and verifies.
func (s *Service) check(c accessClaims, audiences []string) error {
	now := s.deps.Clock.Now().Unix()
	switch {
	case now < c.NotBefore:
		return fmt.Errorf("%w: from %s", azure.ErrTokenNotYetValid, time.Unix(c.NotBefore, 0).UTC().Format(time.RFC3339))
	case now > c.Expires:
		return fmt.Errorf("%w: at %s", azure.ErrTokenExpired, time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
	case c.Issuer != s.issuerV1() && c.Issuer != s.issuerV2(), c.TenantID != s.deps.TenantID:
		return fmt.Errorf("%w: %q", azure.ErrTokenIssuer, c.Issuer)
	case s.deps.Sabotage.NoAudienceCheck:
		return nil
	case !slices.ContainsFunc(audiences, func(a string) bool { return strings.EqualFold(a, c.Audience) }):
		return fmt.Errorf("%w: %q", azure.ErrTokenAudience, c.Audience)
	}
	return nil
}

func (s *Service) principalOf(ctx context.Context, c accessClaims) (azure.Principal, error) {
	p := azure.Principal{
		ObjectID: c.ObjectID, AppID: c.AppID, TenantID: c.TenantID,
		Type: azure.ServicePrincipal, ResourceID: c.ResourceID,
	}
	if p.AppID == "" {
		p.AppID = c.AppIDV2
	}
	if c.IDType == "user" {
		p.Type, p.AppID, p.Name = azure.User, "", c.UPN
	}
	err := s.deps.Documents.View(ctx, func(tx store.ReadTx) error {
		stored, ok := s.Principal(tx, c.ObjectID)
		switch {
		case ok:
			p = stored
		case s.deps.RefuseDeleted:
			return fmt.Errorf("%w: %s", azure.ErrTokenPrincipal, c.ObjectID)
		}
		return nil
	})
	if s.deps.MembershipsInTokens && p.IsManagedIdentity() {
		p.MembershipsAsOf = time.Unix(c.IssuedAt, 0).Add(backdate).UTC()
	}
	return p, err
}
