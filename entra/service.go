package entra

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Deps is what the service is made of.
type Deps struct {
	// Documents keeps the directory.
	Documents store.Documents
	// KeyDir holds the signing keys (created 0700, the file 0600); empty
	// keeps them in memory, for an emulator without state.
	KeyDir string
	Clock  clock.Clock
	Audit  *audit.Log
	// TenantID and TenantDomain name the one tenant.
	TenantID     string
	TenantDomain string
	// MembersChanged hears of every group's direct members at the start and
	// of each change once it is durable; it must not call the store. May be
	// nil.
	MembersChanged func(group string, members []string)
	// TokenCache is how long a managed identity's token is handed out again;
	// 0: half of its life.
	TokenCache time.Duration
	// MembershipsInTokens says that a managed identity belongs to the groups
	// it was in when its token was issued, for as long as the token lives.
	MembershipsInTokens bool
	// ClientClock is the machine's clock, by which clients date their
	// assertions; nil: Clock.
	ClientClock clock.Clock
	// DevicePage is the address of the page that finishes a sign-in by device
	// code; nil: Microsoft's, which cannot.
	DevicePage func() string
	// RefuseDeleted ends the tokens of a deleted principal at once. Whether the
	// resources of Azure do is not known (U-10); they most probably take them
	// until they expire, which is what is done without it.
	RefuseDeleted bool
	// Sabotage breaks the verifier on purpose, for the run that proves the
	// tests of refusals can fail.
	Sabotage Sabotage
}

// Sabotage switches checks off. No command or configuration file reaches it.
type Sabotage struct {
	NoSignatureCheck bool
	NoAudienceCheck  bool
}

// Service is the token service. It is an http.Handler for every login host
// and an azure.TokenVerifier for the other planes.
type Service struct {
	deps     Deps
	keys     *keyring
	handler  http.Handler
	plane    *httpx.Plane
	minting  singleflight.Group
	issued   *cache[tokenKey, azure.Token]
	verified *cache[[32]byte, verifiedToken]
	seal     cipher.AEAD
	devices  devices
	codes    authorizations
}

var _ azure.TokenVerifier = (*Service)(nil)

// Bounds of the two caches: far above what a workstation uses, and small
// enough (tokens are about 1.2 KiB) not to matter.
const (
	maxIssued   = 1024
	maxVerified = 1024
)

// How long tokens live: a managed identity's for a day (recorded 85702 s left
// on the real Azure ML endpoint), an application's for about an hour.
const (
	managedIdentityLife = 24 * time.Hour
	applicationLife     = time.Hour
)

// MaxTokenCache is the longest a token can be handed out again.
const MaxTokenCache = managedIdentityLife

// New opens or creates the signing keys and returns the service. Creating them
// (first start only) goes on in the background; who needs a key waits for it.
func New(d Deps) (*Service, error) {
	switch {
	case d.Documents == nil || d.Clock == nil || d.Audit == nil:
		return nil, errors.New("entra: Documents, Clock and Audit are required")
	case d.TenantID == "":
		return nil, errors.New("entra: TenantID is required")
	}
	if d.TokenCache == 0 {
		d.TokenCache = managedIdentityLife / 2
	}
	if d.ClientClock == nil {
		d.ClientClock = d.Clock
	}
	if d.DevicePage == nil {
		d.DevicePage = func() string { return "https://microsoft.com/devicelogin" }
	}
	seal, err := openSeal(d.KeyDir)
	if err != nil {
		return nil, fmt.Errorf("entra: refresh tokens: %w", err)
	}
	keys, err := openKeyring(d.KeyDir, d.Clock)
	if err != nil {
		return nil, err
	}
	s := &Service{
		deps: d, keys: keys,
		issued:   newCache[tokenKey, azure.Token](maxIssued),
		verified: newCache[[32]byte, verifiedToken](maxVerified),
		seal:     seal,
		devices:  devices{waiting: map[string]*device{}},
		codes:    authorizations{waiting: map[string]*authorization{}},
	}
	s.plane = &httpx.Plane{Name: "entra", Clock: d.Clock, Audit: d.Audit, Encode: s.encodeError}
	s.handler = s.plane.NewRouter(s.Operations(), s.unrouted)
	if d.MembersChanged != nil {
		err = d.Documents.View(context.Background(), func(tx store.ReadTx) error { s.tellMembers(tx); return nil })
	}
	return s, err
}

// ServeHTTP answers for any login host.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close waits for a key generation that is still running.
func (s *Service) Close() error {
	<-s.keys.ready
	return nil
}
