package blobfake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/amlocal/amlocal/azure"
	"github.com/amlocal/amlocal/internal/audit"
	"github.com/amlocal/amlocal/internal/httpx"
	"github.com/amlocal/amlocal/store"
)

// Container is a container as the control plane shows it.
type Container struct {
	Name         string
	ETag         string // with quotes
	LastModified time.Time
	PublicAccess PublicAccess
	Metadata     map[string]string
}

func (c container) public(name string) Container {
	return Container{Name: name, ETag: etag(c.Version), LastModified: c.Modified, PublicAccess: c.Public, Metadata: c.Metadata}
}

// CreateContainer makes a container in the caller's transaction. created is
// false when it was there already; an invalid name is an *httpx.Error.
func (s *Service) CreateContainer(tx store.Tx, account, name string, access PublicAccess, metadata map[string]string) (created bool, err error) {
	return s.createContainer(tx, account, name, access, metadata)
}

// SetContainer replaces a container's public access and metadata; ok is false
// when there is none.
func (s *Service) SetContainer(tx store.Tx, account, name string, access PublicAccess, metadata map[string]string) (ok bool, err error) {
	c, ok, err := get[container](tx, containerBucket, key(account, name))
	if err != nil || !ok {
		return false, err
	}
	c.Public, c.Metadata = access, metadata
	if c.Modified, c.Version, err = s.stamp(tx); err != nil {
		return false, err
	}
	return true, put(tx, containerBucket, key(account, name), c)
}

// Container looks a container up.
func (s *Service) Container(tx store.ReadTx, account, name string) (Container, bool, error) {
	c, ok, err := get[container](tx, containerBucket, key(account, name))
	return c.public(name), ok, err
}

// Containers lists an account's containers by name.
func (s *Service) Containers(tx store.ReadTx, account string) ([]Container, error) {
	prefix := prefixOf(account)
	var out []Container
	for k := range tx.Scan(containerBucket, prefix, nil) {
		c, _, err := get[container](tx, containerBucket, k)
		if err != nil {
			return nil, err
		}
		out = append(out, c.public(string(k[len(prefix):])))
	}
	return out, nil
}

// DeleteContainer removes a container with its blobs; ok is false when there
// was none.
func (s *Service) DeleteContainer(tx store.Tx, account, name string) (ok bool, err error) {
	if _, ok := tx.Get(containerBucket, key(account, name)); !ok {
		return false, nil
	}
	return true, s.removeContainer(tx, account, name)
}

// DeleteAccount removes everything an account holds.
func (s *Service) DeleteAccount(tx store.Tx, account string) error {
	if err := s.removeContent(tx, prefixOf(account)); err != nil {
		return err
	}
	for _, k := range keysBelow(tx, containerBucket, prefixOf(account)) {
		if err := tx.Delete(containerBucket, k); err != nil {
			return err
		}
	}
	return nil
}

// ContainerSAS signs a service SAS for a container of a named account.
func (s *Service) ContainerSAS(ctx context.Context, account, container, permissions string, start, expiry time.Time) (string, error) {
	a, err := s.account(ctx, account)
	if err != nil {
		return "", err
	}
	return SAS(a, container, "", permissions, start, expiry), nil
}

// AccountKey is the first key of a named account.
func (s *Service) AccountKey(ctx context.Context, account string) (string, error) {
	a, err := s.account(ctx, account)
	return a.Keys[0], err
}

// account is the account or ResourceNotFound.
func (s *Service) account(ctx context.Context, name string) (Account, error) {
	a, ok, err := s.accounts.Account(ctx, name)
	if err != nil {
		return a, fmt.Errorf("look up account %s: %w", name, err)
	}
	if !ok {
		// By host this cannot happen: such a name does not resolve.
		return a, errResourceNotFound().Because(fmt.Errorf("no storage account %q", name))
	}
	return a, nil
}

// ReadAs walks the blobs below a prefix, in name order, as who: with the check
// and the audit entry of a bearer's Get Blob. Refused, it visits nothing and
// returns the *httpx.Error a GET would have been answered with. A prefix that
// matches nothing visits nothing and is no error. The platform is who comes, so
// the account's network admits it as one of Azure's trusted services.
//
// open may be called until ReadAs returns; a blob that was deleted meanwhile is
// BlobNotFound.
func (s *Service) ReadAs(ctx context.Context, who azure.Principal, account, containerName, prefix string,
	visit func(name string, size int64, open func() (io.ReadCloser, error)) error) (err error) {
	start := s.now()
	entry := &audit.Entry{
		RequestID: uuid.NewString(), Time: start, Plane: "blob", Operation: "blobfake.GetBlob",
		Method: http.MethodGet, Host: account + hostSuffix, Path: "/" + containerName + "/" + prefix,
		Caller: azure.Caller{Scheme: azure.Bearer, Principal: who}, Instance: httpx.Instance(ctx), Status: http.StatusOK,
	}
	defer func() {
		if err != nil {
			e := httpx.AsError(err)
			entry.Status, entry.Code = e.Status, e.Code
			if e.Cause != nil {
				entry.Cause = e.Cause.Error()
			}
		}
		entry.Duration = s.now().Sub(start)
		s.audit.Close(entry)
	}()
	a, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	d := s.authorizer.Decide(ctx, who, azure.Check{Action: readBlobs, Data: true, Scope: scopeOf(a, containerName)})
	entry.Decide(d)
	if !d.Allowed {
		return errPermissionMismatch()
	}
	if !a.Network.trusts() {
		return errNetwork(a.Network)
	}
	type found struct {
		name string
		blob
	}
	var blobs []found
	if err := s.docs.View(ctx, func(tx store.ReadTx) error {
		if _, err := loadContainer(tx, account, containerName); err != nil {
			return err
		}
		base := prefixOf(account, containerName)
		for k := range tx.Scan(blobBucket, append(base[:len(base):len(base)], prefix...), nil) {
			b, _, err := get[blob](tx, blobBucket, k)
			if err != nil {
				return err
			}
			blobs = append(blobs, found{string(k[len(base):]), b})
		}
		return nil
	}); err != nil {
		return err
	}
	for _, f := range blobs {
		open := func() (io.ReadCloser, error) { return s.openBlob(ctx, account, containerName, f.name, f.blob) }
		if err := visit(f.name, f.Size, open); err != nil {
			return err
		}
	}
	return nil
}

// openBlob opens the whole content, of the newest revision if b was replaced.
func (s *Service) openBlob(ctx context.Context, account, containerName, name string, b blob) (io.ReadCloser, error) {
	for range 5 {
		rd, err := s.openRange(b.Blocks, 0, b.Size)
		if err == nil {
			return rd, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if b, err = s.viewBlob(ctx, account, containerName, name); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("open %s/%s: %w", containerName, name, fs.ErrNotExist)
}
