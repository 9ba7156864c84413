package msi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
)

// Issuer signs tokens; entra satisfies it. A refusal is an *httpx.Error whose
// message may be shown.
type Issuer interface {
	ManagedIdentityToken(ctx context.Context, p azure.Principal, resource string) (azure.Token, error)
}

// Instances knows the running instances' secrets; runner.Manager satisfies it.
type Instances interface {
	// Owner is the deployment whose instance holds the secret.
	Owner(secret string) (owner string, ok bool)
}

// Identities knows which identities a deployment may use.
type Identities interface {
	IdentitiesOf(ctx context.Context, owner string) (Assigned, error)
}

// Assigned are the identities attached to an endpoint.
type Assigned struct {
	System *azure.Principal
	User   []azure.Principal
}

// Deps is what the service is made of.
type Deps struct {
	Issuer     Issuer
	Instances  Instances
	Identities Identities
	Clock      clock.Clock
	Audit      *audit.Log
	// Strict refuses and words errors as the real endpoint is known to; see
	// the package comment.
	Strict bool
	// CloudShell serves requests without a secret from instances the data
	// path knows.
	CloudShell bool
}

// Service is the identity endpoint as an http.Handler, whatever the host.
type Service struct {
	deps    Deps
	handler http.Handler
	imds    http.Handler
}

// New makes the service.
func New(d Deps) (*Service, error) {
	if d.Issuer == nil || d.Instances == nil || d.Identities == nil || d.Clock == nil || d.Audit == nil {
		return nil, errors.New("msi: Issuer, Instances, Identities, Clock and Audit are required")
	}
	s := &Service{deps: d}
	token := &httpx.Plane{Name: "msi", Clock: d.Clock, Audit: d.Audit, Encode: encodeError}
	s.handler = tidyPath(token.NewRouter(s.Operations(), s.unrouted))
	imds := &httpx.Plane{Name: "imds", Clock: d.Clock, Audit: d.Audit, Encode: encodeIMDSError}
	s.imds = tidyPath(imds.NewRouter(s.IMDSOperations(), unroutedIMDS))
	return s, nil
}

// ServeHTTP answers at the address the instance's variables name.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// IMDS answers for 169.254.169.254. Who asks is taken from the request's
// context (WithOwner).
func (s *Service) IMDS() http.Handler { return s.imds }

// Close has nothing to end.
func (s *Service) Close() error { return nil }

type ownerKey struct{}

// WithOwner marks a request as sent by an instance of the deployment owner, as
// the data path that carried it knows (its listener, its source address). A
// secret of another deployment is then refused.
func WithOwner(ctx context.Context, owner string) context.Context {
	return context.WithValue(ctx, ownerKey{}, owner)
}

func ownerOf(ctx context.Context) string {
	owner, _ := ctx.Value(ownerKey{}).(string)
	return owner
}

// tidyPath removes doubled and trailing slashes before routing: JS appends one
// to the path, Java puts one before it, and a redirect would break both.
func tidyPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Path; strings.Contains(path, "//") || strings.HasSuffix(path, "/") || r.URL.RawPath != "" {
			segments := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
			where := *r.URL
			where.Path, where.RawPath = "/"+strings.Join(segments, "/"), ""
			r = r.WithContext(r.Context()) // a copy
			r.URL = &where
		}
		next.ServeHTTP(w, r)
	})
}

// noteInstance names the caller in the audit entry.
func noteInstance(ctx context.Context, owner string) {
	entry := httpx.Entry(ctx)
	if entry == nil || entry.Instance != "" {
		return
	}
	entry.Instance = owner
	// "endpoint/deployment" when the owner is a deployment's ARM id.
	if id, err := azure.ParseResourceID(owner); err == nil {
		if parent, ok := id.Parent(); ok {
			entry.Instance = parent.Name() + "/" + id.Name()
		}
	}
}
