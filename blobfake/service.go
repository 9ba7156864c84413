package blobfake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Account is what the data plane needs to know about a storage account.
type Account struct {
	Name string
	// ResourceID is the ARM id: RBAC scopes are made from it.
	ResourceID string
	// Keys are the two account keys, base64.
	Keys                  [2]string
	AllowBlobPublicAccess bool
	AllowSharedKey        bool
	// SKU and Kind answer Get Account Information, e.g. "Standard_LRS" and
	// "StorageV2".
	SKU  string
	Kind string
	// HNS says that the account was made with a hierarchical namespace, which
	// only conditions of role assignments ask for.
	HNS bool
	// Network is from where the blobs may be reached.
	Network Network
}

// Accounts finds storage accounts by name. ok is false when there is none.
type Accounts interface {
	Account(ctx context.Context, name string) (account Account, ok bool, err error)
}

// Files keeps the content of blobs that are too large for a document.
// *store.Files satisfies it.
type Files interface {
	// Stage writes a file and pins it until Release.
	Stage(ctx context.Context, r io.Reader) (*store.Staged, error)
	// Open reads a file that is referenced or pinned.
	Open(d store.Digest) (*os.File, error)
	// Ref and Unref count a document's mention of the file.
	Ref(tx store.Tx, d store.Digest) error
	Unref(tx store.Tx, d store.Digest) error
}

// Deps is everything the service needs. All fields are required but
// Conditions, ClientClock and TenantID.
type Deps struct {
	Documents  store.Documents
	Files      Files
	Clock      clock.Clock
	Audit      *audit.Log
	Authorizer azure.Authorizer
	Verifier   azure.TokenVerifier
	Accounts   Accounts
	// Conditions tells when Authorizer's decisions need what is stored here;
	// nil: never.
	Conditions Conditions
	// ClientClock is what the dates of SharedKey requests are compared with,
	// where the clients' clock is not the emulator's; nil: Clock.
	ClientClock clock.Clock
	// TenantID is named in the challenge of a 401; default SeedTenantID.
	TenantID string
}

// Service is the blob data plane. It is an http.Handler and starts no
// goroutine.
type Service struct {
	docs       store.Documents
	files      Files
	clock      clock.Clock
	clients    clock.Clock
	audit      *audit.Log
	authorizer azure.Authorizer
	verifier   azure.TokenVerifier
	accounts   Accounts
	conditions Conditions
	tenantID   string

	// delegationSecret derives user delegation keys; one per state folder.
	delegationSecret []byte
	plane            *httpx.Plane
	rows             map[string]*row
	router           http.Handler
	buffers          sync.Pool
}

// New checks deps, throws away block uploads older than a week and returns the
// service.
func New(deps Deps) (*Service, error) {
	if deps.Documents == nil || deps.Files == nil || deps.Clock == nil || deps.Audit == nil ||
		deps.Authorizer == nil || deps.Verifier == nil || deps.Accounts == nil {
		return nil, errors.New("blobfake: a dependency is missing")
	}
	s := &Service{
		docs: deps.Documents, files: deps.Files, clock: deps.Clock, audit: deps.Audit,
		authorizer: deps.Authorizer, verifier: deps.Verifier, accounts: deps.Accounts, conditions: deps.Conditions,
		tenantID: deps.TenantID, clients: deps.ClientClock,
		buffers: sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }},
	}
	if s.clients == nil {
		s.clients = s.clock
	}
	if s.tenantID == "" {
		s.tenantID = azure.SeedTenantID
	}
	if err := s.docs.Update(context.Background(), func(tx store.Tx) error {
		if err := s.sweepBlocks(tx); err != nil {
			return err
		}
		secret, err := delegationSecret(tx)
		s.delegationSecret = secret
		return err
	}); err != nil {
		return nil, err
	}
	s.plane = &httpx.Plane{
		Name: "blob", Clock: s.clock, Audit: s.audit, Authorizer: creating{s},
		Authenticate: s.authenticate, Permit: s.permit, Deny: deny, Before: before, Encode: encodeError,
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

// maxDrained is how much of an unread request body drain swallows.
const maxDrained = 1 << 30

// drain reads what a refusal left unread. Without it Go breaks the connection
// and clients report a reset instead of Azure's error. A client that waits for
// "100 Continue" has sent nothing yet and must get its answer first.
func drain(r *http.Request) {
	if r.Body != nil && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
	}
}

// ServeHTTP answers one blob request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")
	h.Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
	if id := r.Header.Get("x-ms-client-request-id"); id != "" && len(id) <= 1024 {
		h.Set("x-ms-client-request-id", id)
	}
	routed, t := parseTarget(r)
	h.Set("x-ms-version", t.version.String())
	defer drain(r)
	if t.err != nil {
		s.plane.Refuse(w, routed, t.err)
		return
	}
	s.router.ServeHTTP(w, routed)
}

func (s *Service) now() time.Time { return s.clock.Now().UTC() }
