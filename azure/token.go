package azure

import (
	"context"
	"errors"
	"time"
)

// Claims are the parts of a verified access token that services act upon.
type Claims struct {
	Principal Principal
	Audience  string
	Issuer    string
	NotBefore time.Time
	Expires   time.Time
}

// Token verification failures, to be tested with errors.Is. Each plane turns
// them into its own dialect.
var (
	ErrTokenMalformed   = errors.New("the access token is not a JWT this service understands")
	ErrTokenSignature   = errors.New("the access token's signature does not verify")
	ErrTokenIssuer      = errors.New("the access token's issuer is not trusted")
	ErrTokenAudience    = errors.New("the access token is for another audience")
	ErrTokenExpired     = errors.New("the access token has expired")
	ErrTokenNotYetValid = errors.New("the access token is not valid yet")
	ErrTokenPrincipal   = errors.New("the access token's principal does not exist any more")
)

// TokenVerifier checks an access token for a service. audiences lists every
// `aud` value the service accepts, compared exactly but for letter case.
type TokenVerifier interface {
	Verify(ctx context.Context, raw string, audiences []string) (Claims, error)
}

// Token is an issued access token.
type Token struct {
	Raw       string
	Resource  string // as asked, byte for byte
	ClientID  string // of the identity
	IssuedAt  time.Time
	NotBefore time.Time
	Expires   time.Time
}
