package vault

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/internal/seal"
	"github.com/amlocal/amlocal/store"
)

// Policy is one access policy of a vault.
type Policy struct {
	TenantID string
	// ObjectID is a principal's or a group's.
	ObjectID string
	// Secrets are the secret permissions, in any letter case; "all" is all but purge.
	Secrets []string
}

// Vault is what the data plane needs to know about a key vault.
type Vault struct {
	Name string
	// ResourceID is the ARM id: RBAC scopes are made from it.
	ResourceID string
	Location   string
	// TenantID is whose tokens it takes.
	TenantID string
	// RBAC says that roles decide; otherwise Policies do.
	RBAC     bool
	Policies []Policy
	// RetentionDays is how long a deleted secret can be recovered.
	RetentionDays int
	// PurgeProtection forbids to purge before that.
	PurgeProtection bool
	// Closed says that public network access is disabled.
	Closed bool
	// Walled says that the firewall lets nobody in: it denies by default and
	// has no rules.
	Walled bool
}

// Vaults finds key vaults by name. ok is false when there is none; a deleted
// one is none.
type Vaults interface {
	Vault(ctx context.Context, name string) (vault Vault, ok bool, err error)
}

// Groups tells who belongs to a group, for access policies that name one.
type Groups interface {
	// IsMember reports whether a principal belongs to a group, directly or
	// through other groups.
	IsMember(who azure.Principal, group string) bool
}

// Deps is everything the service needs. All fields are required but Groups.
type Deps struct {
	Documents store.Documents
	// Seal encrypts the stored values.
	Seal       *seal.Key
	Clock      clock.Clock
	Audit      *audit.Log
	Authorizer azure.Authorizer
	Verifier   azure.TokenVerifier
	Vaults     Vaults
	// Groups may be nil: policies then name principals only.
	Groups Groups
}

// Service is the secrets data plane. It is an http.Handler and starts no
// goroutine.
type Service struct {
	deps   Deps
	plane  *httpx.Plane
	rows   map[string]*row
	router http.Handler
}

// New checks deps and returns the service.
func New(deps Deps) (*Service, error) {
	if deps.Documents == nil || deps.Seal == nil || deps.Clock == nil || deps.Audit == nil || deps.Authorizer == nil || deps.Verifier == nil || deps.Vaults == nil {
		return nil, errors.New("vault: a dependency is missing")
	}
	s := &Service{deps: deps}
	s.plane = &httpx.Plane{
		Name: "vault", Clock: deps.Clock, Audit: deps.Audit, Authorizer: decider{s},
		Authenticate: s.authenticate, Deny: s.deny, Before: before, Encode: encodeError,
	}
	rows := s.operations()
	ops := make([]httpx.Operation, len(rows))
	s.rows = make(map[string]*row, len(rows))
	for i := range rows {
		ops[i] = rows[i].Operation
		s.rows[rows[i].Name] = &rows[i]
	}
	s.router = s.plane.NewRouter(ops, unrouted)
	return s, nil
}

// Operations is the service's table, for docs/coverage.md.
func (s *Service) Operations() []httpx.Operation {
	rows := s.operations()
	ops := make([]httpx.Operation, len(rows))
	for i := range rows {
		ops[i] = rows[i].Operation
	}
	return ops
}

// Close releases nothing today; it is there so that every service is closed
// alike.
func (s *Service) Close() error { return nil }

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("x-ms-keyvault-service-version", "1.9.2784.1")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Strict-Transport-Security", "max-age=31536000;includeSubDomains")
	h.Set("Date", s.now().Format(http.TimeFormat))
	if id := r.Header.Get("x-ms-client-request-id"); id != "" && len(id) <= 1024 {
		h.Set("x-ms-client-request-id", id)
	}
	routed, t := parseTarget(r)
	if err := s.find(r.Context(), t); err != nil {
		s.plane.Refuse(w, routed, err)
		return
	}
	h.Set("x-ms-keyvault-region", t.found.Location)
	s.router.ServeHTTP(w, routed)
}

// find looks the vault up.
func (s *Service) find(ctx context.Context, t *target) error {
	found, ok, err := s.deps.Vaults.Vault(ctx, t.vault)
	if err != nil {
		return err
	}
	if !ok {
		// By host this cannot happen: such a name does not resolve.
		return errVaultNotFound(t.vault)
	}
	t.found = found
	return nil
}

func (s *Service) now() time.Time { return s.deps.Clock.Now().UTC() }
