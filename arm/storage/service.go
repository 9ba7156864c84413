package storage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/amlocal/amlocal/arm"
	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/clock"
	"github.com/amlocal/amlocal/store"
)

// Container is a blob container as the control plane shows it.
type Container struct {
	Name string
	// PublicAccess is "None", "Blob" or "Container".
	PublicAccess string
	Metadata     map[string]string
	Modified     time.Time
	// ETag comes with its quotes.
	ETag string
}

// Blobs is the blob store as this provider uses it; blobfake satisfies it
// through an adapter of the root's.
type Blobs interface {
	// PutContainer makes a container or replaces access and metadata of the
	// one that is there; created tells which.
	PutContainer(tx store.Tx, account string, c Container) (created bool, err error)
	// Container reads one; ok is false when there is none.
	Container(tx store.ReadTx, account, name string) (c Container, ok bool, err error)
	// Containers lists them in name order.
	Containers(tx store.ReadTx, account string) ([]Container, error)
	// DeleteContainer removes one with its blobs; existed is false when there
	// was none.
	DeleteContainer(tx store.Tx, account, name string) (existed bool, err error)
	// DeleteAccount removes all an account holds.
	DeleteAccount(tx store.Tx, account string) error
}

// Assignments ends role assignments on deleted accounts; arm/authorization
// satisfies it.
type Assignments interface {
	RemoveUnder(tx store.Tx, scope string) error
}

// Deps is what the provider needs. All are required.
type Deps struct {
	Documents   store.Documents
	Clock       clock.Clock
	Blobs       Blobs
	Assignments Assignments
}

// Account is what a data plane must know about a storage account.
type Account struct {
	Name       string
	ResourceID string
	// Keys are key1 and key2, base64.
	Keys                  [2]string
	AllowBlobPublicAccess bool
	AllowSharedKey        bool
	SKU                   string
	Kind                  string
	HNS                   bool // made with a hierarchical namespace
	Network               Network
}

// Provider is Microsoft.Storage.
type Provider struct {
	deps Deps

	mu       sync.RWMutex
	accounts map[string]Account // by name
}

// New makes the provider and loads the accounts.
func New(deps Deps) (*Provider, error) {
	if deps.Documents == nil || deps.Clock == nil || deps.Blobs == nil || deps.Assignments == nil {
		return nil, errors.New("storage: a dependency is missing")
	}
	p := &Provider{deps: deps, accounts: map[string]Account{}}
	err := deps.Documents.View(context.Background(), func(tx store.ReadTx) error {
		for rec, err := range arm.Under(tx, "/", accountType) {
			if err != nil {
				return err
			}
			p.accounts[strings.ToLower(rec.Name())] = accountOf(rec)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Account finds an account by its name, which is global. It is asked for every
// blob request and answers from memory.
func (p *Provider) Account(_ context.Context, name string) (Account, bool, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	a, ok := p.accounts[strings.ToLower(name)]
	return a, ok, nil
}

// SeedAccount makes an account with default settings, unless it is there: for
// the emulator's first start and for worlds.
func (p *Provider) SeedAccount(tx store.Tx, id azure.ResourceID, location string) error {
	if _, ok, err := arm.Get(tx, id.String()); err != nil || ok {
		return err
	}
	if !validAccountName(id.Name()) {
		return errAccountName(id.Name())
	}
	now := p.deps.Clock.Now()
	rec := &arm.Record{ID: id.String(), Type: accountType, CreatedAt: now, ModifiedAt: now, Document: arm.Document{
		"location": arm.CanonicalLocation(location), "kind": "StorageV2", "sku": map[string]any{"name": "Standard_LRS"},
	}}
	if err := p.claim(tx, rec); err != nil {
		return err
	}
	return p.putAccount(tx, rec)
}

// RemoveUnder deletes every account at or below a scope with its data.
func (p *Provider) RemoveUnder(tx store.Tx, scope string) error {
	recs, err := arm.List(tx, scope, accountType)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := p.removeAccount(tx, rec); err != nil {
			return err
		}
	}
	return nil
}

// newKey is a random account key: 64 bytes, base64.
func newKey() string {
	raw := make([]byte, 64)
	_, _ = rand.Read(raw) // documented never to fail
	return base64.StdEncoding.EncodeToString(raw)
}
