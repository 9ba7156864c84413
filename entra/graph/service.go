package graph

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Directory is what Graph needs of the directory; entra.Service is one.
type Directory interface {
	Principals(tx store.ReadTx) []azure.Principal
	Principal(tx store.ReadTx, objectID string) (azure.Principal, bool)
	PrincipalByAppID(tx store.ReadTx, appID string) (azure.Principal, bool)
	Members(tx store.ReadTx, group string) []string
	PutPrincipal(tx store.Tx, p azure.Principal) error
	DeletePrincipal(tx store.Tx, objectID string) error
	// AddPassword and RemovePassword keep an application's passwords, whether
	// or not it has a service principal yet.
	AddPassword(tx store.Tx, appID, keyID, secret string, expires time.Time) error
	RemovePassword(tx store.Tx, appID, keyID string) error
	// So do these keep its certificates and the tokens of others it trusts.
	AddCertificate(tx store.Tx, appID, keyID string, der []byte) error
	RemoveCertificate(tx store.Tx, appID, keyID string) error
	TrustToken(tx store.Tx, appID, id, issuer, subject string, audiences []string) error
	RemoveFederatedCredential(tx store.Tx, appID, id string) error
}

// Deps is what the service is made of.
type Deps struct {
	Documents store.Documents
	Directory Directory
	Verifier  azure.TokenVerifier
	Clock     clock.Clock
	Audit     *audit.Log
	TenantID  string
	// Administrator is the object id of the principal that may do everything.
	Administrator string
}

// Service is graph.microsoft.com.
type Service struct {
	deps    Deps
	plane   *httpx.Plane
	handler http.Handler
}

// audiences are the `aud` values Graph accepts.
var audiences = []string{"https://graph.microsoft.com", "https://graph.microsoft.com/", "00000003-0000-0000-c000-000000000000"}

// New makes the service.
func New(d Deps) (*Service, error) {
	if d.Documents == nil || d.Directory == nil || d.Verifier == nil || d.Clock == nil || d.Audit == nil {
		return nil, errors.New("graph: Documents, Directory, Verifier, Clock and Audit are required")
	}
	s := &Service{deps: d}
	s.plane = &httpx.Plane{
		Name: "graph", Clock: d.Clock, Audit: d.Audit, Authenticate: s.authenticate, Before: s.permit,
		Encode: s.encodeError, RequestIDHeader: "request-id",
	}
	s.handler = s.plane.NewRouter(s.Operations(), unrouted)
	return s, nil
}

// ServeHTTP answers for graph.microsoft.com.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Service) authenticate(r *http.Request, _ *httpx.Operation) (azure.Caller, error) {
	scheme, raw, _ := strings.Cut(strings.Join(r.Header.Values("Authorization"), ","), " ")
	if raw = strings.TrimSpace(raw); !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return azure.Caller{}, errUnauthenticated("Access token is empty.")
	}
	claims, err := s.deps.Verifier.Verify(r.Context(), raw, audiences)
	switch {
	case err == nil:
		return azure.Caller{Scheme: azure.Bearer, Principal: claims.Principal}, nil
	case errors.Is(err, azure.ErrTokenAudience):
		return azure.Caller{}, errUnauthenticated("Access token validation failure. Invalid audience.").Because(err)
	case errors.Is(err, azure.ErrTokenExpired):
		return azure.Caller{}, errUnauthenticated("Lifetime validation failed, the token is expired.").Because(err)
	case errors.Is(err, azure.ErrTokenMalformed):
		return azure.Caller{}, errUnauthenticated("CompactToken parsing failed with error code: 80049217").Because(err)
	}
	return azure.Caller{}, errUnauthenticated("Access token validation failure.").Because(err)
}

// permit stands for Graph's permissions: see the package comment. Who someone
// is, one may always ask about oneself.
func (s *Service) permit(r *http.Request, op *httpx.Operation) error {
	who := httpx.Caller(r.Context()).Principal
	switch {
	case strings.EqualFold(who.ObjectID, s.deps.Administrator), strings.HasPrefix(op.Name, "graph.Me"):
		return nil
	case who.Type == azure.User && (op.Method == http.MethodGet || op.Name == "graph.GetByIds"):
		return nil
	}
	return errDenied()
}

// view runs f on a consistent view.
func (s *Service) view(ctx context.Context, f func(tx store.ReadTx) error) error {
	return s.deps.Documents.View(ctx, f)
}
